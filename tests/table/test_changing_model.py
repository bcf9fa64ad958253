"""DELETE, UPDATE, MERGE and appends in any order, against SQLite and a model in Python."""

from __future__ import annotations

import sqlite3
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import deltalakedb as dl
from deltalakedb.table.table import Table
from tests.table.changed import CHANGES, VECTORS, changes_of, commit_of, seen_by_delta_rs

Row = tuple[int | None, str | None, str | None]
NAMES = ("id", "v", "p")
SCHEMA = pa.schema([("id", pa.int64()), ("v", pa.string()), ("p", pa.string())])

ids = st.none() | st.integers(0, 6)
texts = st.none() | st.sampled_from(["a", "b", "c"])
rows = st.lists(st.tuples(ids, texts, texts), min_size=1, max_size=8)
tests_of_a_row = st.one_of(
    st.builds("id {} {}".format, st.sampled_from(["=", "<", ">=", "<>"]), st.integers(0, 6)),
    st.builds("{} IS {}NULL".format, st.sampled_from(NAMES), st.sampled_from(["", "NOT "])),
    st.builds("{} = '{}'".format, st.sampled_from(["v", "p"]), st.sampled_from("abc")),
    st.just("p IN ('a', 'c')"),
    st.just("v > p"),
)
predicates = st.recursive(
    tests_of_a_row,
    lambda inner: st.one_of(
        st.builds("({} AND {})".format, inner, inner),
        st.builds("({} OR {})".format, inner, inner),
        st.builds("(NOT {})".format, inner),
    ),
    max_leaves=3,
)
settings_of_a_row = st.dictionaries(
    st.sampled_from(NAMES), st.just(None), min_size=1, max_size=2
).map(lambda names: {n: {"id": "id + 1", "v": "p", "p": "'b'"}[n] for n in names})
unique_rows = st.lists(
    st.tuples(st.integers(0, 8), texts, texts), min_size=1, max_size=5, unique_by=lambda r: r[0]
)
steps = st.one_of(
    st.tuples(st.just("append"), rows),
    st.tuples(st.just("delete"), predicates),
    st.tuples(st.just("update"), settings_of_a_row, predicates),
    st.tuples(st.just("merge"), unique_rows, predicates, st.booleans()),
)
tables = st.sampled_from(
    [
        ({}, None),
        (VECTORS | CHANGES, None),
        (VECTORS, ["p"]),
        (CHANGES, ["p"]),
        (VECTORS | CHANGES | {"delta.columnMapping.mode": "name"}, ["p"]),
    ]
)


class Model:
    """The rows as SQLite has them, and what a step has changed."""

    def __init__(self) -> None:
        self._database = sqlite3.connect(":memory:")
        self._database.execute("CREATE TABLE t (id INTEGER, v TEXT, p TEXT)")

    def rows(self) -> list[Row]:
        return self._database.execute("SELECT id, v, p FROM t").fetchall()

    def _where(self, predicate: str) -> list[tuple[int, Row]]:
        found = self._database.execute(f"SELECT rowid, id, v, p FROM t WHERE {predicate}")
        return [(row[0], row[1:]) for row in found.fetchall()]

    def run(self, step: tuple[Any, ...]) -> list[tuple[str, Row]]:
        match step:
            case ("append", new):
                return self._insert(new)
            case ("delete", predicate):
                gone = self._where(predicate)
                self._database.execute(f"DELETE FROM t WHERE {predicate}")
                return [("delete", row) for _, row in gone]
            case ("update", assignments, predicate):
                return self._update(assignments, self._where(predicate))
        _, source, predicate, deletes = step
        return self._merge(source, predicate, deletes)

    def _insert(self, new: list[Row]) -> list[tuple[str, Row]]:
        self._database.executemany("INSERT INTO t VALUES (?, ?, ?)", new)
        return [("insert", row) for row in new]

    def _update(
        self, assignments: dict[str, str], found: list[tuple[int, Row]]
    ) -> list[tuple[str, Row]]:
        changes = [("update_preimage", row) for _, row in found]
        setting = ", ".join(f"{name} = {sql}" for name, sql in assignments.items())
        for rowid, _ in found:
            self._database.execute(f"UPDATE t SET {setting} WHERE rowid = {rowid}")
            new = self._database.execute(f"SELECT id, v, p FROM t WHERE rowid = {rowid}")
            changes.append(("update_postimage", new.fetchone()))
        return changes

    def _merge(self, source: list[Row], predicate: str, deletes: bool) -> list[tuple[str, Row]]:
        by_id = {row[0]: row for row in source}
        known = {row[0] for row in self.rows()}
        chosen = self._where(predicate)
        every = self._where("TRUE")
        changes = []
        for rowid, row in chosen:
            if row[0] in by_id:
                changes.append(("delete" if deletes else "update_preimage", row))
                if deletes:
                    self._database.execute(f"DELETE FROM t WHERE rowid = {rowid}")
                else:
                    new = (row[0], by_id[row[0]][1], row[2])
                    self._database.execute(f"UPDATE t SET v = ? WHERE rowid = {rowid}", new[1:2])
                    changes.append(("update_postimage", new))
        for rowid, row in every:
            if row[0] not in by_id and row[2] == "c":
                self._database.execute(f"DELETE FROM t WHERE rowid = {rowid}")
                changes.append(("delete", row))
        return changes + self._insert([row for row in source if row[0] not in known])


