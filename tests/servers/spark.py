"""Spark with Delta, the judge of SQL's meaning and a reader of what is written (tests/spark).

`python -m tests.servers.spark` (`make spark`) fetches it into `.servers/spark`: PySpark in an
environment of its own, as it is large and old in its needs, and Delta's three jars by Maven. It
takes Java 17 and mvn, some 400 MB and half a minute, so `make test` goes without.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.servers.process import ServerError, ServerFolder

UNPACKED = Path(__file__).parents[2] / ".servers" / "spark"
PYSPARK = "pyspark==4.0.*"
JARS = (
    "io.delta:delta-spark_4.0_2.13:4.3.1",
    "io.delta:delta-storage:4.3.1",
    "org.antlr:antlr4-runtime:4.13.1",
)
ADVICE = "run `make spark` (it needs Java 17 and mvn), or set DL_SKIP_SERVERS=spark"

# Runs in Spark's own environment: a request a line, {"sql": …, "to": folder or null}.
_PROGRAM = """
import json, sys
from pyspark.sql import SparkSession
jars, folder = sys.argv[1:]
builder = SparkSession.builder.master("local[1]").config("spark.jars", jars)
for name, value in {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.session.timeZone": "UTC",
    # It asks what AND and OR leave out when two columns of a query share it.
    "spark.sql.subexpressionElimination.enabled": "false",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.warehouse.dir": folder + "/warehouse",
    "spark.local.dir": folder + "/local",
}.items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()
spark.sparkContext.setLogLevel("OFF")
print(json.dumps({"ok": spark.version}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    try:
        found = spark.sql(asked["sql"])
        if asked["to"]:
            found.coalesce(1).write.parquet(asked["to"])
        print(json.dumps({"ok": True}), flush=True)
    except Exception as error:
        print(json.dumps({"error": str(error)}), flush=True)
"""


class SparkError(Exception):
    """What Spark says against a statement."""


def spark_installation() -> Path | None:
    """The folder that `make spark` made; None where it hasn't."""
    return UNPACKED if (UNPACKED / "complete").exists() else None


class SparkServer:
    """One Spark session in a process of its own; it starts in some seconds."""

    def __init__(self, installation: Path) -> None:
        self._folder = ServerFolder("spark")
        self._results = 0
        jars = ",".join(str(jar) for jar in sorted((installation / "jars").glob("*.jar")))
        program = self._folder.path / "server.py"
        program.write_text(_PROGRAM)
        self._process = subprocess.Popen(
            [str(installation / "bin/python"), str(program), jars, str(self._folder.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self._folder.path / "spark.log").open("wb"),
            text=True,
            env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"},
            start_new_session=True,
        )
        self._answer()

    def run(self, sql: str) -> None:
        """A statement without rows. SparkError says what Spark has against it."""
        self._ask(sql, None)

    def rows(self, sql: str) -> pa.Table:
        """The rows of a query."""
        self._results += 1
        folder = self._folder.path / f"rows-{self._results}"
        self._ask(sql, str(folder))
        return pa.concat_tables(pq.read_table(file) for file in sorted(folder.glob("*.parquet")))

    def _ask(self, sql: str, to: str | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"sql": sql, "to": to}) + "\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            log = (self._folder.path / "spark.log").read_text(errors="replace")
            raise ServerError(f"Spark ended:\n{log[-2000:]}")
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise SparkError(found["error"])

    def close(self) -> None:
        if self._process.poll() is None:
            # Python and the Java process that it started.
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._folder.close()


def main() -> int:
    """Fetch what is missing."""
    if spark_installation() is not None:
        return 0
    if shutil.which("mvn") is None or shutil.which("java") is None:
        print("No Java with mvn here, so no Spark for the tests.", file=sys.stderr)
        return 0 if os.environ.get("CI", "") in ("", "0", "false") else 1
    print("Fetching Spark into .servers ...", file=sys.stderr)
    uv = Path(sys.executable).with_name("uv")
    python = UNPACKED / "bin" / "python"
    _run(sys.executable, "-m", "venv", "--clear", "--without-pip", UNPACKED)
    _run(uv, "pip", "install", "--quiet", "--python", python, PYSPARK)
    for jar in JARS:
        _run("mvn", "-q", "-B", "dependency:get", "-Dtransitive=false", f"-Dartifact={jar}")
        copy = ("dependency:copy", f"-Dartifact={jar}", f"-DoutputDirectory={UNPACKED / 'jars'}")
        _run("mvn", "-q", "-B", *copy)
    (UNPACKED / "complete").touch()
    return 0


def _run(*command: str | Path) -> None:
    subprocess.run(
        [str(part) for part in command], check=True, env={**os.environ, "UV_SYSTEM_CERTS": "1"}
    )


if __name__ == "__main__":
    sys.exit(main())
