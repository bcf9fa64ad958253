"""Keys keep the order of values, bounds never lose a row."""

from __future__ import annotations

import datetime as dt
import json
import math
import operator
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltalakedb.log.keys import (
    NEG_INF,
    POS_INF,
    KeyBound,
    SkippingColumn,
    bounds_for,
    key_of,
    keys_from_stats,
)
from deltalakedb.log.schema import iter_leaves, parse_schema
from deltalakedb.log.statistics.order import is_orderable
from tests.tables import samples

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
MILLISECOND = dt.timedelta(milliseconds=1)


def decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    limit = 10**precision - 1
    return st.integers(-limit, limit).map(lambda n: Decimal(n).scaleb(-scale))


def single(value: float) -> float:
    (rounded,) = struct.unpack("<f", struct.pack("<f", value))
    return float(rounded)


def floats(width: int) -> st.SearchStrategy[float]:
    near = st.integers(-50, 50).map(lambda n: n / 10)
    some = st.floats(allow_nan=False, width=32 if width == 32 else 64) | near
    return some.map(single) if width == 32 else some


# Small alphabets make equal prefixes, and equal values, likely.
TEXTS = st.text("ab\x00\uffff\U0010ffffé", max_size=12) | st.text(max_size=12)
MOMENTS = st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30)) | st.datetimes(
    dt.datetime(1969, 12, 31, 23, 59, 59), dt.datetime(1970, 1, 1, 0, 0, 1)
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "byte": st.integers(-128, 127),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3),
    "float": floats(32),
    "double": floats(64),
    "boolean": st.booleans(),
    "date": st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31)),
    "timestamp": MOMENTS.map(lambda t: t.replace(tzinfo=dt.UTC)),
    "timestamp_ntz": MOMENTS,
    "decimal(5,2)": decimals(5, 2),
    "decimal(18,6)": decimals(18, 6),
    "decimal(38,10)": decimals(38, 10),
    "string": TEXTS,
}
TYPES = sorted(VALUES)


def order(value: Any) -> Any:
    """Strings are ordered by their UTF-8 bytes."""
    return value.encode() if isinstance(value, str) else value


@given(st.data(), st.sampled_from(TYPES))
def test_keys_keep_the_order(data: st.DataObject, type: str) -> None:
    low, high = sorted((data.draw(VALUES[type]), data.draw(VALUES[type])), key=order)
    assert key_of(low, type, upper=False) <= key_of(high, type, upper=False)
    if not (type == "string" and high.startswith(low)):  # a cut-off text may be any longer one
        assert key_of(low, type, upper=True) <= key_of(high, type, upper=True)
    assert key_of(low, type, upper=False) <= key_of(low, type, upper=True)
    assert key_of(low, type, upper=False) >= NEG_INF
    assert key_of(high, type, upper=True) <= POS_INF


