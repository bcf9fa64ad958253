"""DuckDB with its Delta extension, a reader of what is written (marker `system`).

`python -m tests.servers.duckdb` (`make duckdb`) puts it into `.servers/duckdb`: the extension is
made for one version of DuckDB, which isn't the one that the project uses.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc as ipc

from tests.servers.process import ServerError

UNPACKED = Path(__file__).parents[2] / ".servers" / "duckdb"
VERSION = "1.5.5"
PACKAGES = (f"duckdb=={VERSION}", f"duckdb-extension-delta=={VERSION}", "pyarrow", "pytz")
ADVICE = "run `make duckdb`, or set DL_SKIP_SERVERS=duckdb"

# Runs in that environment: a query a line, {"sql": …, "to": file}; the rows go to the file.
_PROGRAM = """
import json, sys
import duckdb, pyarrow
connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
connection.execute(f"LOAD '{sys.argv[1]}'")
connection.execute("SET threads = 1")
connection.execute("SET TimeZone = 'UTC'")
for line in sys.stdin:
    asked = json.loads(line)
    try:
        rows = connection.execute(asked["sql"]).to_arrow_table()
        with pyarrow.ipc.new_file(asked["to"], rows.schema) as file:
            file.write_table(rows)
        print(json.dumps({"ok": True}), flush=True)
    except Exception as error:
        print(json.dumps({"error": str(error)}), flush=True)
"""


def duckdb_installation() -> Path | None:
    """The extension's file in the environment that `make duckdb` made; None where it hasn't."""
    return next(UNPACKED.glob("lib/*/site-packages/*/extensions/*/delta.duckdb_extension"), None)


class DuckDbServer:
    """One DuckDB in a process of its own."""

    def __init__(self, extension: Path) -> None:
        self._process = subprocess.Popen(
            [str(UNPACKED / "bin" / "python"), "-c", _PROGRAM, str(extension)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def rows(self, sql: str, to: Path) -> pa.Table:
        """The rows of a query, which come by way of a file. ServerError says what is wrong."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"sql": sql, "to": str(to)}) + "\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline() or '{"error": "ended"}')
        if "error" in found:
            raise ServerError(f"DuckDB: {found['error']}")
        with ipc.open_file(to) as file:
            return file.read_all()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def main() -> None:
    """Install it unless it is there."""
    if duckdb_installation() is not None:
        return
    print(f"Installing DuckDB {VERSION} with its Delta extension", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(UNPACKED)], check=True)
    pip = [str(UNPACKED / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--disable-pip-version-check", *PACKAGES], check=True)


if __name__ == "__main__":
    main()
