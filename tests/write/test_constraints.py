"""What a table demands of its rows is filled in, or refused with the row that breaks it."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import StructType, parse_schema
from deltalakedb.write.constraints import RowChecks, check_constraints, refuse_if_append_only
from deltalakedb.write.schema import RowConverter


def field(name: str, kind: Any = "long", nullable: bool = True, **metadata: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "nullable": nullable, "metadata": metadata}


def struct(*fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "struct", "fields": list(fields)}


def checked(
    fields: list[dict[str, Any]],
    rows: dict[str, Any],
    configuration: dict[str, str] | None = None,
) -> list[dict[str, Any]]:
    schema = parse_schema(json.dumps(struct(*fields)))
    batch = pa.record_batch(rows)
    converter = RowConverter(batch.schema, schema)
    checks = RowChecks(schema, configuration or {})
    return checks(converter.convert(batch), converter.missing).to_pylist()  # type: ignore[no-any-return]


LIST_OF_STRUCT = {
    "type": "array",
    "elementType": struct(field("x", "long", False)),
    "containsNull": True,
}
NO_NULLS = {"type": "array", "elementType": "long", "containsNull": False}
MAP = {"type": "map", "keyType": "string", "valueType": NO_NULLS, "valueContainsNull": False}


@pytest.mark.parametrize(
    ("kind", "nullable", "values", "column", "row"),
    [
        ("long", False, [1, None, None], "c", 1),
        (struct(field("x", "long", False)), True, [None, {"x": 1}, {"x": None}], "c.x", 2),
        (struct(field("s", struct(field("x", "long", False)))), True,
         [{"s": None}, {"s": {"x": 1}}, {"s": {"x": None}}], "c.s.x", 2),
        (NO_NULLS, True, [None, [1, 2], [], [3, None]], "c.element", 3),
        (LIST_OF_STRUCT, True, [[{"x": 1}], None, [None, {"x": 2}, {"x": None}]], "c.element.x", 2),
        (MAP, True, [None, [("a", [1])], [("a", [1]), ("b", None)]], "c.value", 2),
        (MAP, True, [[("a", [1]), ("b", [2, None])]], "c.value.element", 0),
    ],
)  # fmt: skip
def test_nulls_are_refused(
    kind: Any, nullable: bool, values: list[Any], column: str, row: int
) -> None:
    fields = [field("n"), field("c", kind, nullable)]
    types = {f.name: f.type for f in RowConverter(pa.schema([]), _relaxed(fields)).schema}
    rows = {"n": list(range(len(values))), "c": pa.array(values, types["c"])}
    with pytest.raises(DeltaLakeError) as caught:
        checked(fields, rows)
    assert caught.value.kind is DeltaLakeErrorKind.CONSTRAINT_VIOLATION
    assert caught.value.facts["constraint"] == column
    assert caught.value.facts["row"].startswith(f"n={row}, c=")
    # All before the first that fails are good.
    good = {"n": list(range(row)), "c": pa.array(values[:row], types["c"])}
    assert len(checked(fields, good)) == row


def _relaxed(fields: list[dict[str, Any]]) -> StructType:
    return parse_schema(json.dumps(struct(*fields)))


def test_missing_columns_break_not_null() -> None:
    with pytest.raises(DeltaLakeError, match="NOT NULL of column b"):
        checked([field("a"), field("b", "long", False)], {"a": [1]})


def test_check_constraints_and_invariants() -> None:
    configuration = {"delta.constraints.big": "a > 1", "delta.other": "x"}
    assert check_constraints(configuration) == {"big": "a > 1"}
    assert checked([field("a")], {"a": [2, 3]}, configuration) == [{"a": 2}, {"a": 3}]
    invariant = json.dumps({"expression": {"expression": "a > 1"}})
    for fields, properties in (
        ([field("a"), field("s", "string")], configuration),
        ([field("a", **{"delta.invariants": invariant}), field("s", "string")], {}),
    ):
        for bad in (1, None):
            with pytest.raises(DeltaLakeError, match=r"a > 1.*violated by the row") as caught:
                checked(fields, {"a": [5, bad], "s": ["ok", "x" * 200]}, properties)
            shown = caught.value.facts["row"]
            assert shown.startswith(f"a={bad}, s='xxx")
            assert len(shown) == 100
    with pytest.raises(DeltaLakeError, match="not understood"):
        checked([field("a", **{"delta.invariants": "{}"})], {"a": [1]})


def test_generated_columns_and_defaults() -> None:
    fields = [
        field("g", "integer", **{"delta.generationExpression": "a + 1"}),
        field("a", "long", CURRENT_DEFAULT="7"),
    ]
    assert checked(fields, {"a": [1, None]}) == [{"g": 2, "a": 1}, {"g": None, "a": None}]
    # A default counts only for a column that isn't given, and comes before what depends on it.
    assert checked([*fields, field("z")], {"z": [0]}) == [{"g": 8, "a": 7, "z": 0}]
    assert checked(fields, {"a": [1, None], "g": [2, None]})[0]["g"] == 2
    for wrong in ([3, None], [None, None], [2, 0]):
        with pytest.raises(DeltaLakeError, match=r"generated column g \(a \+ 1\)"):
            checked(fields, {"a": [1, None], "g": wrong})
    # A number becomes one of its column's kind.
    decimals = [field("d", "double", CURRENT_DEFAULT="1.5"), field("i", "integer")]
    assert checked(decimals, {"i": [1]}) == [{"d": 1.5, "i": 1}]


def test_lengths_of_text() -> None:
    noted = {"__CHAR_VARCHAR_TYPE_STRING": "char(3)"}
    fields = [field("c", "string", **noted), field("v", "varchar(2)")]
    assert checked(fields, {"c": ["a", None], "v": ["éé", None]}) == [
        {"c": "a  ", "v": "éé"}, {"c": None, "v": None}
    ]  # fmt: skip
    for rows in ({"c": ["abcd"], "v": ["a"]}, {"c": ["a"], "v": ["abc"]}):
        with pytest.raises(DeltaLakeError, match=r"char\(\d\) of column") as caught:
            checked(fields, rows)
        assert caught.value.kind is DeltaLakeErrorKind.CONSTRAINT_VIOLATION


def test_what_cannot_be_honoured_is_refused_by_name() -> None:
    identity = parse_schema(json.dumps(struct(field("i", **{"delta.identity.start": 1}))))
    rows = pa.record_batch({"i": pa.nulls(1, pa.int64())})
    with pytest.raises(DeltaLakeError, match="identityColumns"):
        RowChecks(identity, {})(rows, frozenset({"i"}))
    plain = parse_schema(json.dumps(struct(field("a"))))
    for sql, why in (("warp(a) > 1", "(?i)warp"), ("a + 1", "checkConstraints"), ("b > 1", "b")):
        with pytest.raises(DeltaLakeError, match=why):
            RowChecks(plain, {"delta.constraints.c": sql})
    text = parse_schema(json.dumps(struct(field("a", CURRENT_DEFAULT="'x'"))))
    with pytest.raises(DeltaLakeError, match="allowColumnDefaults"):
        RowChecks(text, {})
    assert RowChecks(plain, {}).is_empty
    refuse_if_append_only({}, "delete", "t")
    with pytest.raises(DeltaLakeError, match="append-only"):
        refuse_if_append_only({"delta.appendOnly": "true"}, "delete", "t")
