"""Behind a pool that lends each transaction, or each client, one of its connections."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from deltalakedb.importing.run import import_table
from tests.conftest import pgbouncer
from tests.log.made_logs import write_commit
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import PostgresServer
from tests.table.opening import add, first_actions, open_table

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
        locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        assert postgres_server.sql(locks) == [(0,)]
    postgres_server.drop_database(name)
