"""The guide's and the README's commands, run by a shell as printed, with places put in."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.commands import DL
from tests.tables import samples

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "migration_guide.md"
BLOCKS = [
    text for text in re.findall(r"```bash\n(.*?)```", GUIDE.read_text(), re.S) if "dl " in text
]
CATALOG = "/var/lib/deltalake/metadata.sqlite"
TABLE = "golden-data-reader-partition-values"


class Shell:
    """Runs blocks for one table and one database."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self._database = database
        self.table = samples.copy(TABLE, folder / "sales")

    def run(self, text: str, table_id: str = "", expected: int = 0) -> str:
        """Standard output of a block; `expected` is the exit code of its last command."""
        places = {
            CATALOG: self._database,
            "/tables/sales": str(self.table),
            "/tmp/sales_metrics.prom": str(self.folder / "sales_metrics.prom"),
            "rollback_report.json": str(self.folder / "rollback_report.json"),
            "/backups/delta/sales": str(self.folder / "backup") + "/",
        }
        for printed, here in places.items():
            text = text.replace(printed, f"'{here}'" if printed == CATALOG else here)
        text = re.sub(r"<uuid[^>]*>", table_id, text)
        environment = {**os.environ, "PATH": f"{DL.parent}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-c", text], capture_output=True, text=True, env=environment, timeout=240
        )
        assert done.returncode == expected, done.stderr
        return done.stdout


def block(*containing: str) -> str:
    [found] = [text for text in BLOCKS if all(part in text for part in containing)]
    return found


@pytest.fixture
def shell(tmp_path: Path, catalog_url: str) -> Shell:
    return Shell(tmp_path, catalog_url)


def test_the_guides_commands(shell: Shell) -> None:
    first, second = block("# 1. Bootstrap SQL catalog").split("# 2. Record the emitted table_id")
    out = shell.run(first)
    assert "location:        s3://warehouse/sales" in out
    [table_id] = re.findall(r"\(([0-9a-f-]{36})\)", out)
    assert shell.run("#" + second, table_id).startswith("Unchanged\n")

    assert shell.run(block("--metrics-format prometheus"), table_id).startswith("Parity: ")
    metrics = (shell.folder / "sales_metrics.prom").read_text()
    assert f'dl_file_drift_count{{table_id="{table_id}",name="sales"}} 0' in metrics

    assert json.loads(shell.run(block("--metrics-format json"), table_id))["dl_version_delta"] == 0

    report = json.loads(shell.run(block("rollback_report.json"), table_id))
    assert report == json.loads((shell.folder / "rollback_report.json").read_text())
    assert report["parity"] is True


def test_restoring_a_log_from_a_backup(shell: Shell) -> None:
    out = shell.run(block("# 1. Bootstrap SQL catalog").split("# 2. Record")[0])
    [table_id] = re.findall(r"\(([0-9a-f-]{36})\)", out)
    shutil.copytree(shell.table, shell.folder / "backup")
    [commit] = (shell.table / "_delta_log").glob("*0.json")
    commit.unlink()
    diff = block("--metrics-format prometheus")
    shell.run(diff, table_id, expected=1)
    restore = block("rsync -a")
    if shutil.which("rsync") is None:
        restore = restore.replace("rsync -a", "cp -a -T")
    assert shell.run(restore, table_id).startswith("Unchanged\n")
    assert shell.run(diff, table_id).startswith("Parity: ")


def _masked(text: str) -> list[str]:
    """Lines without what differs from run to run: ids, folders, times, the order of spaces."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", text)
    text = re.sub(r"\S*/people", "PEOPLE", text)
    text = re.sub(r"[\d.]+ ms", "MS", text)
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_readmes_commands_print_what_it_says(tmp_path: Path) -> None:
    [session] = [
        text
        for text in re.findall(r"```\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
        if text.startswith("$ ")
    ]
    shutil.copytree(samples.path("rs-checkpoint-cdf-table"), tmp_path / "people")
    environment = {**os.environ, "PATH": f"{DL.parent}:{os.environ['PATH']}"}
    environment |= {"DL_DATABASE": "mine.sqlite"}
    commands = 0
    for step in re.split(r"^\$ ", session, flags=re.M)[1:]:
        command, _, printed = step.partition("\n")
        if not command.startswith("dl "):
            continue
        done = subprocess.run(
            ["bash", "-c", command],
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        found = _masked(done.stdout)
        for line in _masked(printed):
            assert line in (*found, "", "..."), command
        commands += 1
    assert commands == 4
