"""DuckLake beside us: its wheels in an environment of their own, a lake in a PostgreSQL database.

The extensions exist for one version of DuckDB at a time, which isn't the one that the project uses.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import ROOT
from benchmarks.servers import ServerMissing

VERSION = "1.5.5"
_PACKAGES = (
    "duckdb",
    "duckdb-extension-delta",
    "duckdb-extension-ducklake",
    "duckdb-extension-postgres-scanner",
)
_DELTA = "delta"
_NAMES = ("postgres_scanner", "ducklake")


@dataclass(frozen=True)
class DuckLake:
    """An interpreter with DuckDB and the extensions' files, in the order to load them.

    `delta`: that of `delta_scan`.
    """

    python: Path
    extensions: tuple[Path, ...]
    delta: Path

    def target(self, database: str, data: Path, table: str) -> str:
        """What `benchmarks.appender` is given for a table of a lake; `database` is a URL."""
        return json.dumps(
            {
                "metadata": database,
                "data": str(data),
                "table": table,
                "extensions": [str(path) for path in self.extensions],
            }
        )

    def run(self, target: str, sql: str) -> str:
        """Statements in a lake (attached as `lake`); what the last one returns, as text."""
        code = (
            "import sys; from benchmarks.appender import lake\n"
            "connection = lake(sys.argv[1]); print(connection.execute(sys.argv[2]).fetchall())"
        )
        done = subprocess.run(
            [str(self.python), "-c", code, target, sql],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        return done.stdout


def installed(folder: Path = ROOT / ".servers" / "ducklake") -> DuckLake:
    """DuckLake in its own environment, made at the first call. ServerMissing where it can't be."""
    python = folder / "bin" / "python"
    extensions = [_extension(folder, name) for name in (*_NAMES, _DELTA)]
    if not python.exists() or None in extensions:
        packages = [f"{name}=={VERSION}" for name in _PACKAGES]
        try:
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            subprocess.run(
                [str(python), "-m", "pip", "install", "--quiet", *packages, "pyarrow", "pytz"],
                check=True,
            )
        except subprocess.CalledProcessError as error:
            raise ServerMissing(f"DuckLake {VERSION} can't be installed: {error}") from error
        extensions = [_extension(folder, name) for name in (*_NAMES, _DELTA)]
    *lake, delta = (path for path in extensions if path is not None)
    return DuckLake(python, tuple(lake), delta)


def _extension(folder: Path, name: str) -> Path | None:
    return next(folder.glob(f"lib/*/site-packages/*/extensions/*/{name}.duckdb_extension"), None)
