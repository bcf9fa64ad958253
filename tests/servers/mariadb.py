"""MariaDB for tests: the system's own, or Debian's packages unpacked by `make servers`."""

from __future__ import annotations

import functools
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymysql

from tests.servers.process import ServerError, ServerFolder, ServerProcess, free_port

USER = "dl"
PASSWORD = "of-the-tests-only"
UNPACKED = Path(__file__).parents[2] / ".servers" / "mariadb"

_NOT_DURABLE = {"innodb-flush-log-at-trx-commit": "0", "innodb-doublewrite": "0"}


@dataclass(frozen=True)
class MariaDbInstallation:
    """The server program, the folder of its SQL scripts and messages, and its libraries."""

    server: Path
    share: Path
    libraries: Path | None = None
    loader: tuple[str | Path, ...] = ()
    """What starts the server, where it needs another C library than the machine's."""

    @property
    def env(self) -> dict[str, str]:
        return {} if self.libraries is None else {"LD_LIBRARY_PATH": str(self.libraries)}


def mariadb_installation() -> MariaDbInstallation | None:
    """MariaDB on this machine, else the one unpacked in `.servers`; None when there is neither."""
    # Debian keeps the server in sbin, which is not on everybody's PATH.
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which("mariadbd", path=path)
    if found is not None:
        server = Path(found).resolve()
        return MariaDbInstallation(server, _share(server.parents[1]))
    server = UNPACKED / "usr/sbin/mariadbd"
    if server.exists():
        libraries = next((UNPACKED / "usr/lib").glob("*-linux-*"))
        return MariaDbInstallation(server, _share(UNPACKED / "usr"), libraries)
    return None


def _share(base: Path) -> Path:
    for name in ("mysql", "mariadb"):
        if (base / "share" / name / "english/errmsg.sys").exists():
            return base / "share" / name
    raise ServerError(f"MariaDB's scripts are neither in {base}/share/mysql nor in share/mariadb")


class MariaDbServer:
    """A private server on a port of 127.0.0.1 that it keeps over restarts. Starts on creation.

    `durable` keeps the log flushed at commit, for measurements; `settings` are server options.
    """

    name = "mariadb"
    settings: Mapping[str, str] = {
        "bind-address": "127.0.0.1",
        "local-infile": "ON",
        "innodb-log-file-size": "64M",
        "character-set-server": "utf8mb4",
    }

    def __init__(
        self,
        installation: MariaDbInstallation,
        *,
        durable: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._installation = installation
        self._folder = ServerFolder(self.name)
        self._data = self._folder.path / "data"
        self._temporary = self._folder.path / "tmp"
        self._temporary.mkdir()
        self._settings = {**self.settings, **({} if durable else _NOT_DURABLE), **(settings or {})}
        self.port = free_port()
        self._process = ServerProcess(self._folder, self.name, last_signal=signal.SIGKILL)
        shutil.copytree(_empty_data(self.name, self.make_system_tables, installation), self._data)
        self.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        """Start and wait for the first answer, after a crash with its recovery."""
        accounts = self._folder.path / "accounts.sql"
        accounts.write_text(
            f"CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n"
        )
        self._process.start(
            [
                *self.command(self._installation, self._data),
                *(f"--port={self.port}", f"--socket={self._folder.path}/socket"),
                *("--skip-name-resolve", "--skip-log-bin", f"--init-file={accounts}"),
                # Not the one of all: a server that starts removes there what looks like its own.
                f"--tmpdir={self._temporary}",
                *(f"--{name}={value}" for name, value in self._settings.items()),
            ],
            lambda: self.sql("SELECT 1"),
            env=self._installation.env,
        )

    def stop(self, *, immediate: bool = False) -> None:
        """Stop; `immediate` like a crash, with recovery at the next start."""
        self._process.stop(signal.SIGKILL if immediate else signal.SIGTERM)

    def restart(self, *, immediate: bool = False) -> None:
        self.stop(immediate=immediate)
        self.start()

    def close(self) -> None:
        """Stop and remove everything."""
        self.stop(immediate=True)
        self._folder.close()

    def url(self, database: str = "mysql", *, password: str = PASSWORD) -> str:
        return f"mysql://{USER}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def sql(self, statement: str, *, database: str | None = None) -> tuple[tuple[Any, ...], ...]:
        """Run one statement in its own transaction."""
        connection = pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=PASSWORD,
            database=database,
        )
        with closing(connection), connection.cursor() as cursor:
            cursor.execute(statement)
            connection.commit()
            return tuple(cursor.fetchall())

    def create_database(self) -> str:
        """A new database, by name."""
        name = f"test_{secrets.token_hex(6)}"
        self.sql(f"CREATE DATABASE {name}")
        return name

    def drop_database(self, name: str) -> None:
        self.sql(f"DROP DATABASE IF EXISTS `{name}`")

    @staticmethod
    def command(installation: MariaDbInstallation, data: Path) -> list[str | Path]:
        """The server with its data, as it always starts."""
        return [
            *(installation.server, "--no-defaults", f"--datadir={data}"),
            *(
                f"--lc-messages-dir={installation.share}",
                f"--basedir={installation.share.parents[1]}",
            ),
            # MariaDB runs as root when told so; nobody else can look into the data then.
            *(["--user=root"] if os.geteuid() == 0 else []),
        ]

    @classmethod
    def make_system_tables(cls, installation: MariaDbInstallation, data: Path) -> None:
        """Fill an empty folder."""
        # What mariadb-install-db does, which itself asks for programs of the client's package.
        scripts = [
            next(installation.share.glob(f"*_{name}.sql")).read_text()
            for name in ("system_tables", "performance_tables", "system_tables_data")
        ]
        script = "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n"
        made = subprocess.run(
            [*cls.command(installation, data), "--bootstrap", "--innodb-log-file-size=64M"],
            input=script + "".join(scripts),
            capture_output=True,
            text=True,
            env={**os.environ, **installation.env},
        )
        if made.returncode:
            raise ServerError(f"MariaDB's system tables: {made.stderr[-2000:]}")


@functools.cache
def _empty_data(
    name: str,
    make_system_tables: Callable[[MariaDbInstallation, Path], None],
    installation: MariaDbInstallation,
) -> Path:
    """A folder with system tables, made once in this process; servers start from copies of it."""
    folder = ServerFolder(f"{name}-template")
    _TEMPLATES.append(folder)
    data = folder.path / "data"
    data.mkdir()
    make_system_tables(installation, data)
    return data


_TEMPLATES: list[ServerFolder] = []
"""Their guards live as long as the process."""
