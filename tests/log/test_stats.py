from __future__ import annotations

import datetime as dt
import json
import math
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from deltalakedb.log.statistics.text import stats_json_from_parsed
from tests.tables import samples

LEAVES = pa.struct(
    [
        ("i", pa.int32()),
        ("d", pa.float64()),
        ("f", pa.float32()),
        ("dec", pa.decimal128(10, 2)),
        ("s", pa.string()),
        ("day", pa.date32()),
        ("ts", pa.timestamp("us", "UTC")),
        ("ntz", pa.timestamp("us")),
        ("b", pa.bool_()),
        ("bin", pa.binary()),
        ("v", pa.struct([("metadata", pa.binary()), ("value", pa.binary())])),
        ("n", pa.struct([("x", pa.int64()), ("y", pa.struct([("z", pa.string())]))])),
        ("l", pa.list_(pa.int64())),
    ]
)
SHAPE = pa.struct(
    [
        ("numRecords", pa.int64()),
        ("minValues", LEAVES),
        ("nullCount", pa.struct([("i", pa.int64()), ("n", pa.struct([("x", pa.int64())]))])),
        ("tightBounds", pa.bool_()),
    ]
)


def text(*rows: dict[str, Any] | None, shape: pa.DataType = SHAPE) -> list[str | None]:
    found: list[str | None] = stats_json_from_parsed(pa.array(rows, shape)).to_pylist()
    return found


def test_every_type() -> None:
    (found,) = text(
        {
            "numRecords": 3,
            "minValues": {
                "i": -1,
                "d": 1.5,
                "f": 0.25,
                "dec": Decimal("-5.60"),
                "s": 'a"\\é',
                "day": dt.date(2020, 2, 29),
                "ts": dt.datetime(2020, 1, 2, 3, 4, 5, 678000, tzinfo=dt.UTC),
                "ntz": dt.datetime(1969, 12, 31, 23, 59, 59, 999000),
                "b": False,
                "bin": b"x",
                "v": {"metadata": b"a", "value": b"b"},
                "n": {"x": 1, "y": {"z": "q"}},
                "l": [1],
            },
            "nullCount": {"i": 0, "n": {"x": 2}},
            "tightBounds": True,
        }
    )
    assert found == (
        '{"numRecords":3,"minValues":{"i":-1,"d":1.5,"f":0.25,"dec":-5.60,"s":"a\\"\\\\é",'
        '"day":"2020-02-29","ts":"2020-01-02T03:04:05.678Z","ntz":"1969-12-31T23:59:59.999",'
        '"b":false,"n":{"x":1,"y":{"z":"q"}}},"nullCount":{"i":0,"n":{"x":2}},"tightBounds":true}'
    )


def test_nulls_are_left_out_with_their_empty_parents() -> None:
    assert text(
        None,
        {"numRecords": 1, "minValues": {"i": 1, "n": {"x": None, "y": {"z": None}}}},
        {"numRecords": None, "minValues": None, "nullCount": {"i": None}},
        {"numRecords": 2, "nullCount": {"n": {"x": 1}}, "tightBounds": False},
    ) == [
        None,
        '{"numRecords":1,"minValues":{"i":1}}',
        None,
        '{"numRecords":2,"nullCount":{"n":{"x":1}},"tightBounds":false}',
    ]


def test_members_come_and_go_between_others() -> None:
    shape = pa.struct([(c, pa.int64()) for c in "abcd"])
    rows = [
        {c: (n if n >> k & 1 else None) for k, c in enumerate("abcd")} | {"b": 5} for n in range(16)
    ]
    expected = [
        json.dumps({c: v for c, v in sorted(row.items()) if v is not None}, separators=(",", ":"))
        for row in rows
    ]
    assert text(*rows, shape=shape) == expected


def test_special_floats_are_strings() -> None:
    shape = pa.struct([("d", pa.float64())])
    rows = [{"d": v} for v in (math.nan, math.inf, -math.inf, 1e300, None)]
    assert text(*rows, shape=shape) == [
        '{"d":"NaN"}',
        '{"d":"Infinity"}',
        '{"d":"-Infinity"}',
        '{"d":1e+300}',
        None,
    ]


def test_control_characters_are_escaped() -> None:
    shape = pa.struct([("s", pa.string())])
    found = text({"s": "a\nb\x01"}, {"s": "plain"}, shape=shape)
    assert [json.loads(t or "")["s"] for t in found] == ["a\nb\x01", "plain"]


def test_microseconds_are_kept() -> None:
    shape = pa.struct([("t", pa.timestamp("us", "UTC"))])
    when = dt.datetime(2020, 1, 1, 0, 0, 0, 1, tzinfo=dt.UTC)
    assert text({"t": when}, shape=shape) == ['{"t":"2020-01-01T00:00:00.000001Z"}']


def test_int96_timestamps_are_instants() -> None:
    shape = pa.struct([("t", pa.timestamp("ns"))])
    assert text({"t": 1_000_000}, shape=shape) == ['{"t":"1970-01-01T00:00:00.001Z"}']


def test_no_statistics_at_all() -> None:
    assert text({"bin": b"x"}, shape=pa.struct([("bin", pa.binary())])) == [None]
    assert stats_json_from_parsed(pa.array([], SHAPE)).to_pylist() == []
    chunked = pa.chunked_array([pa.array([{"numRecords": n}], SHAPE) for n in (1, 2)])
    assert stats_json_from_parsed(chunked).to_pylist() == ['{"numRecords":1}', '{"numRecords":2}']


def plain(value: Any) -> Any:
    """What JSON can say of a parsed statistic."""
    if isinstance(value, dict):
        members = {k: plain(v) for k, v in value.items()}
        return {k: v for k, v in members.items() if v is not None} or None
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None)
    return value.isoformat() if isinstance(value, dt.date) else value


def untimed(value: Any, like: Any) -> Any:
    if isinstance(value, dict):
        return {k: untimed(v, like.get(k)) for k, v in value.items()}
    if isinstance(like, dt.datetime):
        return dt.datetime.fromisoformat(value).replace(tzinfo=None)
    return value


@pytest.mark.parametrize(
    "name",
    ["rs-delta-1.2.1-only-struct-stats", "spark-transaction_log_schema_evolvability"],
)
def test_real_checkpoints(name: str) -> None:
    (file,) = samples.path(name).glob("_delta_log/*.checkpoint.parquet")
    parsed = pc.struct_field(pq.read_table(file)["add"].combine_chunks(), "stats_parsed")
    seen = 0
    for row, found in zip(
        parsed.to_pylist(), stats_json_from_parsed(parsed).to_pylist(), strict=True
    ):
        want = None if row is None else plain(row)
        assert (want is None) is (found is None)
        if want is not None:
            assert untimed(json.loads(found), want) == want
            seen += 1
    assert seen > 1
