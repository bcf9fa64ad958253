"""Each server that tests rely on answers, keeps data over a restart, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg2
import pymysql
import pytest
import s3fs

from tests.servers.mariadb import MariaDbServer
from tests.servers.postgres import PostgresServer
from tests.servers.s3 import S3Bucket

if TYPE_CHECKING:
    from distributed import Client


def ask_postgres(url: str, statement: str) -> object:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0] if cursor.description else None
    finally:
        connection.close()


def ask_mariadb(url: str, statement: str) -> object:
    parts = urlsplit(url)
    connection = pymysql.connect(
        host=parts.hostname,
        port=parts.port or 0,
        user=parts.username,
        password=parts.password or "",
        database=parts.path.lstrip("/"),
        local_infile=True,
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            connection.commit()
            row = cursor.fetchone()
            return row[0] if row else None
    finally:
        connection.close()


def gone(pid: int, seconds: float = 120) -> bool:
    """Whether the process ends within that time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def test_each_postgres_answers(every_pg_database: str) -> None:
    assert str(ask_postgres(every_pg_database, "SELECT version()")).startswith("PostgreSQL 1")
    assert ask_postgres(every_pg_database, "SELECT count(*) FROM pg_stat_user_tables") == 0


def test_postgres_refuses_a_wrong_password(postgres_server: PostgresServer) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(postgres_server.url(password="wrong"))


def test_databases_come_from_a_template(postgres_server: PostgresServer) -> None:
    template = postgres_server.create_database()
    postgres_server.sql("CREATE TABLE kept AS SELECT 7 AS n", database=template)
    copy = postgres_server.create_database(template=template)
    assert postgres_server.sql("SELECT n FROM kept", database=copy) == [(7,)]
    for name in (copy, template):
        postgres_server.drop_database(name)


@pytest.mark.parametrize("immediate", [False, True])
def test_postgres_keeps_data_over_a_restart(
    private_postgres: Callable[..., PostgresServer], immediate: bool
) -> None:
    server = private_postgres(durable=True, settings={"work_mem": "5MB"})
    url = server.url(server.create_database())
    ask_postgres(url, "CREATE TABLE kept AS SELECT 7 AS n")
    connection = psycopg2.connect(url)
    before = server.pid

    server.restart(immediate=immediate)

    with pytest.raises(psycopg2.OperationalError):
        connection.cursor().execute("SELECT 1")
    assert server.pid != before
    assert ask_postgres(url, "SELECT n FROM kept") == 7
    assert ask_postgres(url, "SHOW fsync") == "on"
    assert ask_postgres(url, "SHOW work_mem") == "5MB"
    server.stop()
    with pytest.raises(psycopg2.OperationalError, match="refused"):
        psycopg2.connect(url)


def test_mysql_is_no_mariadb(mysql_database: str) -> None:
    version = str(ask_mariadb(mysql_database, "SELECT version()"))
    assert int(version.partition(".")[0]) in (8, 9)
    assert "MariaDB" not in version


def test_mariadb_answers_and_loads_local_files(mariadb_database: str, tmp_path: Path) -> None:
    assert "MariaDB" in str(ask_mariadb(mariadb_database, "SELECT version()"))
    lines = tmp_path / "lines.tsv"
    lines.write_text("1\tä\n2\t雪\n", encoding="utf-8")
    ask_mariadb(mariadb_database, "CREATE TABLE loaded (n bigint PRIMARY KEY, t text)")
    ask_mariadb(
        mariadb_database,
        f"LOAD DATA LOCAL INFILE '{lines}' INTO TABLE loaded CHARACTER SET utf8mb4",
    )
    assert ask_mariadb(mariadb_database, "SELECT max(t) FROM loaded WHERE n = 2") == "雪"


def test_mariadb_refuses_a_wrong_password(mariadb_server: MariaDbServer) -> None:
    with pytest.raises(pymysql.OperationalError, match="Access denied"):
        ask_mariadb(mariadb_server.url(password="wrong"), "SELECT 1")


