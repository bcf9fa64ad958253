"""More workers than the database takes connections: the import is exact, and holds few of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.migrate.faults import Digest, assert_exact, import_big, small_parts
from tests.servers.dask import DaskServer
from tests.servers.postgres import PostgresServer

if TYPE_CHECKING:
    from distributed import Client


@contextmanager
def connected(cluster: DaskServer) -> Iterator[Client]:
    from distributed import Client

    with Client(cluster.address, set_as_default=False) as client:
        yield client


def connections_to(port: int) -> int:
    """How many connections to a port of this machine are established."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    states = (line.split()[2:4] for line in lines)
    return sum(state == [f"0100007F:{port:04X}", "01"] for state in states)


@contextmanager
def most_connections(server: PostgresServer) -> Iterator[list[int]]:
    """Watches how many connections clients have; the last value is the most.

    Not what the server says, whose processes end a while after their clients have closed.
    """
    seen, stop = [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.01):
            seen.append(max(seen[-1], connections_to(server.port)))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


@pytest.fixture(autouse=True)
def _many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    small_parts(monkeypatch, 1 << 17)


def test_the_limit_counts_what_the_client_itself_uses(
    big: Path,
    expected: Digest,
    dask_server: DaskServer,
    private_postgres: Callable[..., PostgresServer],
) -> None:
    server = private_postgres()
    url = server.url(server.create_database())
    with connected(dask_server) as client:
        with most_connections(server) as seen:
            import_big(big, url, client=client, connections=7)
        assert 4 < seen[-1] <= 7
        assert_exact(url, "big", expected)
        with most_connections(server) as seen:
            import_big(big, url, client=client, rebuild=True)
        assert 7 < seen[-1] <= 16
        assert_exact(url, "big", expected)


def test_more_workers_than_connections(
    big: Path,
    expected: Digest,
    dask_server: DaskServer,
    private_postgres: Callable[..., PostgresServer],
) -> None:
    server = private_postgres(settings={"max_connections": "10"})
    url = server.url(server.create_database())
    with connected(dask_server) as client:
        import_big(big, url, client=client)
    assert_exact(url, "big", expected)


@pytest.mark.long
def test_forty_workers_and_twenty_connections(
    big: Path, expected: Digest, private_postgres: Callable[..., PostgresServer]
) -> None:
    server = private_postgres(settings={"max_connections": "20"})
    url = server.url(server.create_database())
    with (
        closing(DaskServer(40, nanny=False)) as cluster,
        connected(cluster) as client,
        most_connections(server) as seen,
    ):
        import_big(big, url, client=client)
    assert 4 < seen[-1] <= 16
    assert_exact(url, "big", expected)
