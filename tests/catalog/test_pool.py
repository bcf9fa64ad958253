"""Behind a pool that lends each transaction, or each client, one of its connections."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg2
import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.catalog.dialects.writer import Statement
from deltalakedb.catalog.dialects.writers import _idle, writing
from deltalakedb.importing.run import import_table
from tests.conftest import pgbouncer
from tests.log.made_logs import write_commit
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import PostgresServer
from tests.table.opening import add, first_actions, open_table

SCHEMA = pa.schema([("x", pa.int64())])
_SESSION = (
    "SELECT name, setting FROM pg_settings WHERE name IN ('default_transaction_read_only', "
    "'default_transaction_isolation', 'search_path', 'lock_timeout', "
    "'idle_in_transaction_session_timeout')"
)


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_imports_and_reads_leave_nothing_on_a_pools_connections(
    tmp_path: Path, postgres_server: PostgresServer, mode: str
) -> None:
    installation = pgbouncer()
    name = postgres_server.create_database()
    log = tmp_path / "sales" / "_delta_log"
    log.mkdir(parents=True)
    write_commit(log, 0, [*first_actions(), add("a")])
    with closing(PgBouncer(installation, postgres_server, mode)) as pool:
        url = pool.url(name)
        assert import_table(str(tmp_path / "sales"), database=url).status == "imported"
        table = open_table(url)
        assert table.snapshot().plan("id >= 0").num_rows == 1
        write_commit(log, 1, [add("b")])
        assert import_table(str(tmp_path / "sales"), database=url).status == "caught_up"
        assert import_table(str(tmp_path / "sales"), database=url, rebuild=True).live_files == 2
        assert open_table(url).snapshot().num_files == 2
        expected = dict(postgres_server.sql(_SESSION, database=name))
        clients = [psycopg2.connect(url) for _ in range(2)]
        for client in clients:
            with client.cursor() as cursor:
                # In transactions at the same time, so on different connections of the pool.
                cursor.execute(_SESSION)
                assert dict(cursor.fetchall()) == expected
        for client in clients:
            client.close()
        locks = (
            "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
            f"WHERE l.locktype = 'advisory' AND d.datname = '{name}'"
        )
        assert postgres_server.sql(locks) == [(0,)]
    postgres_server.drop_database(name)


@pytest.mark.parametrize("direct", [True, False])
def test_usual_statements_are_prepared_where_the_session_stays(
    tmp_path: Path, postgres_server: PostgresServer, direct: bool
) -> None:
    name = postgres_server.create_database()
    with closing(PgBouncer(pgbouncer(), postgres_server, "transaction")) as pool:
        url = postgres_server.url(name) if direct else pool.url(name)
        tables = [
            dl.create_table(f"deltasql://{url}?table={each}", SCHEMA, location=str(tmp_path / each))
            for each in ("a", "b")
        ]
        with ThreadPoolExecutor(2) as threads:
            # At the same time, so that the pool has them on changing sessions.
            done = [threads.submit(append, table) for table in tables for _ in range(6)]
            assert sorted(each.result() for each in done) == sorted([*range(1, 7)] * 2)
        assert [table.snapshot().num_files for table in tables] == [6, 6]
        # Some have appended, and one may have tended the logs alone.
        texts: list[str] = []
        with ExitStack() as all_at_once:
            for _ in range(len(_idle._kept[tables[0]._catalog.reader.url])):
                writer = all_at_once.enter_context(writing(tables[0]._catalog.reader.url))
                found = writer.select(Statement("SELECT statement FROM pg_prepared_statements"))
                texts += [text for (text,) in found]
        assert any("INTO dl_outbox" in text for text in texts) is direct
        assert bool(texts) is direct
        for table in tables:
            table.close()
    postgres_server.drop_database(name)


def append(table: dl.Table) -> int:
    return table.append(pa.table({"x": [1]})).version


def test_a_statement_that_is_gone_is_sent_as_it_is(tmp_path: Path, pg_database: str) -> None:
    """A pool that gives the process id of a session, and then another session."""
    uri = f"deltasql://{pg_database}?table=t"
    with closing(dl.create_table(uri, SCHEMA, location=str(tmp_path / "t"))) as table:
        versions = []
        for _ in range(8):
            versions.append(append(table))
            for writer in list(_idle._kept[table._catalog.reader.url]):
                writer._connection.cursor().execute("DEALLOCATE ALL")
        assert versions == [*range(1, 9)]