def as_rows(found: list[Row]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(NAMES, row, strict=True)) for row in found], SCHEMA)


def run(table: Table, step: tuple[Any, ...]) -> None:
    match step:
        case ("append", new):
            table.append(as_rows(new))
        case ("delete", predicate):
            table.delete(predicate)
        case ("update", assignments, predicate):
            table.update(assignments, predicate=predicate)
        case ("merge", source, predicate, deletes):
            qualified = predicate
            for name in NAMES:
                qualified = qualified.replace(f"{name} ", f"target.{name} ")
            qualified = qualified.replace("> p", "> target.p")
            merger = table.merge(as_rows(source), "target.id = source.id")
            if deletes:
                merger.when_matched_delete(qualified)
            else:
                merger.when_matched_update({"v": "source.v"}, qualified)
            merger.when_not_matched_insert_all()
            merger.when_not_matched_by_source_delete("p = 'c'").execute()


def tuples(found: list[dict[str, Any]]) -> Counter[Row]:
    return Counter((row["id"], row["v"], row["p"]) for row in found)


@settings(
    max_examples=6,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(tables, rows, st.lists(steps, min_size=1, max_size=4))
def test_changes(
    sqlite_url: str,
    tmp_path: Path,
    kind: tuple[dict[str, str], list[str] | None],
    first: list[Row],
    changes: list[tuple[Any, ...]],
) -> None:
    properties, partitions = kind
    name = f"t{uuid.uuid4().hex}"
    uri, place = f"deltasql://{sqlite_url}?table={name}", tmp_path / name
    table = dl.create_table(
        uri, SCHEMA, location=str(place), partition_by=partitions, properties=properties
    )
    model = Model()
    for step in [("append", first), *changes]:
        before = table.version
        expected = model.run(step)
        run(table, step)
        found = table.snapshot().to_pyarrow_table().to_pylist()
        assert tuples(found) == Counter(model.rows())
        assert table.snapshot().count_rows() == len(found)
        if table.version == before:
            assert not expected
        elif properties.get("delta.columnMapping.mode") is None:
            actions = commit_of(place, table.version)
            if "cdc" in actions:
                told = [
                    (kind, tuple(row[n] for n in NAMES))
                    for kind, row in changes_of(place, table.version)
                ]
                assert Counter(told) == Counter(expected)
            elif CHANGES.keys() <= properties.keys():
                # Readers take the changes from the files: whole ones came or went.
                vectors = {a["path"] for a in actions.get("add", [])}
                assert not vectors & {r["path"] for r in actions.get("remove", [])}
                assert len({kind for kind, _ in expected}) == 1
    if "delta.columnMapping.mode" not in properties:
        assert tuples(seen_by_delta_rs(place)) == Counter(model.rows())
