"""How databases are reached: hosts, options and passwords of a URL, over every driver."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pyarrow as pa
import pytest

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.dialects import dialect_of
from deltalakedb.catalog.dialects.readers import reader_of
from deltalakedb.catalog.dialects.writer import Statement
from deltalakedb.catalog.dialects.writers import close_writers, writer_of, writing
from deltalakedb.config import SqlConfig
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing.run import import_table
from deltalakedb.secret import Secret
from deltalakedb.table.connect import connect_to_table
from deltalakedb.table.table import Table
from deltalakedb.uri import parse_database
from tests.log.made_logs import write_commit
from tests.servers.postgres import PASSWORD, USER, PostgresServer
from tests.servers.process import free_port
from tests.table.opening import add, first_actions, table_uri


def small_table(folder: Path, database: str, **options: object) -> Path:
    """A table of one file, imported as `sales`."""
    log = folder / "sales" / "_delta_log"
    log.mkdir(parents=True, exist_ok=True)
    write_commit(log, 0, [*first_actions(), add("a")])
    import_table(str(folder / "sales"), database=database, **options)  # type: ignore[arg-type]
    return folder / "sales"


def test_hosts_and_options_reach_every_driver_of_postgresql(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """The first host is dead; libpq goes to the second, whoever asks it."""
    name = postgres_server.create_database()
    hosts = f"127.0.0.1:{free_port()},127.0.0.1:{postgres_server.port}"
    url = (
        f"postgresql://{USER}:{PASSWORD}@{hosts}/{name}"
        "?application_name=night%20run&target_session_attrs=read-write&connect_timeout=5"
    )
    small_table(tmp_path, url)
    parsed = parse_database(url)
    question = "SELECT current_setting('application_name')"
    reader = reader_of(parsed)
    assert reader.rows(question) == [("night run",)]
    reader.close()
    with Catalog(url) as catalog, catalog.read() as connection:
        assert connection.exec_driver_sql(question).scalar() == "night run"
    schema = pa.schema([("name", pa.string())])
    [batch] = dialect_of(parsed).stream(question, schema)
    assert batch.to_pylist() == [{"name": "night run"}]
    assert connect_to_table(table_uri(url)).snapshot().num_files == 1
    postgres_server.drop_database(name)


def test_options_reach_the_driver_of_mysql_as_it_wants_them(mariadb_database: str) -> None:
    dialect = dialect_of(parse_database(mariadb_database + "?connect_timeout=7&program_name=a%20b"))
    connection = dialect.connect()  # type: ignore[attr-defined]
    assert connection.connect_timeout == 7
    assert connection._connect_attrs["program_name"] == "a b"
    connection.close()
    for wrong in ("ssl_disabled=perhaps", "read_timeout=soon"):
        with pytest.raises(DeltaLakeError, match=wrong.partition("=")[0]) as caught:
            reader_of(parse_database(f"{mariadb_database}?{wrong}")).rows("SELECT 1")
        assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT


def test_sqlite_waits_as_long_as_the_url_says(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/catalog.sqlite?timeout=0.25"
    small_table(tmp_path, url)
    with Catalog(url) as catalog, catalog.read() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 250
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        with pytest.raises(DeltaLakeError, match=r"waited 0\.25 s") as caught:
            reader_of(parse_database(url)).rows("SELECT 1 FROM dl_tables")
        assert caught.value.kind is DeltaLakeErrorKind.DATABASE_LOCKED
        assert time.monotonic() - began >= 0.25


@pytest.fixture
def role(postgres_server: PostgresServer) -> Iterator[str]:
    name = f"role_{secrets.token_hex(4)}"
    postgres_server.sql(f"CREATE ROLE {name} LOGIN SUPERUSER PASSWORD 'first'")
    yield name
    postgres_server.sql(f"DROP ROLE {name}")


def test_a_password_that_is_changed_under_an_open_table(
    postgres_server: PostgresServer, role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = postgres_server.create_database()
    small_table(tmp_path, postgres_server.url(name))
    host = f"127.0.0.1:{postgres_server.port}/{name}"
    urls = {word: f"postgresql://{role}:{word}@{host}" for word in ("first", "second")}
    monkeypatch.setenv("SALES_DATABASE", urls["first"])
    current = dict(urls)

    def opened(database: str | SqlConfig) -> Table:
        if isinstance(database, str):
            return connect_to_table(table_uri(database), cache=False)
        return connect_to_table("deltasql://sqlite:////x?table=sales", database, cache=False)

    by_text = opened(urls["first"])
    by_name = opened(SqlConfig(Secret.from_environment("SALES_DATABASE")))
    by_call = opened(SqlConfig(lambda: current["first"]))
    for table in (by_text, by_name, by_call):
        assert table.snapshot().num_files == 1
    postgres_server.sql(f"ALTER ROLE {role} PASSWORD 'second'")
    monkeypatch.setenv("SALES_DATABASE", urls["second"])
    current["first"] = urls["second"]
    for table in (by_text, by_name, by_call):
        end_session_of(postgres_server, table)
    assert by_name.snapshot().num_files == by_call.snapshot().num_files == 1
    for _ in range(2):
        with pytest.raises(DeltaLakeError, match="open the table again") as caught:
            by_text.snapshot()
        assert caught.value.kind is DeltaLakeErrorKind.AUTHENTICATION_ERROR
    assert opened(urls["second"]).snapshot().num_files == 1
    postgres_server.sql(f"ALTER ROLE {role} PASSWORD 'first'")
    assert by_text.snapshot().num_files == 1
    postgres_server.drop_database(name)


def end_session_of(server: PostgresServer, table: Table) -> None:
    """Have the server end the table's connection, whose password may be no good any more."""
    [(pid,)] = table._catalog.reader.rows("SELECT pg_backend_pid()")
    server.sql(f"SELECT pg_terminate_backend({pid}, 5000)")