@pytest.mark.parametrize("immediate", [False, True])
def test_mariadb_keeps_data_over_a_restart(
    private_mariadb: Callable[..., MariaDbServer], immediate: bool
) -> None:
    server = private_mariadb(durable=True, settings={"max-allowed-packet": "32M"})
    url = server.url(server.create_database())
    ask_mariadb(url, "CREATE TABLE kept AS SELECT 7 AS n")
    before = server.pid

    server.restart(immediate=immediate)

    assert server.pid != before
    assert ask_mariadb(url, "SELECT n FROM kept") == 7
    assert ask_mariadb(url, "SELECT @@max_allowed_packet") == 32 * 1024 * 1024


def test_s3_puts_gets_and_refuses_to_replace(s3: S3Bucket, tmp_path: Path) -> None:
    (tmp_path / "_delta_log").mkdir()
    (tmp_path / "_delta_log" / "a%20b.json").write_bytes(b"{}")
    assert s3.upload(tmp_path, "table") == s3.url("table")
    assert s3.names("table/") == ["table/_delta_log/a%20b.json"]

    options = s3.options
    files = s3fs.S3FileSystem(
        key=options["key"],
        secret=options["secret"],
        endpoint_url=options["endpoint_url"],
        client_kwargs={"region_name": options["region"]},
        skip_instance_cache=True,
    )
    assert files.cat_file(s3.url("table/_delta_log/a%20b.json")) == b"{}"

    client = s3.client
    with pytest.raises(client.exceptions.ClientError, match="PreconditionFailed"):
        client.put_object(
            Bucket=s3.name, Key="table/_delta_log/a%20b.json", Body=b"other", IfNoneMatch="*"
        )
    assert s3.get("table/_delta_log/a%20b.json") == b"{}"


def test_dask_runs_in_other_processes(dask_client: Client) -> None:
    workers = set(dask_client.run(os.getpid).values())
    assert len(workers) == 2
    assert dask_client.submit(os.getpid).result() in workers - {os.getpid()}
    # Functions of the tests themselves can be sent.
    assert dask_client.submit(gone, -1).result() is True


def test_private_dask_cluster_has_its_own_workers(
    private_dask: Callable[..., Client], dask_client: Client
) -> None:
    private = private_dask(n_workers=1)
    theirs, shared = private.run(os.getpid).values(), dask_client.run(os.getpid).values()
    assert len(theirs) == 1
    assert not set(theirs) & set(shared)


_RUN_AND_DIE = """
import os, signal
from tests.servers.postgres import PostgresServer, wheel_installation
server = PostgresServer(wheel_installation())
print(server.pid, os.readlink(f"/proc/{server.pid}/cwd"), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_servers_end_with_a_killed_test_run(postgres_server: PostgresServer) -> None:
    died = subprocess.run([sys.executable, "-c", _RUN_AND_DIE], stdout=subprocess.PIPE, text=True)
    pid, folder = died.stdout.split()
    assert died.returncode == -9
    assert gone(int(pid))
    deadline = time.monotonic() + 120
    while Path(folder).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(folder).exists()
    assert postgres_server.sql("SELECT 1") == [(1,)]


def test_sample_tables(tables: ModuleType, tmp_path: Path) -> None:
    names = tables.names()
    assert len(names) > 100
    for name in names:
        assert (tables.path(name) / "_delta_log").is_dir(), name
    assert set(tables.names("valid", "reject", "either")) == set(names)
    assert "derived-commit-empty-garbage" in tables.names("reject")

    name = "dat-basic_partitioned"
    facts = tables.expected(name)["versions"][str(tables.versions(name)[-1])]
    assert tables.differences(name, tables.versions(name)[-1], facts) == []
    assert tables.differences(name, tables.versions(name)[-1], {**facts, "num_files": -1})
    copied = tables.copy(name, tmp_path)
    (copied / "_delta_log" / "00000000000000000000.json").write_bytes(b"")
    assert (tables.path(name) / "_delta_log" / "00000000000000000000.json").stat().st_size > 0
