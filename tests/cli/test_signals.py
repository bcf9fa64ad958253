"""Ctrl-C and SIGTERM end a command soon, wherever it waits; and it needs no standard streams."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest

from deltalakedb.catalog.dialects.mysql.connection import connect
from deltalakedb.uri import parse_database
from tests.cli.commands import DL, dl, dl_lines
from tests.cli.test_commands import write_table
from tests.cli.test_workers import started, told_at_the_end, wait_for
from tests.servers.mariadb import MariaDbServer
from tests.servers.postgres import PostgresServer

SECONDS = 2.0
BUSY_SECONDS = 90.0
"""What the machine's other work may add."""
CODES = {signal.SIGINT: (130, "Interrupted"), signal.SIGTERM: (143, "Terminated")}
both = pytest.mark.parametrize("number", list(CODES), ids=lambda n: n.name)


def assert_ends(running: subprocess.Popen[str], number: signal.Signals) -> None:
    """It ends in time, with the signal's code and one line."""
    began = time.monotonic()
    running.send_signal(number)
    out, err = running.communicate(timeout=240)
    assert time.monotonic() - began < SECONDS + BUSY_SECONDS
    code, line = CODES[number]
    assert (running.returncode, out, told_at_the_end(err)) == (code, "", [line])


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A port that takes connections and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(5)
        yield listening


@both
@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_while_it_connects(number: signal.Signals, scheme: str, silent: socket.socket) -> None:
    url = f"{scheme}://nobody:x@127.0.0.1:{silent.getsockname()[1]}/x"
    with started("tables", "--database", url) as running:
        connection, _ = silent.accept()
        with connection:
            assert_ends(running, number)


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_connecting_is_given_up(scheme: str, silent: socket.socket) -> None:
    url = f"{scheme}://nobody:x@127.0.0.1:{silent.getsockname()[1]}/x?connect_timeout=2"
    result = dl("tables", "--database", url, code=1)
    assert "check host and port" in result.stderr


@both
def test_while_postgresql_holds_a_lock(
    number: signal.Signals, pg_database: str, tmp_path: Path
) -> None:
    """The server, too, doesn't go on waiting for nobody."""
    write_table(tmp_path / "orders", commits=2, adds=2)
    command = ("import", "--database", pg_database, "--log-dir", tmp_path / "orders")
    dl(*command)
    with contextlib.closing(psycopg2.connect(pg_database)) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE dl_tables IN ACCESS EXCLUSIVE MODE")

        def waiting() -> int:
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = "
                "(SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            return int(cursor.fetchone()[0])

        with started(*command) as running:
            wait_for(waiting)
            assert_ends(running, number)
        wait_for(lambda: not waiting())


@both
def test_while_postgresql_stands_still(
    number: signal.Signals, private_postgres: Callable[..., PostgresServer]
) -> None:
    server = private_postgres()
    url = server.url(server.create_database())
    with contextlib.closing(psycopg2.connect(url)) as other, other.cursor() as cursor:
        cursor.execute("CREATE TABLE dl_schema_version (version_num text)")
        other.commit()
        cursor.execute("LOCK TABLE dl_schema_version IN ACCESS EXCLUSIVE MODE")
        with started("tables", "--database", url) as running:
            wait_for(lambda: server.sql("SELECT 1 FROM pg_locks WHERE NOT granted"))
            # The server stops first and goes on last: until then whatever of its processes ends
            # by itself stays a zombie, which takes signals.
            processes = [psutil.Process(server.pid)]
            processes[0].suspend()
            processes += processes[0].children()
            for process in processes[1:]:
                process.suspend()
            try:
                assert_ends(running, number)
            finally:
                for process in reversed(processes):
                    process.resume()


