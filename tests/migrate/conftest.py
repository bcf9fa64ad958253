"""Empty databases at the price of a schema instead of a database each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import generate
from tests.migrate.faults import ADDS, Digest, digest, import_big
from tests.servers.postgres import PostgresServer


@pytest.fixture(scope="module")
def reused_database(postgres_server: PostgresServer) -> Iterator[str]:
    """Name of a PostgreSQL database that the tests of a module use one after the other."""
    name = postgres_server.create_database()
    yield name
    postgres_server.drop_database(name)


@pytest.fixture
def pg_database(postgres_server: PostgresServer, reused_database: str) -> str:
    """URL of an empty PostgreSQL database."""
    postgres_server.sql("DROP SCHEMA public CASCADE", database=reused_database)
    postgres_server.sql("CREATE SCHEMA public", database=reused_database)
    return postgres_server.url(reused_database)


@pytest.fixture(scope="session")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of thousands of adds in hundreds of commits, some of them removed again."""
    folder = tmp_path_factory.mktemp("generated") / "big"
    generate.main(["full", "--adds", str(ADDS), "--adds-per-commit", "100", "--out", str(folder)])
    return folder


@pytest.fixture(scope="session")
def expected(big: Path, tmp_path_factory: pytest.TempPathFactory) -> Digest:
    """What an undisturbed import in one process gives, on the other database."""
    url = f"sqlite:///{tmp_path_factory.mktemp('expected') / 'catalog.sqlite'}"
    result = import_big(big, url)
    facts = generate.read_facts(big)
    assert (result.adds, result.live_files) == (facts["adds"], facts["live"])
    found = digest(url, "big")
    assert found["dl_files"][0] == facts["adds"]
    assert found["dl_versions"][0] == facts["version"] + 1
    return found