def test_a_value_that_is_too_long_is_not_tried_again(pg_database: str) -> None:
    dialect = dialect_of(parse_database(pg_database))
    with (
        closing(psycopg2.connect(pg_database)) as connection,
        pytest.raises(DeltaLakeError, match="shorten the value") as caught,
        dialect.errors(),
    ):
        connection.cursor().execute(
            "CREATE TEMP TABLE t (a varchar(2)); INSERT INTO t VALUES ('abc')"
        )
    assert not caught.value.retryable


@pytest.mark.parametrize("kind", ["pg_database", "mariadb_database"])
def test_sessions_that_the_server_has_ended_are_made_anew(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """After a restart, or a firewall's cut, each connection that was kept is a dead one."""
    url = parse_database(request.getfixturevalue(kind))
    postgres = url.dialect == "postgresql"
    own = "pg_backend_pid()" if postgres else "CONNECTION_ID()"
    end = "SELECT pg_terminate_backend(?)" if postgres else "KILL ?"
    there = (
        "SELECT pid FROM pg_stat_activity WHERE pid IN (?, ?)"
        if postgres
        else "SELECT id FROM information_schema.processlist WHERE id IN (?, ?)"
    )
    with writing(url) as first, writing(url) as second:
        ids = tuple(each.select(Statement(f"SELECT {own}"))[0][0] for each in (first, second))
    assert len(set(ids)) == 2
    other = writer_of(url)
    for each in ids:
        other.select(Statement(end, (each,)))
    deadline = time.monotonic() + 60
    while other.select(Statement(there, ids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    with writing(url) as first, writing(url) as second:
        for writer in (first, second):
            assert writer.begin(Statement("SELECT 1"), Statement("SELECT 2"), 5.0) == [(2,)]
            writer.rollback()
    other.close()
    close_writers(url)


def test_a_message_too_long_for_the_server_says_so(mariadb_database: str) -> None:
    """The server would hang up, and what is tried again would be as long."""
    url = parse_database(mariadb_database)
    writer = writer_of(url)
    [(most,)] = writer.select(Statement("SELECT @@max_allowed_packet"))
    with pytest.raises(DeltaLakeError, match="raise max_allowed_packet"):
        writer.commit([Statement("SELECT LENGTH(?)", ("x" * 3 * most,))])
    assert writer.select(Statement("SELECT 1")) == [(1,)]
    writer.close()
