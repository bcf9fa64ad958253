"""Statistics of files that we write: bounds that hold, in the forms the protocol has."""

from __future__ import annotations

import datetime
import json
import math
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltalakedb.log.schema import arrow_schema, parse_schema
from deltalakedb.log.statistics.collect import (
    ColumnPlan,
    StatisticsCollector,
    loosened,
    statistics_leaves,
    string_prefix_length,
)

UTC = datetime.UTC


def schema_of(**types: Any) -> str:
    fields = [
        {"name": name, "type": kind, "nullable": True, "metadata": {}}
        for name, kind in types.items()
    ]
    return json.dumps({"type": "struct", "fields": fields})


def collected(
    types: dict[str, Any],
    *batches: dict[str, list[Any]],
    partitions: list[str] | None = None,
    configuration: dict[str, str] | None = None,
    tight: bool | None = None,
) -> dict[str, Any]:
    schema = parse_schema(schema_of(**types))
    leaves = statistics_leaves(schema, partitions or [], configuration or {}, mapped=False)
    collector = StatisticsCollector(
        [ColumnPlan.of(schema, leaf, string_prefix_length(configuration or {})) for leaf in leaves]
    )
    for batch in batches:
        rows = pa.Table.from_pydict(batch, arrow_schema(schema))
        collector.add(rows.combine_chunks().to_batches()[0])
    text = collector.text(tight_bounds=tight)
    found: dict[str, Any] = json.loads(text, parse_float=Decimal)
    assert orjson.loads(text)
    return found


def test_each_kind_of_bound() -> None:
    types = {
        "i": "integer",
        "d": "decimal(38,9)",
        "t": "timestamp",
        "n": "timestamp_ntz",
        "day": "date",
        "b": "boolean",
        "raw": "binary",
        "s": "varchar(9)",
    }
    micros = datetime.datetime(1969, 12, 31, 23, 59, 59, 999_999)
    rows: dict[str, list[Any]] = {
        "i": [3, None, -5],
        "d": [Decimal("12345678901234567890.123456789"), Decimal("-0.000000001"), None],
        "t": [micros.replace(tzinfo=UTC), None, None],
        "n": [datetime.datetime(9999, 12, 31, 23, 59, 59, 999_999), datetime.datetime(1, 1, 1)] * 1
        + [None],
        "day": [datetime.date(1, 1, 1), datetime.date(9999, 12, 31), None],
        "b": [True, None, False],
        "raw": [b"x", None, None],
        "s": ["b", "a", None],
    }
    found = collected(types, rows)
    assert found["numRecords"] == 3
    assert found["minValues"] == {
        "i": -5,
        "d": Decimal("-0.000000001"),
        "t": "1969-12-31T23:59:59.999Z",
        "n": "0001-01-01T00:00:00.000",
        "day": "0001-01-01",
        "s": "a",
    }
    assert found["maxValues"] == {
        "i": 3,
        "d": Decimal("12345678901234567890.123456789"),
        "t": "1969-12-31T23:59:59.999Z",
        "n": "9999-12-31T23:59:59.999",
        "day": "9999-12-31",
        "s": "b",
    }
    assert found["nullCount"] == {
        "i": 1, "d": 1, "t": 2, "n": 1, "day": 1, "b": 1, "raw": 2, "s": 1
    }  # fmt: skip
    assert "tightBounds" not in found
    assert collected(types, rows, tight=True)["tightBounds"] is True


@pytest.mark.parametrize(
    ("batches", "low", "high"),
    [
        ([[1.0, float("nan")]], 1.0, None),
        ([[float("nan")], [2.0]], 2.0, None),
        ([[float("nan")]], None, None),
        ([[float("-inf"), 1.0]], None, 1.0),
        ([[1.0, float("inf")]], 1.0, None),
        ([[float("inf")]], None, None),
        ([[0.0, None]], -0.0, 0.0),
        ([[-0.0], [0.0]], -0.0, 0.0),
        ([[None]], None, None),
    ],
)
def test_floats_that_json_or_order_cannot_have(
    batches: list[list[Any]], low: float | None, high: float | None
) -> None:
    for kind in ("float", "double"):
        found = collected({"x": kind}, *({"x": b} for b in batches))
        got = [found[key].get("x") for key in ("minValues", "maxValues")]
        for value, expected in zip(got, (low, high), strict=True):
            assert (value is None) == (expected is None)
            if value is not None and expected is not None:
                assert float(value) == expected
                assert math.copysign(1, float(value)) == math.copysign(1, expected)


