"""`make servers`: get MariaDB and MySQL for the tests when the machine has none, as any user.

Debian's packages are downloaded and unpacked below `.servers`; nothing is installed, no system
service starts, and `make clean` removes it. MySQL isn't in Debian's releases: it comes from sid,
with every library that it needs, as those of the machine are too old for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.servers import mariadb, mysql, pgbouncer

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_SID = f"deb [signed-by={_KEYRING}] http://deb.debian.org/debian sid main\n"


@dataclass(frozen=True)
class Fetched:
    """A server that is fetched: Debian's package, and the folder that it is unpacked to."""

    name: str
    title: str
    package: str
    folder: Path
    is_there: Callable[[], bool]
    advice: str
    release: str | None = None
    """A line of a sources list: everything comes from there; None: the machine's own release."""


MARIADB = Fetched(
    name="mariadb",
    title="MariaDB",
    package="mariadb-server-core",
    folder=mariadb.UNPACKED,
    is_there=lambda: mariadb.mariadb_installation() is not None,
    advice="install MariaDB 10.6 or newer (mariadbd on the PATH), or set DL_SKIP_SERVERS=mariadb",
)
MYSQL = Fetched(
    name="mysql",
    title="MySQL",
    package="mysql-server-core",
    folder=mysql.UNPACKED,
    is_there=lambda: mysql.mysql_installation() is not None,
    advice="install MySQL 8.4 or newer (mysqld on the PATH), or set DL_SKIP_SERVERS=mysql",
    release=_SID,
)
PGBOUNCER = Fetched(
    name="pgbouncer",
    title="pgbouncer",
    package="pgbouncer",
    folder=pgbouncer.UNPACKED,
    is_there=lambda: pgbouncer.pgbouncer_installation() is not None,
    advice="install pgbouncer, or set DL_SKIP_SERVERS=pgbouncer",
)


def main() -> int:
    """1 when a server is missing that tests can't do without; MySQL and pgbouncer only CI can't."""
    in_ci = os.environ.get("CI", "") not in ("", "0", "false")
    failed = [server for server in (MARIADB, MYSQL, PGBOUNCER) if not _made_available(server)]
    return int(MARIADB in failed or (in_ci and bool(failed)))


def _made_available(server: Fetched) -> bool:
    skipped = os.environ.get("DL_SKIP_SERVERS", "").split(",")
    if server.name in skipped or server.is_there():
        return True
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        print(
            f"No {server.title} here and no apt-get to fetch it with: {server.advice}.",
            file=sys.stderr,
        )
        return False
    print(f"Fetching {server.title} into .servers ...", file=sys.stderr)
    server.folder.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=server.folder.parent, prefix="download-") as folder:
        try:
            fetch(server, Path(folder))
        except subprocess.CalledProcessError as error:
            why = f"{error.stderr}\n{server.title} could not be fetched: {server.advice}."
            print(why, file=sys.stderr)
            return False
    return True


def fetch(server: Fetched, folder: Path) -> None:
    """Download into `folder`, unpack, and put the result in its place at once."""
    archives, unpacked = folder / "archives", folder / "unpacked"
    (archives / "partial").mkdir(parents=True)
    own = options(archives)
    if server.release is None:
        try:
            download(server, own)
        except subprocess.CalledProcessError:
            # No package lists on this machine, or ones older than what the mirror holds.
            own += new_lists(folder)
            run("apt-get", "-qq", "update", *own)
            download(server, own)
    else:
        own += [*new_lists(folder), *other_release(folder, server.release)]
        run("apt-get", "-qq", "update", *own)
        download(server, own)
    for package in sorted(archives.glob("*.deb")):
        run("dpkg", "-x", str(package), str(unpacked))
    shutil.rmtree(server.folder, ignore_errors=True)
    unpacked.rename(server.folder)


def download(server: Fetched, own: list[str]) -> None:
    """The server and those of its libraries that count as missing."""
    install = ("-qq", "--yes", "install", "--download-only", "--no-install-recommends")
    run("apt-get", *own, *install, server.package)


def options(archives: Path) -> list[str]:
    """Let apt work in our folders, as any user."""
    return _options(
        {
            "Dir::Cache::archives": archives,
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "Debug::NoLocking": "1",
            "APT::Sandbox::User": "root",
        }
    )


def new_lists(folder: Path) -> list[str]:
    """Package lists of our own."""
    lists = folder / "lists"
    (lists / "partial").mkdir(parents=True)
    return _options({"Dir::State::lists": lists})


def other_release(folder: Path, line: str) -> list[str]:
    """That release alone, on a machine where nothing is installed."""
    sources, status = folder / "sources.list", folder / "status"
    sources.write_text(line)
    status.touch()
    return _options(
        {
            "Dir::Etc::sourcelist": sources,
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::status": status,
        }
    )


def _options(settings: dict[str, object]) -> list[str]:
    return [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]


def run(*command: str) -> None:
    subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
    )


if __name__ == "__main__":
    sys.exit(main())
