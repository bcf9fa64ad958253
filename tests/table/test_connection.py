"""SqlConnection, and what a SqlConfig's pool does wherever one is taken."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pyarrow as pa
import pytest
from sqlalchemy.pool import QueuePool

import deltalakedb as dl
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from tests.table.opening import GrowingTable, add, first_actions


def test_statements(any_catalog_url: str) -> None:
    with dl.SqlConnection(dl.SqlConfig(any_catalog_url)) as connection:
        assert connection.execute("SELECT 1") == [(1,)]
        assert connection.execute("CREATE TABLE t (a INTEGER, b VARCHAR(9))") == []
        connection.execute("INSERT INTO t VALUES (:a, :b)", {"a": 7, "b": "50%"})
        assert connection.execute("SELECT a, b FROM t WHERE b LIKE '5%'") == [(7, "50%")]
        assert connection.execute("SELECT b FROM t WHERE a = :a", {"a": 7}) == [("50%",)]
        with pytest.raises(DeltaLakeError) as caught:
            connection.execute("SELECT nothing FROM t")
        assert caught.value.kind is DeltaLakeErrorKind.DATABASE_ERROR


def test_the_pool_is_as_configured(pg_database: str) -> None:
    config = dl.SqlConfig(
        pg_database, pool_size=1, max_overflow=0, pool_timeout=0.2, pool_recycle=77
    )
    with dl.SqlConnection(config) as connection, connection.engine.connect():
        pool = connection.engine.pool
        assert isinstance(pool, QueuePool)
        assert (pool.size(), pool._recycle) == (1, 77)
        before = time.monotonic()
        with pytest.raises(DeltaLakeError):
            connection.execute("SELECT 1")
        assert 0.1 < time.monotonic() - before < 25, "the pool's own default is 30 s"


def test_imports_and_diffs_take_a_configuration(
    tmp_path: Path, catalog_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    table = GrowingTable(tmp_path, catalog_url)
    table.commit(*first_actions(), add("a"))
    config = dl.SqlConfig(catalog_url, pool_size=2, max_overflow=3, echo=True)
    with caplog.at_level(logging.INFO, "sqlalchemy.engine"):
        result = dl.import_table(str(table.folder), database=config)
    assert "INSERT INTO dl_tables" in caplog.text
    assert dl.diff_table(result.table_id, database=config).exit_code == 0
    with Catalog(config) as catalog:
        assert isinstance(catalog.engine.pool, QueuePool)
        assert catalog.engine.pool.size() == 2


def test_a_database_in_memory() -> None:
    connection = dl.SqlConnection(dl.SqlConfig(":memory:", pool_size=3))
    assert connection.execute("SELECT 1") == [(1,)]
    connection.close()


def test_a_wrong_password_is_told_but_not_shown(pg_database: str) -> None:
    wrong = pg_database.replace("postgresql+psycopg2://", "").partition("@")[2]
    config = dl.SqlConfig(f"postgresql://nobody:h1dden/@{wrong}")
    connection = dl.SqlConnection(config)
    with pytest.raises(DeltaLakeError) as caught:
        connection.execute("SELECT 1")
    shown = f"{connection!r} {config!r} {caught.value} {caught.value.facts}"
    assert "h1dden" not in shown
    assert "***" in repr(connection)


def test_a_with_closes_the_connection(tmp_path: Path) -> None:
    uri = f"deltasql://sqlite:///{tmp_path / 'catalog.sqlite'}?table=t"
    schema = pa.schema([("x", pa.int64())])
    with dl.create_table(uri, schema, location=str(tmp_path / "t")) as table:
        table.append(pa.table({"x": [1]}))
    with dl.connect_to_table(uri) as table, dl.DeltaTable(uri) as other:
        readers = [table.catalog.reader, other.table.catalog.reader]
        snapshot = table.snapshot()
        assert (table.version, other.version()) == (1, 1)
        assert all(reader._connection is not None for reader in readers)
    assert all(reader._connection is None for reader in readers)
    # What is asked of a closed one opens it again.
    assert snapshot.to_pyarrow_table().to_pydict() == {"x": [1]}
    assert table.refresh().version == 1
    with pytest.raises(DeltaLakeError), table:
        table.snapshot(7)
    assert readers[0]._connection is None
