"""Connections, servers and stores that fail under writers: three outcomes, and each one true."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError
from tests.commit.test_concurrency import start_appenders
from tests.conftest import mysql, pgbouncer
from tests.faults.lossy import LossyProxy
from tests.faults.told import SCHEMA, Told, hold_everywhere, wait_until
from tests.servers.mariadb import MariaDbServer
from tests.servers.mysql import MySqlServer
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import PostgresServer
from tests.servers.s3 import S3Bucket
from tests.writing.proxy import CountingProxy


def appended(
    uri: str,
    database: str,
    folder: Path,
    *,
    processes: int,
    versions: int,
    meanwhile: Callable[[], object] = lambda: None,
) -> Told:
    """What processes that append were told, once the table has so many versions."""
    running = start_appenders(uri, folder / "ready", processes, 300.0)
    table = dl.connect_to_table(f"deltasql://{database}?table=t", cache=False)
    deadline = time.monotonic() + 240
    while table.refresh().version < versions:
        assert time.monotonic() < deadline
        assert all(each.poll() is None for each in running)
        meanwhile()
        time.sleep(0.1)
    (folder / "ready" / "stop").touch()
    return Told().hear(running)


def make(database: str, place: str, options: dict[str, str] | None = None) -> None:
    uri = f"deltasql://{database}?table=t"
    dl.create_table(uri, SCHEMA, location=place, storage_options=options)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["postgresql", "mariadb", "mysql"])
def test_connections_are_cut_in_commit(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    fixture = {"postgresql": "pg_database"}.get(kind, f"{kind}_database")
    url: str = request.getfixturevalue(fixture)
    server = request.getfixturevalue(
        fixture.replace("database", "server").replace("pg", "postgres")
    )
    place = str(tmp_path / "t")
    make(url, place)
    proxy = CountingProxy(server.port)
    proxy.cut, proxy.cut_every = b"COMMIT", 3
    near = url.replace(f":{server.port}/", f":{proxy.port}/")
    # MySQL's TLS would hide what is looked for; who has logged in once may do so without it.
    near += "?ssl_disabled=true&table=t" if kind == "mysql" else "?table=t"
    told = appended(f"deltasql://{near}", url, tmp_path, processes=4, versions=16)
    proxy.close()
    assert proxy.cuts > 2
    hold_everywhere(told, url, place, {})


def restarted(server: Any, database: str, folder: Path) -> None:
    url, place = server.url(database), str(folder / "t")
    make(url, place)
    uri = f"deltasql://{url}?table=t"
    running = start_appenders(uri, folder / "ready", 8, 300.0)
    for immediate in (False, True, False):
        reached = dl.connect_to_table(uri, cache=False).version
        wait_until(lambda to=reached + 8: dl.connect_to_table(uri, cache=False).version > to)
        server.restart(immediate=immediate)
    (folder / "ready" / "stop").touch()
    told = Told().hear(running)
    assert len(told.committed) > 8
    hold_everywhere(told, url, place, {})


@pytest.mark.long
def test_postgresql_restarts_under_writers(
    private_postgres: Callable[..., PostgresServer], tmp_path: Path
) -> None:
    server = private_postgres()
    restarted(server, server.create_database(), tmp_path)


@pytest.mark.long
def test_mariadb_restarts_under_writers(
    private_mariadb: Callable[..., MariaDbServer], tmp_path: Path
) -> None:
    # Killed without that, it loses the commits of its last second, and writers are told so.
    server = private_mariadb(durable=True)
    restarted(server, server.create_database(), tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("authority", ["sql", "log"])
def test_a_store_that_loses_answers(
    sqlite_url: str, s3: S3Bucket, tmp_path: Path, authority: str
) -> None:
    chance = random.Random(1)

    def loses(method: str, path: str) -> str:
        if method != "PUT" or "_delta_log" not in path or chance.random() > 0.4:
            return ""
        return chance.choice(["answer", "answer", "request"])

    proxy = LossyProxy(s3.endpoint_url, loses)
    near = {**s3.options, "endpoint_url": proxy.endpoint_url}
    place = s3.url("t")
    uri = f"deltasql://{sqlite_url}?table=t"
    dl.create_table(uri, SCHEMA, location=place, storage_options=s3.options, authority=authority)
    told = Told()
    table = dl.connect_to_table(uri, cache=False, storage_options=near)
    for number in range(20):
        try:
            done = table.append(pa.table({"who": ["w0"], "n": [number]}))
        except DeltaLakeError as error:
            mine = told.failed if error.outcome == "failed" else told.unknown
            mine.add(("w0", number))
            continue
        told.committed.add(("w0", number))
        told.versions.append(done.version)
    table.close()
    proxy.close()
    assert len(proxy.lost) > 3
    assert len(told.committed) > 10
    hold_everywhere(told, sqlite_url, place, s3.options)


@pytest.mark.long
def test_writers_behind_pgbouncer(pg_database: str, postgres_server: Any, tmp_path: Path) -> None:
    """In transaction pooling: writers, whoever tends the log, vacuum and restore."""
    place = str(tmp_path / "t")
    pool = PgBouncer(pgbouncer(), postgres_server, "transaction")
    try:
        url = pool.url(pg_database.rpartition("/")[2])
        make(pg_database, place)
        uri = f"deltasql://{url}?table=t"
        table = dl.connect_to_table(uri, cache=False)
        told = appended(
            uri,
            url,
            tmp_path,
            processes=6,
            versions=60,
            meanwhile=lambda: table.vacuum(dry_run=False),
        )
        assert not told.failed | told.unknown
        hold_everywhere(told, url, place, {})
    finally:
        pool.close()


@pytest.mark.long
@pytest.mark.parametrize("kind", ["mariadb", "mysql"])
@pytest.mark.parametrize("isolation", ["SERIALIZABLE", "REPEATABLE-READ"])
def test_the_isolation_of_a_server(
    kind: str, isolation: str, private_mariadb: Callable[..., MariaDbServer], tmp_path: Path
) -> None:
    settings = {"transaction-isolation": isolation, "innodb-flush-log-at-trx-commit": "0"}
    if kind == "mariadb":
        server: Any = private_mariadb(settings=settings)
    else:
        server = MySqlServer(mysql(), settings=settings)
    try:
        url, place = server.url(server.create_database()), str(tmp_path / "t")
        make(url, place)
        uri = f"deltasql://{url}?table=t"
        told = appended(uri, url, tmp_path, processes=4, versions=40)
        assert not told.failed | told.unknown
        hold_everywhere(told, url, place, {})
    finally:
        server.close()