@both
def test_while_mysql_holds_a_lock(
    number: signal.Signals, mariadb_server: MariaDbServer, mariadb_database: str, tmp_path: Path
) -> None:
    write_table(tmp_path / "orders", commits=2, adds=2)
    command = ("import", "--database", mariadb_database, "--log-dir", tmp_path / "orders")
    dl(*command)
    with (
        contextlib.closing(connect(parse_database(mariadb_database))) as other,
        other.cursor() as cursor,
    ):
        cursor.execute("LOCK TABLES dl_tables WRITE")
        name = mariadb_database.rpartition("/")[2]
        waiting = "SELECT 1 FROM information_schema.processlist WHERE state LIKE '%lock%'"
        question = f"{waiting} AND db = '{name}'"
        with started(*command) as running:
            wait_for(lambda: mariadb_server.sql(question))
            assert_ends(running, number)


@both
def test_while_sqlite_holds_a_lock(number: signal.Signals, tmp_path: Path) -> None:
    database = tmp_path / "catalog.sqlite"
    patient = f"sqlite:///{database}?timeout=600"
    write_table(tmp_path / "orders", commits=2, adds=2)
    command = ("import", "--database", patient, "--log-dir", tmp_path / "orders", "--rebuild")
    dl(*command)
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with started(*command) as running:
            wait_for(lambda: is_waiting(psutil.Process(running.pid), database))
            assert_ends(running, number)
    assert [row["name"] for row in dl_lines("tables", "--database", database)] == ["orders"]


@pytest.mark.parametrize("way", ["read", "import", "write"])
def test_a_script_hears_of_ctrl_c_while_sqlite_is_locked(way: str, tmp_path: Path) -> None:
    """Python's own handler runs: SQLite doesn't wait in C for longer than a moment."""
    database = tmp_path / "catalog.sqlite"
    patient = f"sqlite:///{database}?timeout=600"
    write_table(tmp_path / "orders", commits=2, adds=2)
    dl("import", "--database", patient, "--log-dir", tmp_path / "orders")
    script = {
        "read": "deltalakedb.connect_to_table(sys.argv[1])",
        "import": "deltalakedb.import_table(log_dir=sys.argv[2], database=sys.argv[3])",
        "write": "deltalakedb.connect_to_table(sys.argv[1]).delete()",
    }[way]
    arguments = [f"deltasql://{patient}&table=orders", str(tmp_path / "orders"), patient]
    lock = "EXCLUSIVE" if way == "read" else "IMMEDIATE"
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as other:
        if way == "read":
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute(f"BEGIN {lock}")
        running = subprocess.Popen(
            [sys.executable, "-c", f"import sys, deltalakedb; {script}", *arguments],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            wait_for(lambda: is_waiting(psutil.Process(running.pid), database))
            running.send_signal(signal.SIGINT)
            _, err = running.communicate(timeout=240)
        finally:
            running.kill()
            running.communicate()
    assert err.splitlines()[-1] == "KeyboardInterrupt"


def is_waiting(process: psutil.Process, database: Path) -> bool:
    """Whether it has a database open, and has done next to nothing for a moment."""
    before = process.cpu_times()
    time.sleep(0.5)
    spent = sum(process.cpu_times()[:2]) - sum(before[:2])
    opened = {file.path for file in process.open_files()}
    return process.status() == psutil.STATUS_SLEEPING and spent < 0.02 and str(database) in opened


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(closed: str, tmp_path: Path) -> None:
    """None of what is opened next gets their numbers."""
    database, report = tmp_path / "catalog.sqlite", tmp_path / "import.json"
    write_table(tmp_path / "orders", commits=2, adds=2)
    command = f'exec "$0" "$@" {closed}'
    where = ("--database", database, "--log-dir", tmp_path / "orders")
    arguments = ("import", *where, "--json-output", report, "--workers", 1)
    done = subprocess.run(["sh", "-c", command, DL, *map(str, arguments)], timeout=240)
    assert done.returncode == 0
    assert json.loads(report.read_bytes())["live_files"] == 4
    missing = ["show", "nothing", "--database", str(database)]
    assert subprocess.run(["sh", "-c", command, DL, *missing], timeout=240).returncode == 1
    with contextlib.closing(sqlite3.connect(database)) as opened:
        assert opened.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
