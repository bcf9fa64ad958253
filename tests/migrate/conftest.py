"""Empty databases at the price of a schema instead of a database each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
