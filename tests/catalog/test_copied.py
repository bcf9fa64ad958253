"""Rows out of PostgreSQL as Arrow: what COPY sends, in pieces, to its end or not."""

from __future__ import annotations

import threading

import pyarrow as pa
import pytest

from deltalakedb.catalog.dialects import dialect_of
from deltalakedb.catalog.dialects.base import Dialect
from deltalakedb.catalog.dialects.postgresql import copied
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.uri import parse_database

ONE = pa.schema([("n", pa.int64())])
SCHEMA = pa.schema(
    [("n", pa.int64()), ("few", pa.int32()), ("odd", pa.bool_()), ("text", pa.string())]
)
ROWS = """SELECT CASE WHEN n % 7 <> 0 THEN n - 5 END, n::smallint, CASE WHEN n % 5 <> 0 THEN
    n % 2 = 1 END, CASE WHEN n % 3 <> 0 THEN repeat('ü💧"\\', n % 4) END FROM generate_series"""


@pytest.fixture
def dialect(pg_database: str) -> Dialect:
    return dialect_of(parse_database(pg_database))


def expected(count: int) -> list[dict[str, object]]:
    return [
        {
            "n": n - 5 if n % 7 else None,
            "few": n,
            "odd": n % 2 == 1 if n % 5 else None,
            "text": 'ü💧"\\' * (n % 4) if n % 3 else None,
        }
        for n in range(1, count + 1)
    ]


@pytest.mark.parametrize("count", [0, 1, 64, 1_000])
def test_rows_come_as_they_are(dialect: Dialect, count: int) -> None:
    batches = list(dialect.stream(f"{ROWS}(1, {count}) n", SCHEMA, 64))
    for batch in batches:
        batch.validate(full=True)
        assert batch.schema == SCHEMA
    assert all(batch.num_rows <= 64 for batch in batches)
    assert [row for batch in batches for row in batch.to_pylist()] == expected(count)


def test_pieces_are_bounded_by_their_size(
    dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copied, "_PIECE_BYTES", 1)
    batches = list(dialect.stream(f"{ROWS}(1, 20) n", SCHEMA))
    assert [row for batch in batches for row in batch.to_pylist()] == expected(20)
    assert len(batches) >= 20


def test_whoever_stops_early_leaves_nothing_running(dialect: Dialect) -> None:
    others = set(threading.enumerate())
    batches = dialect.stream("SELECT generate_series(1, 100000000)", ONE, 9)
    assert next(batches).num_rows <= 9
    batches.close()  # type: ignore[attr-defined]
    ours = set(threading.enumerate()) - others
    assert not [t for t in ours if t.name == "dl-copy"]


def test_an_error_after_some_rows_is_told(dialect: Dialect) -> None:
    found: list[pa.RecordBatch] = []
    sql = "SELECT 1 / (5000 - n) FROM generate_series(1, 10000) n"
    with pytest.raises(DeltaLakeError, match="division by zero") as told, dialect.errors():
        found.extend(dialect.stream(sql, ONE, 100))
    assert len(found) < 50
    assert told.value.kind is DeltaLakeErrorKind.DATABASE_ERROR
