"""Our import and diff, through the command line in a process of its own, as users run it."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import ProcessRun, run_process

_DL = [sys.executable, "-c", "from deltalakedb.cli import main; main()"]


@dataclass(frozen=True)
class Imported:
    """The process tree of an import and its `--json-output`."""

    run: ProcessRun
    answer: dict[str, Any]

    @property
    def seconds(self) -> float:
        """Wall time of the whole command, interpreter start included."""
        return self.run.seconds

    @property
    def live_files(self) -> int:
        return int(self.answer["live_files"])


def import_table(
    table: Path | str, database: str, *, name: str, mode: str = "full-history", workers: int = 2
) -> Imported:
    """`dl import` of a folder or a URL; no `workers`: in one process.

    The database goes by the environment, as passwords should.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "import.json"
        run = run_process(
            [
                *_DL,
                "import",
                *("--log-dir", f"{table}/_delta_log"),
                *("--table-name", name),
                *("--mode", mode),
                *(("--workers", str(workers)) if workers else ()),
                *("--json-output", str(output)),
            ],
            environment={"DL_DATABASE": database},
        )
        answer: dict[str, Any] = json.loads(output.read_text())
    return Imported(run, answer)


def diff_table(table: Path, database: str, *, name: str) -> ProcessRun:
    """`dl diff`, which must find parity."""
    return run_process(
        [
            *_DL,
            "diff",
            *("--log-dir", str(table / "_delta_log")),
            *("--table-id", name),
            *("--format", "json"),
        ],
        environment={"DL_DATABASE": database},
    )
