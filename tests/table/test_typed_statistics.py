"""Statistics as typed columns: the quick way and the patient one agree."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from deltalakedb.log.schema import iter_leaves, parse_schema
from deltalakedb.log.statistics import typed as typed
from tests.table.opening import open_table

TYPES = {
    "l": "long",
    "i": "integer",
    "d": "double",
    "f": "float",
    "s": "string",
    "b": "boolean",
    "dt": "date",
    "ts": "timestamp",
    "tn": "timestamp_ntz",
    "m": "decimal(20,10)",
    "x": "binary",
}
GOOD: dict[str, tuple[Any, Any]] = {
    "l": (2**62, 2**62),
    "i": (-7, -7),
    "d": (1.5, 1.5),
    "f": (3, 3.0),
    "s": ('ä"\\', 'ä"\\'),
    "b": (True, True),
    "dt": ("2024-05-01", dt.date(2024, 5, 1)),
    "ts": ("2024-05-01T12:00:00.123Z", dt.datetime(2024, 5, 1, 12, 0, 0, 123000, dt.UTC)),
    "tn": ("2024-05-01T12:00:00.123", dt.datetime(2024, 5, 1, 12, 0, 0, 123000)),
    "m": (Decimal("9999999999.9999999999"), Decimal("9999999999.9999999999")),
}


def leaves() -> list[Any]:
    fields = [
        {"name": name, "type": kind, "nullable": True, "metadata": {}}
        for name, kind in TYPES.items()
    ]
    inner = {"type": "struct", "fields": fields[:2]}
    fields.append({"name": "n", "type": inner, "nullable": True, "metadata": {}})
    many = {"type": "array", "elementType": "long", "containsNull": True}
    fields.append({"name": "a", "type": many, "nullable": True, "metadata": {}})
    schema = parse_schema(json.dumps({"type": "struct", "fields": fields}))
    return list(iter_leaves(schema, mapped=False))


def text(least: dict[str, Any], **rest: Any) -> str:
    plain = json.dumps({"numRecords": 3, "minValues": least, **rest}, default=lambda d: f"#{d}#")
    return plain.replace('"#', "").replace('#"', "")


def read(*texts: str | None) -> dict[str, typed.Columns]:
    return typed.typed_statistics(pa.chunked_array([pa.array(texts, pa.string())]), leaves())


def test_values_have_their_columns_types(monkeypatch: pytest.MonkeyPatch) -> None:
    least = {name: value for name, (value, _) in GOOD.items()}
    texts = (
        text({**least, "n": {"l": 5}}, nullCount={"l": 1, "a": 2, "n": {"l": 0}, "x": 3}),
        None,
        "{}",
        text({}, maxValues={"l": 5}),
        text({"unknown": {"deep": 5}}).replace(",", ",\n"),
    )
    quick = read(*texts)
    for name, (_, value) in GOOD.items():
        assert quick["minValues"][name].to_pylist() == [value, None, None, None, None], name
    assert quick["minValues"]["n.l"].to_pylist()[0] == 5
    assert quick["maxValues"]["l"].to_pylist() == [None, None, None, 5, None]
    assert quick["nullCount"]["a"].to_pylist()[:2] == [2, None]
    assert quick["nullCount"]["x"].to_pylist()[0] == 3
    assert "x" not in quick["minValues"]
    assert "a" not in quick["minValues"]
    assert quick["minValues"]["m"].type == pa.decimal128(20, 10)
    monkeypatch.setattr(typed, "_read_at_once", lambda *_: None)
    assert_same(read(*texts), quick)


def assert_same(one: dict[str, typed.Columns], other: dict[str, typed.Columns]) -> None:
    assert one.keys() == other.keys()
    for key, columns in one.items():
        assert columns.keys() == other[key].keys()
        for name, column in columns.items():
            assert column.to_pylist() == other[key][name].to_pylist(), (key, name)
            assert column.type == other[key][name].type


@pytest.mark.parametrize(
    ("column", "bad"),
    [
        ("l", "text"),
        ("l", 2**70),
        ("i", 2**40),
        ("i", 1.5),
        ("i", True),
        ("b", 1),
        ("s", 5),
        ("d", "text"),
        ("dt", "yesterday"),
        ("ts", 5),
        ("m", "text"),
        ("n", 5),
        ("n", {"l": {"deeper": 1}}),
    ],
)
def test_one_bad_value_hides_no_good_one(column: str, bad: Any) -> None:
    found = read(text({column: bad, "tn": GOOD["tn"][0]}), text({"l": 5, "m": GOOD["m"][0]}))
    name = "n.l" if column == "n" else column
    assert found["minValues"][name].to_pylist()[0] is None
    assert found["minValues"]["tn"].to_pylist()[0] == GOOD["tn"][1]
    assert found["minValues"]["l"].to_pylist()[1] == 5
    assert found["minValues"]["m"].to_pylist()[1] == GOOD["m"][1]


def test_numbers_that_json_lacks_come_as_text() -> None:
    found = read(text({"d": "Infinity", "f": "NaN"}))
    assert found["minValues"]["d"].to_pylist() == [float("inf")]
    assert str(found["minValues"]["f"].to_pylist()[0]) == "nan"


@pytest.mark.parametrize("broken", ["no json", "[1]", '{"minValues":', '"text"', "{} {}"])
def test_what_is_no_statistics_is_none(broken: str) -> None:
    found = read(broken, text({"l": 5}))
    assert found["minValues"]["l"].to_pylist() == [None, 5]


def test_no_files_have_typed_columns_too() -> None:
    found = typed.typed_statistics(pa.chunked_array([], pa.string()), leaves())
    assert found["minValues"]["dt"].type == pa.date32()
    assert len(found["minValues"]["dt"]) == 0


def test_all_files_are_read_at_once(shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = open_table(shared).snapshot()
    quick = snapshot.get_add_actions(flatten=True).sort_by("path")
    monkeypatch.setattr(typed, "_read_at_once", lambda *_: None)
    assert snapshot.get_add_actions(flatten=True).sort_by("path").equals(quick)
    monkeypatch.undo()
    monkeypatch.delattr(typed, "_read_one_by_one")
    assert snapshot.get_add_actions().num_rows == 270
