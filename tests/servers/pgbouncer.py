"""pgbouncer before a test PostgreSQL: the system's own, or Debian's unpacked by `make servers`."""

from __future__ import annotations

import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from tests.servers.postgres import PASSWORD, USER, PostgresServer
from tests.servers.process import ServerFolder, ServerProcess, free_port, other_user

UNPACKED = Path(__file__).parents[2] / ".servers" / "pgbouncer"

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


@dataclass(frozen=True)
class PgBouncerInstallation:
    """The program, and the folder of libraries that came with it."""

    program: Path
    libraries: Path | None = None

    def copied(self, folder: Path) -> PgBouncerInstallation:
        """Itself where it is installed, else a copy that the user it runs as can reach."""
        if not self.program.is_relative_to(UNPACKED):
            return self
        program = folder / "pgbouncer"
        shutil.copy(self.program, program)
        if self.libraries is None:
            return PgBouncerInstallation(program)
        libraries = folder / "libraries"
        shutil.copytree(self.libraries, libraries, symlinks=True)
        return PgBouncerInstallation(program, libraries)

    @property
    def env(self) -> dict[str, str]:
        return {} if self.libraries is None else {"LD_LIBRARY_PATH": str(self.libraries)}


def pgbouncer_installation() -> PgBouncerInstallation | None:
    """pgbouncer on this machine, else the one in `.servers`; None when there is neither."""
    # /usr/sbin is on no ordinary user's path.
    found = shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if found is not None:
        return PgBouncerInstallation(Path(found))
    program = UNPACKED / "usr/sbin/pgbouncer"
    if program.exists():
        return PgBouncerInstallation(program, next((UNPACKED / "usr/lib").glob("*-linux-*"), None))
    return None


class PgBouncer:
    """A pool in one mode (`transaction`, `session`). Starts on creation."""

    def __init__(
        self, installation: PgBouncerInstallation, server: PostgresServer, mode: str
    ) -> None:
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
        own = installation.copied(folder)
        self._process.start(
            [own.program, folder / "ini"],
            lambda: psycopg2.connect(self.url("postgres")).close(),
            env=own.env,
            **other_user(),
        )

    def url(self, database: str) -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def close(self) -> None:
        # It has nothing to keep, and heeds no SIGQUIT where a background job has it ignored.
        self._process.stop(signal.SIGKILL)
        self._folder.close()
