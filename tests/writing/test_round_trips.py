"""What a writer has with its server: how often it waits, and answers that don't come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import deltalake
import pyarrow as pa
import pytest

import deltalakedb as dl
from tests.servers.postgres import PostgresServer
from tests.writing.proxy import CountingProxy


@pytest.fixture
def proxy(postgres_server: PostgresServer) -> Iterator[CountingProxy]:
    found = CountingProxy(postgres_server.port)
    yield found
    found.close()


@pytest.fixture
def table(proxy: CountingProxy, pg_database: str, tmp_path: Path) -> Iterator[dl.Table]:
    """An empty table whose catalog is behind the proxy."""
    server, _, name = pg_database.rpartition("/")
    uri = f"deltasql://{server.rpartition(':')[0]}:{proxy.port}/{name}?table=t"
    schema = pa.schema([("x", pa.int64())])
    found = dl.create_table(uri, schema, location=str(tmp_path / "t"))
    yield found
    found.close()


def test_two_round_trips_between_lock_and_commit(proxy: CountingProxy, table: dl.Table) -> None:
    for number in range(3):
        table.append(pa.table({"x": [number]}))
    before = len(proxy.trips)
    assert table.append(pa.table({"x": [3]})).version == 4
    assert 1 <= proxy.trips_in_lock(before) <= 2, [sent[:200] for sent in proxy.trips[before:]]


@pytest.mark.parametrize("reached", [True, False])
def test_a_connection_that_breaks_in_commit(
    proxy: CountingProxy, table: dl.Table, tmp_path: Path, reached: bool
) -> None:
    table.append(pa.table({"x": [0]}))
    proxy.reached, proxy.cut = reached, b"INSERT INTO dl_commits"
    assert table.append(pa.table({"x": [1]})).version == 2
    assert proxy.cut is None
    seen = deltalake.DeltaTable(str(tmp_path / "t")).to_pyarrow_table()["x"].to_pylist()
    assert sorted(seen) == [0, 1]
    assert len(list((tmp_path / "t").glob("*.parquet"))) == 2
    assert sorted(table.to_pyarrow_table()["x"].to_pylist()) == [0, 1]
