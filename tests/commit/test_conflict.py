"""Each cell of the conflict matrix: what a winner did, against what this commit read and does."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deltalakedb.commit import conflict
from deltalakedb.commit.conflict import (
    ChangedFile,
    Ours,
    Places,
    Winner,
    check,
    harmful_change,
    unite,
)
from deltalakedb.commit.staged import Isolation
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.predicate.tree import Column, Comparison, Expr

P = Comparison(Column(("id",), ("id",), "long"), "=", 7)
PROTOCOL = {
    "minReaderVersion": 3,
    "minWriterVersion": 7,
    "readerFeatures": [],
    "writerFeatures": [],
}


def schema(*fields: dict[str, Any]) -> str:
    return json.dumps({"type": "struct", "fields": list(fields)})


def field(name: str, type_: str = "long", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, "nullable": True, "metadata": {}, **more}


METADATA = {
    "id": "t",
    "partitionColumns": [],
    "configuration": {},
    "schemaString": schema(field("id"), field("x")),
}
MATCHING = ChangedFile("new-7", "{}", stats="7")
OTHER = ChangedFile("new-8", "{}", stats="8")


def may_match(predicate: Expr, file: ChangedFile) -> bool:
    return file.stats != "8"


def ours(kind: str) -> Ours:
    base: dict[str, Any] = {
        "table": "t",
        "read_version": 1,
        "base_protocol": PROTOCOL,
        "base_metadata": METADATA,
        "removes": {},
        "blind_append": False,
        "changes_data": True,
    }
    match kind:
        case "append":
            base |= {"blind_append": True}
        case "delete":
            base |= {
                "predicates": (P,),
                "paths": frozenset({"a", "b"}),
                "removes": {"a": False},
            }
        case "delete by vector":
            base |= {"predicates": (P,), "paths": frozenset({"a"}), "removes": {"a": True}}
        case "insert from itself":
            base |= {"whole_table": True}
        case "optimize":
            base |= {
                "changes_data": False,
                "paths": frozenset({"a"}),
                "removes": {"a": False},
            }
        case "metadata":
            base |= {"has_metadata": True, "changes_data": False}
        case "overwrite with a new schema":
            base |= {"has_metadata": True, "predicates": (P,), "removes": {"a": False}}
    return Ours(**base)


def winner(kind: str) -> Winner:
    gone = ChangedFile("a", "{}")
    match kind:
        case "blind append":
            return Winner(version=2, blind_append=True, adds=(MATCHING,))
        case "blind append elsewhere":
            return Winner(version=2, blind_append=True, adds=(OTHER,))
        case "dml add":
            return Winner(version=2, adds=(MATCHING,))
        case "dml add elsewhere":
            return Winner(version=2, adds=(OTHER,))
        case "remove a":
            return Winner(version=2, removes=(gone,))
        case "remove b":
            return Winner(version=2, removes=(ChangedFile("b", "{}"),))
        case "remove c":
            return Winner(version=2, removes=(ChangedFile("c", "{}"),))
        case "vector of a":
            changed = ChangedFile("a", "{}", stats="7", vector_only=True)
            return Winner(version=2, adds=(changed,), removes=(changed,))
        case "optimize a":
            moved = ChangedFile("a2", "{}", stats="7", data_change=False)
            return Winner(
                version=2, adds=(moved,), removes=(ChangedFile("a", "{}", data_change=False),)
            )
        case "optimize c":
            moved = ChangedFile("c2", "{}", stats="7", data_change=False)
            return Winner(
                version=2, adds=(moved,), removes=(ChangedFile("c", "{}", data_change=False),)
            )
        case "harmful metadata":
            changed_type = {**METADATA, "schemaString": schema(field("id", "string"), field("x"))}
            return Winner(version=2, metadata=changed_type)
        case "harmless metadata":
            return Winner(version=2, metadata={**METADATA, "description": "new"})
    raise AssertionError(kind)


RULES = {
    "-": None,
    "add": "concurrent_append",
    "read": "concurrent_delete_read",
    "both": "concurrent_delete_delete",
    "meta": "metadata_changed",
}
WINNERS = [
    "blind append", "blind append elsewhere", "dml add", "dml add elsewhere", "remove a",
    "remove b", "remove c", "vector of a", "optimize a", "optimize c", "harmful metadata",
    "harmless metadata",
]  # fmt: skip
# Rows: what we do at which level; columns: WINNERS in order.
MATRIX: dict[tuple[str, Isolation], str] = {
    ("append", "WriteSerializable"): "-    -   -   -   -    -    -    -    -    -    meta -",
    ("append", "Serializable"): "-    -   -   -   -    -    -    -    -    -    meta -",
    ("append", "SnapshotIsolation"): "-    -   -   -   -    -    -    -    -    -    meta -",
    ("delete", "WriteSerializable"): "-    -   add -   both read -    both both -    meta -",
    ("delete", "Serializable"): "add  -   add -   both read -    both both -    meta -",
    ("delete", "SnapshotIsolation"): "-    -   -   -   both -    -    both both -    meta -",
    ("delete by vector", "WriteSerializable"): "-  -  add -  both -   -    ok   both -    meta -",
    ("delete by vector", "Serializable"): "add - add -  both -   -    ok   both -    meta -",
    ("insert from itself", "WriteSerializable"): "- - add add read read read read - - meta -",
    ("insert from itself", "Serializable"): "add add add add read read read read - - meta -",
    ("insert from itself", "SnapshotIsolation"): "- - - - - - - - - - meta -",
    ("optimize", "WriteSerializable"): "- -   -   -   both -    -    both both -    meta -",
    ("optimize", "Serializable"): "- -   -   -   both -    -    both both -    meta -",
    ("metadata", "WriteSerializable"): "-    -   -   -   -    -    -    -    -    -    meta meta",
    ("metadata", "Serializable"): "-    -   -   -   -    -    -    -    -    -    meta meta",
    ("overwrite with a new schema", "WriteSerializable"):
        "add - add - both - - both both - meta meta",
}  # fmt: skip
CELLS = [
    (what, level, which, cell)
    for (what, level), row in MATRIX.items()
    for which, cell in zip(WINNERS, row.split(), strict=True)
]


@pytest.mark.parametrize(("what", "level", "which", "cell"), CELLS)
def test_matrix(what: str, level: Isolation, which: str, cell: str) -> None:
    def decide() -> frozenset[str]:
        return check(ours(what), [winner(which)], level, may_match)

    if cell == "ok":
        assert decide() == {"a"}
    elif RULES[cell] is None:
        assert decide() == frozenset()
    else:
        with pytest.raises(DeltaLakeError) as caught:
            decide()
        assert caught.value.kind is DeltaLakeErrorKind.CONCURRENCY_ERROR
        assert caught.value.facts["rule"] == RULES[cell]
        assert caught.value.facts["version"] == 2
        assert caught.value.retryable


@pytest.mark.parametrize(
    ("feature", "conflicts"),
    [("deletionVectors", False), ("rowTracking", False), ("checkConstraints", True)],
)
def test_a_winner_that_enables_a_feature(feature: str, conflicts: bool) -> None:
    won = Winner(version=2, protocol={**PROTOCOL, "writerFeatures": [feature]})
    if conflicts:
        with pytest.raises(DeltaLakeError, match=feature):
            check(ours("append"), [won], "WriteSerializable", may_match)
    else:
        check(ours("append"), [won], "WriteSerializable", may_match)
    with pytest.raises(DeltaLakeError) as caught:
        check(ours("metadata"), [won], "WriteSerializable", may_match)
    assert caught.value.facts["rule"] == "protocol_changed"


def test_a_winner_that_drops_a_feature() -> None:
    base = {**PROTOCOL, "writerFeatures": ["deletionVectors"]}
    mine = Ours(**{**vars(ours("append")), "base_protocol": base})
    with pytest.raises(DeltaLakeError, match="dropped"):
        check(mine, [Winner(version=2, protocol=PROTOCOL)], "WriteSerializable", may_match)


@pytest.mark.parametrize("level", ["WriteSerializable", "Serializable"])
def test_rows_that_were_read_are_followed_where_they_are_moved(level: Isolation) -> None:
    reads = replace(ours("delete by vector"), removes={})
    moved, elsewhere = winner("optimize a"), replace(winner("remove c"), version=3)
    assert check(reads, [moved, winner("optimize c")], level, may_match) == frozenset()
    assert check(reads, [elsewhere], level, may_match) == frozenset()
    with pytest.raises(DeltaLakeError) as caught:
        check(reads, [moved, elsewhere], level, may_match)
    assert (caught.value.facts["rule"], caught.value.facts["version"]) == (
        "concurrent_delete_read",
        3,
    )


def test_domains() -> None:
    for domain, conflicts in (("d", True), ("delta.rowTracking", False)):
        mine = Ours(**{**vars(ours("append")), "domains": frozenset({domain})})
        won = Winner(version=2, domains=frozenset({domain, "other"}))
        if conflicts:
            with pytest.raises(DeltaLakeError, match="domain d"):
                check(mine, [won], "WriteSerializable", may_match)
        else:
            check(mine, [won], "WriteSerializable", may_match)


@pytest.mark.parametrize(
    ("change", "harm"),
    [
        ({"name": "n", "description": "d"}, None),
        ({"configuration": {"mine": "1", "delta.logRetentionDuration": "interval 1 day"}}, None),
        ({"configuration": {"delta.appendOnly": "true"}}, "delta.appendOnly"),
        ({"configuration": {"delta.constraints.c": "x > 0"}}, "delta.constraints.c"),
        ({"configuration": {"delta.somethingNew": "1"}}, "delta.somethingNew"),
        ({"schemaString": schema(field("id"), field("x"), field("new"))}, None),
        ({"schemaString": schema(field("id"), field("x", metadata={"comment": "c"}))}, None),
        ({"schemaString": schema(field("id"), field("x", nullable=False))}, "x was changed"),
        ({"schemaString": schema(field("id"))}, "x was dropped"),
        (
            {"schemaString": schema(field("id"), field("x"), field("n", nullable=False))},
            "n was added",
        ),
        (
            {
                "schemaString": schema(
                    field("id"),
                    field("x"),
                    field("g", metadata={"delta.generationExpression": "x + 1"}),
                )
            },
            "g was added",
        ),
        ({"schemaString": "no JSON"}, "schema was changed"),
        ({"partitionColumns": ["id"]}, "partition columns"),
        ({"id": "another"}, "another table"),
    ],
)
def test_what_of_metadata_is_harmless(change: dict[str, Any], harm: str | None) -> None:
    found = harmful_change(METADATA, {**METADATA, **change})
    if harm is None:
        assert found is None
    else:
        assert found is not None
        assert harm in found


def test_harm_is_found_step_by_step() -> None:
    there = Winner(version=2, metadata={**METADATA, "configuration": {"delta.appendOnly": "true"}})
    back = Winner(version=3, metadata=METADATA)
    with pytest.raises(DeltaLakeError) as caught:
        check(ours("append"), [there, back], "WriteSerializable", may_match)
    assert caught.value.facts["version"] == 2


def test_vectors_are_united() -> None:
    def places(*rows: int) -> Places:
        return np.array(rows, dtype=np.int64)

    assert unite(places(1), places(1, 2), places(1, 3)).tolist() == [1, 2, 3]
    assert unite(places(), places(), places(0, 5)).tolist() == [0, 5]
    assert unite(places(), places(4), places(0, 5)).tolist() == [0, 4, 5]
    # A RESTORE brought row 2 back: it stays.
    assert unite(places(1, 2), places(1), places(1, 2, 9)).tolist() == [1, 9]
    with pytest.raises(ValueError, match="1"):
        unite(places(1), places(1, 2, 3), places(1, 2))
    error = conflict.rows_conflict("t", "a", 4, 1)
    assert error.facts["rows"] == 1
    assert error.retryable
