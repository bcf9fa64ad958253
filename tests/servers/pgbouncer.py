"""pgbouncer before a test PostgreSQL: Debian's package, where it is installed."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import psycopg2

from tests.servers.postgres import PASSWORD, USER, PostgresServer
from tests.servers.process import ServerFolder, ServerProcess, free_port, other_user

ADVICE = "apt-get install pgbouncer, or set DL_SKIP_SERVERS=pgbouncer"

_SETTINGS = """[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr=127.0.0.1
listen_port={port}
auth_type=plain
auth_file={folder}/users
pool_mode={mode}
default_pool_size={size}
unix_socket_dir=
"""


def pgbouncer_program() -> Path | None:
    """The installed program; /usr/sbin is on no ordinary user's path."""
    found = shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    return None if found is None else Path(found)


class PgBouncer:
    """A pool in one mode (`transaction`, `session`). Starts on creation."""

    def __init__(self, program: Path, server: PostgresServer, mode: str) -> None:
        self._folder = ServerFolder("pgbouncer")
        folder = self._folder.path
        self.port = free_port()
        # A client of a pool in session mode keeps its connection, and an import has several.
        size = 4 if mode == "transaction" else 24
        (folder / "users").write_text(f'"{USER}" "{PASSWORD}"\n')
        (folder / "ini").write_text(
            _SETTINGS.format(
                server=server.port, port=self.port, folder=folder, mode=mode, size=size
            )
        )
        self._process = ServerProcess(self._folder, "pgbouncer", last_signal=signal.SIGQUIT)
        self._process.start(
            [program, folder / "ini"],
            lambda: psycopg2.connect(self.url("postgres")).close(),
            **other_user(),
        )

    def url(self, database: str) -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def close(self) -> None:
        self._process.stop(signal.SIGQUIT)
        self._folder.close()