def minimum(values: list[Any], type: str, cut: int) -> Any:
    least = min(values, key=order)
    if isinstance(least, dt.datetime):
        return least.replace(microsecond=least.microsecond // 1000 * 1000)
    return least[:cut] if isinstance(least, str) else least


def maximum(values: list[Any], type: str, cut: int) -> Any:
    """Cut down as the footnote of PROTOCOL.md allows: text without a tie-breaker, too."""
    greatest = max(values, key=order)
    if isinstance(greatest, dt.datetime):
        return greatest.replace(microsecond=greatest.microsecond // 1000 * 1000)
    return greatest[:cut] if isinstance(greatest, str) else greatest


@given(st.data(), st.sampled_from(TYPES), st.sampled_from(sorted(COMPARISONS)), st.integers(1, 12))
def test_bounds_never_lose_a_row(data: st.DataObject, type: str, op: str, cut: int) -> None:
    values = data.draw(st.lists(VALUES[type], min_size=1, max_size=4))
    literal = data.draw(VALUES[type] | st.sampled_from(values))
    lo = key_of(minimum(values, type, cut), type, upper=False)
    hi = key_of(maximum(values, type, cut), type, upper=True)
    if any(COMPARISONS[op](order(v), order(literal)) for v in values):
        assert bounds_for(op, literal, type).admits(lo, hi)
        assert bounds_for("in", [literal, values[0]], type).admits(lo, hi)


@given(st.data(), st.sampled_from(sorted(COMPARISONS)))
def test_literals_of_other_numeric_types_never_lose_a_row(data: st.DataObject, op: str) -> None:
    """Whether the engine compares exactly, as double, or as the column's own float32."""
    type = data.draw(st.sampled_from(["long", "float", "double", "decimal(5,2)", "decimal(18,6)"]))
    values = data.draw(st.lists(VALUES[type], min_size=1, max_size=3))
    around = st.sampled_from(values).map(lambda v: float(v))
    literal = data.draw(
        around | floats(64) | st.integers(-(2**70), 2**70) | decimals(8, 3) | decimals(30, 20)
    )
    lo, hi = key_of(min(values), type, upper=False), key_of(max(values), type, upper=True)
    compare = COMPARISONS[op]
    matching = any(compare(v, literal) or compare(float(v), float(literal)) for v in values)
    if type == "float" and abs(literal) < 3e38:
        matching |= any(compare(v, single(float(literal))) for v in values)
    if matching:
        assert bounds_for(op, literal, type).admits(lo, hi)


@given(st.data(), st.sampled_from(["byte", "long", "double", "date", "decimal(5,2)"]))
def test_bounds_are_ideal_where_keys_are_exact(data: st.DataObject, type: str) -> None:
    """A file between minimum and maximum is kept exactly when some value there would match."""
    low, high = sorted([data.draw(VALUES[type]), data.draw(VALUES[type])])
    literal = data.draw(VALUES[type] | st.sampled_from([low, high]))
    lo, hi = key_of(low, type, upper=False), key_of(high, type, upper=True)
    assert bounds_for("=", literal, type).admits(lo, hi) is (low <= literal <= high)
    if key_of(literal, type, upper=False) not in (NEG_INF, POS_INF):
        assert bounds_for("<", literal, type).admits(lo, hi) is (low < literal)
        assert bounds_for("<=", literal, type).admits(lo, hi) is (low <= literal)
        assert bounds_for(">", literal, type).admits(lo, hi) is (high > literal)
        assert bounds_for(">=", literal, type).admits(lo, hi) is (high >= literal)


@pytest.mark.parametrize(
    ("value", "type", "lower", "upper"),
    [
        (5, "long", 5, 5),
        (5.5, "integer", 5, 6),
        (2**70, "long", POS_INF, POS_INF),
        (True, "boolean", 1, 1),
        ("1970-01-02", "date", 1, 1),
        (dt.date(1969, 12, 31), "date", -1, -1),
        ("1970-01-01T00:00:00.001Z", "timestamp", 1000, 2000),
        ("1970-01-01T01:00:00.000+01:00", "timestamp", 0, 1000),
        ("1969-12-31 16:00:00-0800", "timestamp", 0, 1000),
        ("1970-01-01T00:00:00.0000001Z", "timestamp", 0, 1001),
        ("1970-01-01T00:00:00.001", "timestamp_ntz", 1000, 2000),
        ("1970-01-01T00:00:00.001Z", "timestamp_ntz", 1000, 2000),
        ("1970-01-01", "timestamp_ntz", 0, 1000),
        (Decimal("1.10"), "decimal(5,2)", 110, 110),
        (Decimal("1.105"), "decimal(5,2)", 110, 111),
        (3, "decimal(5,2)", 300, 300),
        (-0.0, "double", 0, 0),
        ("Infinity", "double", 0x7FF0000000000000, 0x7FF0000000000000),
        ("", "string", NEG_INF, NEG_INF),
        ("a", "string", (0x61 << 56) - 2**63, (0x61FFFFFFFFFFFFFF) - 2**63),
        ("abcdefghi", "string", 0x6162636465666768 - 2**63, 0x6162636465666768 - 2**63),
    ],
)
def test_keys(value: Any, type: str, lower: int, upper: int) -> None:
    assert key_of(value, type, upper=False) == lower
    assert key_of(value, type, upper=True) == upper


@pytest.mark.parametrize(
    ("value", "type"),
    [
        (None, "long"),
        (math.nan, "double"),
        ("NaN", "double"),
        ("NaN", "decimal(38,2)"),
        ("5", "long"),
        (True, "long"),
        (math.inf, "long"),
        (1, "boolean"),
        (5, "string"),
        ("\ud800", "string"),
        ("2020-1-1", "date"),
        ("2020-02-30", "date"),
        ("20200101", "date"),
        (17, "date"),
        ("1970-01-01T00:00:00", "timestamp"),
        ("1970-01-01", "timestamp"),
        ("1970-01-01T00:00:00+01:00", "timestamp_ntz"),
        ("1970-01-01T25:00:00Z", "timestamp"),
        ("x", "decimal(5,2)"),
        ({"a": 1}, "long"),
        (b"x", "binary"),
        ("x", "variant"),
    ],
)
def test_what_has_no_key_is_open(value: Any, type: str) -> None:
    assert key_of(value, type, upper=False) == NEG_INF
    assert key_of(value, type, upper=True) == POS_INF
    assert bounds_for("=", value, type) == KeyBound()


@pytest.mark.parametrize(
    ("op", "value", "type", "bound"),
    [
        ("=", 5, "long", KeyBound(5, 5)),
        ("<", 5, "long", KeyBound(lo_max=4)),
        ("<=", 5, "long", KeyBound(lo_max=5)),
        (">", 5, "long", KeyBound(hi_min=6)),
        (">=", 5, "long", KeyBound(hi_min=5)),
        ("in", [9, 5, 7], "long", KeyBound(9, 5)),
        ("in", [9, None], "long", KeyBound()),
        ("in", [], "long", KeyBound()),
        ("<", 5.5, "long", KeyBound(lo_max=5)),
        (">", 5.5, "long", KeyBound(hi_min=6)),
        ("=", 5.0, "long", KeyBound(5, 5)),
        ("=", float(2**60), "long", KeyBound(2**60 + 256, 2**60 - 256)),
        ("=", 1.1, "decimal(5,2)", KeyBound(110, 110)),
        ("<", Decimal("1.105"), "decimal(5,2)", KeyBound(lo_max=110)),
        ("=", dt.datetime(1970, 1, 2, 12), "date", KeyBound(1, 2)),
        ("<=", dt.date(2024, 1, 2), "timestamp", KeyBound(lo_max=1_704_153_600_000_000)),
        ("<", "b", "string", KeyBound(lo_max=(0x62 << 56) - 2**63 - 1)),
        ("<", "b\0", "string", KeyBound(lo_max=(0x62 << 56) - 2**63)),
        (">", "b", "string", KeyBound(hi_min=(0x62 << 56) - 2**63)),
        ("<", math.inf, "long", KeyBound()),
        ("<>", 5, "long", KeyBound()),
        ("is null", None, "long", KeyBound()),
    ],
)
def test_bounds(op: str, value: Any, type: str, bound: KeyBound) -> None:
    assert bounds_for(op, value, type) == bound


def test_no_comparison_finds_a_file_of_nulls() -> None:
    stats = pa.array(['{"numRecords":3,"minValues":{},"maxValues":{},"nullCount":{"a":3}}'])
    keys = keys_from_stats(stats, [SkippingColumn(("a",), "long")])
    lo, hi = keys.lo[0][0].as_py(), keys.hi[0][0].as_py()
    assert (lo, hi) == (POS_INF, NEG_INF)
    for op in COMPARISONS:
        assert not bounds_for(op, 0, "long").admits(lo, hi)


PRIMITIVES = [
    "golden-data-skipping-basic-stats-all-types-checkpoint",
    "dat-all_primitive_types",
    "golden-parquet-all-types-legacy-format",
    "rs-http_requests",
    "kernel-mixed-nulls",
    "kernel-parsed-stats",
]


@pytest.mark.parametrize("name", PRIMITIVES)
def test_keys_enclose_the_data_of_real_files(name: str) -> None:
    facts = samples.expected(name)["versions"][str(samples.versions(name)[-1])]
    leaves = iter_leaves(parse_schema(json.dumps(facts["schema"])), mapped=False)
    types = [(leaf.path, getattr(leaf.type, "name", "")) for leaf in leaves]
    columns = [SkippingColumn(path, type) for path, type in types if is_orderable(type)]
    stats = pa.array([d["stats"] for d in facts["file_details"]], pa.string())
    keys = keys_from_stats(stats, columns)
    seen = 0
    for row, file in enumerate(facts["files"]):
        data = pq.ParquetFile(samples.path(name) / file["path"]).read()
        assert keys.num_records[row].as_py() in (None, data.num_rows)
        for index, column in enumerate(columns):
            if len(column.path) > 1 or column.path[0] not in data.column_names:
                continue
            lo, hi = keys.lo[index][row].as_py(), keys.hi[index][row].as_py()
            for value in pc.unique(pc.drop_null(data[column.path[0]])).to_pylist():
                for op in ("=", "<=", ">="):
                    assert bounds_for(op, value, column.type).admits(lo, hi), (column, value)
                seen += lo > NEG_INF and hi < POS_INF
    assert seen > 0
