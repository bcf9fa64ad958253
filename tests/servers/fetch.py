"""`make servers`: get MariaDB for the tests when the machine has none, without being root.

Debian's packages are downloaded and unpacked below `.servers`; nothing is installed, no system
service starts, and `make clean` removes it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.servers.mariadb import UNPACKED, mariadb_installation

ADVICE = "install MariaDB 10.6 or newer (mariadbd on the PATH), or set DL_SKIP_SERVERS=mariadb"


def main() -> int:
    if mariadb_installation() is not None or "mariadb" in os.environ.get("DL_SKIP_SERVERS", ""):
        return 0
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        print(f"No MariaDB here and no apt-get to fetch it with: {ADVICE}.", file=sys.stderr)
        return 1
    print("Fetching MariaDB into .servers ...", file=sys.stderr)
    UNPACKED.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=UNPACKED.parent, prefix="download-") as folder:
        try:
            fetch(Path(folder))
        except subprocess.CalledProcessError as error:
            print(f"{error.stderr}\nMariaDB could not be fetched: {ADVICE}.", file=sys.stderr)
            return 1
    return 0


def fetch(folder: Path) -> None:
    """Download into `folder`, unpack, and put the result in its place at once."""
    archives, unpacked = folder / "archives", folder / "unpacked"
    (archives / "partial").mkdir(parents=True)
    try:
        download(archives)
    except subprocess.CalledProcessError:
        # No package lists on this machine, or ones older than what the mirror holds.
        lists = folder / "lists"
        (lists / "partial").mkdir(parents=True)
        run("apt-get", "-qq", "update", *options(archives, lists))
        download(archives, lists)
    for package in sorted(archives.glob("*.deb")):
        run("dpkg", "-x", str(package), str(unpacked))
    shutil.rmtree(UNPACKED, ignore_errors=True)
    unpacked.rename(UNPACKED)


def download(archives: Path, lists: Path | None = None) -> None:
    """The server and those of its libraries that the machine lacks."""
    install = ("-qq", "--yes", "install", "--download-only", "--no-install-recommends")
    run("apt-get", *options(archives, lists), *install, "mariadb-server-core")


def options(archives: Path, lists: Path | None) -> list[str]:
    """Let apt work in our folders, as any user."""
    settings = {
        "Dir::Cache::archives": archives,
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "Debug::NoLocking": "1",
        "APT::Sandbox::User": "root",
    }
    if lists is not None:
        settings["Dir::State::lists"] = lists
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
