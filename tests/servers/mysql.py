"""MySQL for tests: the system's own, or Debian's packages unpacked by `make servers`.

The unpacked server is newer than most machines' C library, so it comes with its own and is started
by that library's loader.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.servers.mariadb import MariaDbInstallation, MariaDbServer
from tests.servers.process import ServerError

UNPACKED = Path(__file__).parents[2] / ".servers" / "mysql"


def mysql_installation() -> MariaDbInstallation | None:
    """MySQL on this machine, else the one unpacked in `.servers`; None when there is neither."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which("mysqld", path=path)
    if found is not None and _is_mysql(found):
        server = Path(found).resolve()
        return MariaDbInstallation(server, server.parents[1] / "share/mysql")
    usr = UNPACKED / "usr"
    loader = next(usr.glob("lib/*-linux-*/ld-linux*.so.*"), None)
    if loader is None:
        return None
    libraries = f"{loader.parent}:{usr / 'lib/mysql/private'}"
    start = (loader, "--library-path", libraries)
    return MariaDbInstallation(usr / "sbin/mysqld", usr / "share/mysql", loader=start)


def _is_mysql(program: str) -> bool:
    """MariaDB's server goes by that name too."""
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return told.returncode == 0 and "MariaDB" not in told.stdout


class MySqlServer(MariaDbServer):
    """As MariaDbServer, with MySQL's own way to create its system tables."""

    name = "mysql"
    settings: Mapping[str, str] = {
        "bind-address": "127.0.0.1",
        "local-infile": "ON",
        "innodb-redo-log-capacity": "64M",
        "mysqlx": "OFF",
        "secure-file-priv": "",
    }

    @staticmethod
    def command(installation: MariaDbInstallation, data: Path) -> list[str | Path]:
        share = installation.share
        return [
            *(*installation.loader, installation.server),
            *("--no-defaults", f"--datadir={data}"),
            *(f"--lc-messages-dir={share}", f"--character-sets-dir={share / 'charsets'}"),
            *(["--user=root"] if os.geteuid() == 0 else []),
        ]

    @classmethod
    def make_system_tables(cls, installation: MariaDbInstallation, data: Path) -> None:
        command = [*cls.command(installation, data), "--initialize-insecure"]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            raise ServerError(f"MySQL's system tables: {made.stderr[-2000:]}")
