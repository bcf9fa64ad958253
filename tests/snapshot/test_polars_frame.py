"""Polars' own reader against our reading: the same rows and types, whatever the files are like."""

from __future__ import annotations

import datetime
import math
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from deltalakedb.scan import polars_frame
from deltalakedb.scan.polars_frame import to_polars
from deltalakedb.scan.scan import ScanSpec
from tests.snapshot.scan_support import (
    column,
    file_row,
    made_scan,
    sample_scan,
    sample_versions,
    struct_of,
    write_deletion_vector,
    write_parquet,
)

Ways = Callable[[ScanSpec], tuple[pl.LazyFrame, pl.LazyFrame]]


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Collects a query over Polars' reader and over ours; gives the files that were Polars'."""

    def compare(
        spec: ScanSpec, query: Callable[[pl.LazyFrame], pl.LazyFrame] = lambda frame: frame
    ) -> int:
        read = []
        reader = polars_frame._OwnReader.read

        def noted(self: Any, piece: ScanSpec, *rest: Any) -> pl.DataFrame | None:
            found = reader(self, piece, *rest)
            read.append(0 if found is None else piece.files.num_rows)
            return found

        with monkeypatch.context() as patched:
            patched.setattr(polars_frame._OwnReader, "read", noted)
            theirs = query(to_polars(spec)).collect()
        with monkeypatch.context() as patched:
            patched.setattr(polars_frame, "_may_read", lambda *_: False)
            ours = query(to_polars(spec)).collect()
        assert theirs.schema == ours.schema
        assert rows_of(theirs) == rows_of(ours)
        return sum(read)

    return compare


def rows_of(frame: pl.DataFrame) -> list[str]:
    """The rows as texts, which tell -0.0 from 0.0 and hold NaN equal to itself."""
    return sorted(map(repr, frame.to_arrow().to_pylist(maps_as_pydicts=None)))


@pytest.mark.parametrize(("name", "version"), sample_versions("readable", newest_only=True))
def test_samples(both: Callable[..., int], name: str, version: int) -> None:
    both(sample_scan(name, version))


PARTS = ["a b", "%20", "ü/x", "", None, "a'b\"", "[1]*?", "line\nbreak"]


def plain_table(folder: Path, zero: str = "7.5") -> ScanSpec:
    """Values at the edges, in files with names at the edges, in partitions likewise."""
    rows = []
    names = ["a%20b.parquet", "a b.parquet", "_hidden.parquet", ".dot.parquet", "#[x]*?.parquet"]
    names += ["ü.parquet", "p=1/k=2.parquet", "x.snappy"]
    for number, (name, part) in enumerate(zip(names, PARTS, strict=True)):
        low = number * 10
        stored = pa.table(
            {
                "i": pa.array([low, None, low + 5, -low], pa.int64()),
                "f": pa.array(
                    [[0.0, -0.0, math.nan, math.inf], [1.5, None, -math.inf, math.nan]][number % 2],
                    pa.float64(),
                ),
                "s": pa.array(["", "z" * 100, None, f"é{number}"], pa.string()),
                "b": pa.array([b"", b"\xff" * 80, None, bytes([number])], pa.binary()),
                "d": pa.array([Decimal("-0.05"), None, Decimal(number), Decimal("99999.99")]).cast(
                    pa.decimal128(7, 2)
                ),
                "t": pa.array(
                    [
                        datetime.datetime(1, 1, 1),
                        datetime.datetime(1969, 12, 31, 23, 59, 59, 999_999),
                        None,
                        datetime.datetime(9999, 12, 31, 23, 59, 59, 999_999),
                    ],
                    pa.timestamp("us", "UTC"),
                ),
                "y": pa.array([datetime.date(1, 1, 1), None, datetime.date(9999, 1, 1), None]),
                "o": pa.array([True, False, None, number % 2 == 0]),
                "p": pa.array(["not the partition's"] * 4),
                "extra": pa.array([1, 2, 3, 4]),
                "n": pa.array([{"x": 1, "l": [1, None]}, None, {"x": None, "l": []}, {}]).cast(
                    pa.struct([("x", pa.int64()), ("l", pa.list_(pa.int64()))])
                ),
            }
        )
        write_parquet(folder / name, stored, row_group_size=2, version="2.6")
        quoted = (
            name.replace("%", "%25").replace("#", "%23").replace("?", "%3F").replace(" ", "%20")
        )
        day = None if number == 3 else f"2024-01-0{number + 1}"
        rows.append(
            file_row(quoted, {"p": part, "q": day, "g": ["NaN", zero, "0.0", None][number % 4]})
        )
    nested = struct_of(
        column("x", "long"),
        column("l", {"type": "array", "elementType": "long", "containsNull": True}),
    )
    fields = [
        column("i", "long"),
        column("p", "string"),
        column("f", "double"),
        column("s", "string"),
        column("b", "binary"),
        column("d", "decimal(7,2)"),
        column("t", "timestamp"),
        column("y", "date"),
        column("q", "date"),
        column("o", "boolean"),
        column("g", "double"),
        column("n", nested),
    ]
    return made_scan(folder, fields, rows, partition_columns=["p", "q", "g"])


def random_condition(random: random.Random, depth: int = 2) -> pl.Expr:
    if depth and random.random() < 0.5:
        left, right = (random_condition(random, depth - 1) for _ in range(2))
        return random.choice([left & right, left | right, ~left])
    values: dict[str, list[Any]] = {
        "i": [0, 5, 25, -30, 10**18],
        "f": [0.0, -0.0, 1.5, math.inf, -math.inf, math.nan],
        "g": [0.0, -0.0, 1.5, math.nan],
        "s": ["", "é2", "z", "zz"],
        "b": [b"", b"\x03", b"\xff"],
        "p": ["", "a b", "%20", "zzz"],
        "d": [Decimal("-0.05"), Decimal("3.00")],
        "q": [datetime.date(2024, 1, 2), datetime.date(2030, 1, 1)],
        "y": [datetime.date(1, 1, 1), datetime.date(9999, 1, 1)],
        "t": [
            datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC),
            datetime.datetime(9999, 12, 31, tzinfo=datetime.UTC),
        ],
    }
    name = random.choice(list(values))
    column, value = pl.col(name), random.choice(values[name])
    simple = [
        column == value,
        column != value,
        column < value,
        column >= value,
        column.is_null(),
        column.is_not_null(),
        column.is_in([value, None]),
        column.ne_missing(value),
    ]
    return random.choice(simple)


def test_edges_and_random_conditions(both: Callable[..., int], tmp_path: Path) -> None:
    spec = plain_table(tmp_path)
    assert both(spec) == spec.files.num_rows
    chosen = random.Random(7)
    own = 0
    for _ in range(40):
        condition = random_condition(chosen)
        columns = chosen.sample(spec.schema.arrow.names, 3)
        own += both(spec, lambda f, c=condition, n=columns: f.filter(c).select(n))  # type: ignore[misc]
    assert own > 100
    negative = plain_table(tmp_path, zero="-0.0")
    both(negative)
    both(negative, lambda frame: frame.filter(pl.col("y").is_null()).select("i", "g", "s"))


def test_sums_that_overflow_lose_no_file(both: Callable[..., int], tmp_path: Path) -> None:
    """Polars by itself takes 2^31 - 1 + 1 for the greatest sum of the file, and leaves it out."""
    write_parquet(tmp_path / "a.parquet", pa.table({"n": pa.array([5, 6, 2**31 - 1], pa.int32())}))
    spec = made_scan(tmp_path, [column("n", "integer")], [file_row("a.parquet")])
    assert both(spec, lambda frame: frame.filter(pl.col("n") + 1 > 3)) == 1
    found = to_polars(spec).filter(pl.col("n") + 1 > 3).collect()
    assert found["n"].to_list() == [5, 6]


def test_files_that_need_more_are_read_by_us(both: Callable[..., int], tmp_path: Path) -> None:
    """A vector, other types, missing columns, other spellings: one such file, among plain ones."""
    plain = pa.table({"a": [1, 2, 3], "b": ["x", None, "z"]})
    names = [f"{number}.parquet" for number in range(4)]
    others = {
        "narrow": plain.set_column(0, "a", plain["a"].cast(pa.int32())),
        "missing": plain.select(["a"]),
        "spelled otherwise": plain.rename_columns(["A", "b"]),
        "dictionary": plain.set_column(1, "b", plain["b"].dictionary_encode()),
        "all null": plain.set_column(1, "b", pa.nulls(3)),
        "order": plain.select(["b", "a"]),
        "vector": plain,
    }
    fields = [column("a", "long"), column("b", "string")]
    for number, (what, other) in enumerate(others.items()):
        folder = tmp_path / what
        for name in names:
            write_parquet(folder / name, plain)
        write_parquet(folder / names[number % 4], other)
        vectors = {}
        if what == "vector":
            vectors[names[number % 4]] = write_deletion_vector(folder / "v.bin", [1])
        spec = made_scan(folder, fields, [file_row(name, dv=vectors.get(name)) for name in names])
        own = both(spec, lambda frame: frame.filter(pl.col("a") != 3))
        assert own == {"order": 4, "all null": 4, "vector": 3}.get(what, 0), what


def test_columns_mapped_by_name(both: Callable[..., int], tmp_path: Path) -> None:
    write_parquet(tmp_path / "1", pa.table({"c-1": [1, 2], "c-2": ["x", "y"]}))
    fields = [
        column("c-2", "long", id=1, physical="c-1"),
        column("b", "string", id=2, physical="c-2"),
    ]
    spec = made_scan(tmp_path, fields, [file_row("1")], mode="name")
    assert both(spec, lambda frame: frame.filter(pl.col("c-2") > 1).select("b", "c-2")) == 1