@pytest.mark.parametrize(
    ("text", "high"),
    [
        ("a" * 32, "a" * 32),
        ("a" * 33, "a" * 32 + "\x7f"),
        ("a" * 32 + "\x7f", "a" * 32 + "\U0010ffff"),
        ("a" * 32 + "\U0001f600", "a" * 32 + "\U0010ffff"),
        ("a" * 32 + "\U0010ffff" + "b", "a" * 32 + "\U0010ffff" + "\x7f"),
        ("a" * 32 + "\U0010ffff" * 40 + "b", None),
        ("\U0001f600" * 40, "\U0001f600" * 32 + "\U0010ffff"),
    ],
)
def test_long_text_is_cut_to_bounds(text: str, high: str | None) -> None:
    found = collected({"s": "string"}, {"s": [text]})
    assert found["minValues"]["s"] == text[:32]
    assert found["maxValues"].get("s") == high
    shorter = collected(
        {"s": "string"},
        {"s": [text]},
        configuration={"delta.dataSkippingStringPrefixLength": "4"},
    )
    assert shorter["minValues"]["s"] == text[:4]


def test_leaves_that_have_statistics() -> None:
    nested = {
        "type": "struct",
        "fields": [
            {"name": "x", "type": "long", "nullable": True, "metadata": {}},
            {"name": "y", "type": "string", "nullable": True, "metadata": {}},
        ],
    }
    array = {"type": "array", "elementType": "long", "containsNull": True}
    types = {"p": "string", "n": nested, "a": array, "z": "long"}
    rows: dict[str, list[Any]] = {
        "p": ["1", "2"],
        "n": [None, {"x": 4, "y": None}],
        "a": [[1, None], None],
        "z": [1, 2],
    }
    found = collected(types, rows, partitions=["p"])
    assert found["nullCount"] == {"n": {"x": 1, "y": 2}, "a": 1, "z": 0}
    assert found["minValues"] == {"n": {"x": 4}, "z": 1}
    only = {"delta.dataSkippingNumIndexedCols": "1"}
    assert collected(types, rows, partitions=["p"], configuration=only)["nullCount"] == {
        "n": {"x": 1}
    }
    named = {"delta.dataSkippingStatsColumns": "z,n.y", "delta.dataSkippingNumIndexedCols": "1"}
    assert collected(types, rows, partitions=["p"], configuration=named)["nullCount"] == {
        "n": {"y": 2},
        "z": 0,
    }


def test_statistics_have_physical_names() -> None:
    schema = parse_schema(
        json.dumps(
            {
                "type": "struct",
                "fields": [
                    {
                        "name": "a",
                        "type": "long",
                        "nullable": True,
                        "metadata": {
                            "delta.columnMapping.id": 1,
                            "delta.columnMapping.physicalName": "col-1",
                        },
                    }
                ],
            }
        )
    )
    collector = StatisticsCollector(
        [ColumnPlan.of(schema, leaf) for leaf in statistics_leaves(schema, [], {}, mapped=True)]
    )
    collector.add(pa.table({"a": [1]}).to_batches()[0])
    assert json.loads(collector.text())["minValues"] == {"col-1": 1}


def test_statistics_beside_a_deletion_vector() -> None:
    text = '{"numRecords":7,"minValues":{"d":1.10000000000000000001},"tightBounds":true}'
    assert loosened(text, 7) == (
        '{"numRecords":7,"minValues":{"d":1.10000000000000000001},"tightBounds":false}'
    )
    assert json.loads(loosened(None, 5)) == {"numRecords": 5, "tightBounds": False}
    assert json.loads(loosened('{"numRecords":null}', 5))["numRecords"] == 5


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "long": st.integers(-(2**63), 2**63 - 1),
    "double": st.floats(),
    "float": st.floats(width=32),
    "decimal(38,10)": st.decimals(
        -(10**27), 10**27, places=10, allow_nan=False, allow_infinity=False
    ),
    "string": st.text(st.characters(codec="utf-8"), max_size=40),
    "date": st.dates(),
    "timestamp": st.datetimes(timezones=st.just(UTC)),
}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_row_lies_within_its_bounds(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(VALUES)))
    values = data.draw(st.lists(st.none() | VALUES[kind], min_size=1, max_size=6))
    cut = data.draw(st.integers(0, len(values)))
    batches = [{"x": part} for part in (values[:cut], values[cut:]) if part]
    prefix = {"delta.dataSkippingStringPrefixLength": "5"}
    found = collected({"x": kind}, *batches, configuration=prefix)
    low, high = found["minValues"].get("x"), found["maxValues"].get("x")
    given_values = [v for v in values if v is not None]
    assert found["nullCount"]["x"] == len(values) - len(given_values)
    for value in given_values:
        if kind == "timestamp":
            floor = value.replace(microsecond=value.microsecond // 1000 * 1000)
            moment = floor.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
            assert low <= moment <= high
        elif kind == "date":
            assert low <= value.isoformat() <= high
        elif kind == "string":
            assert low.encode() <= value.encode()
            assert high is None or high.encode() >= value.encode()
        elif isinstance(value, float) and math.isnan(value):
            assert high is None
        else:
            number = float if isinstance(value, float) else Decimal
            assert low is None or number(low) <= value
            assert high is None or number(high) >= value
