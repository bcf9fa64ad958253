"""`dl diff`: exit codes, and what goes to which output."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest

from tests.cli.commands import dl, dl_lines, error_of, process
from tests.cli.test_workers import told_at_the_end
from tests.tables import samples

TABLE = "golden-basic-with-inserts-deletes-checkpoint"
"""Commits 0 to 13 with a checkpoint at 10."""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return samples.copy(TABLE, tmp_path) / "_delta_log"


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Path) -> Path:
    """A catalog with the table in it."""
    path = tmp_path / "catalog.sqlite"
    monkeypatch.setenv("DL_DATABASE", str(path))
    dl("import", "--log-dir", log)
    return path


DIFF = ("diff", "--table-id", TABLE)


def add_commit(log: Path, version: int, age: float = 0.0) -> None:
    """A commit without files, `age` seconds old."""
    path = log / f"{version:020}.json"
    path.write_text(json.dumps({"commitInfo": {"operation": "NOTHING"}}) + "\n")
    os.utime(path, (time.time() - age,) * 2)


def tamper(log: Path) -> None:
    """Make a file of the last commit larger, as if it had always been so."""
    path = log / f"{13:020}.json"
    before = path.stat()
    text = path.read_text()
    path.write_text(re.sub(r'"size":(\d)', r'"size":9\1', text, count=1))
    assert path.read_text() != text
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_parity(database: Path, log: Path) -> None:
    assert dl(*DIFF).stdout.startswith("Parity: ")
    table_id = dl_lines("tables")[0]["table_id"]
    found = json.loads(dl("diff", "--table-id", table_id, "--format", "json").stdout)
    assert list(found)[:7] == [
        *("table_id", "name", "compared_version", "catalog_version", "log_version", "parity"),
        "lag_seconds",
    ]
    assert (found["table_id"], found["parity"], found["exit_code"]) == (table_id, True, 0)


def test_drift_is_2(database: Path, log: Path) -> None:
    tamper(log)
    done = dl(*DIFF, code=2)
    assert done.stdout.startswith("Drift: ")
    assert told_at_the_end(done.stderr) == []
    assert dl(*DIFF, "--format", "json", code=2).stdout.count("\n") == 1


def test_lag_alone_is_3(database: Path, log: Path) -> None:
    add_commit(log, 14, age=100)
    assert dl(*DIFF, code=3).stdout.startswith("Lag: ")
    assert dl(*DIFF, "--lag-threshold-seconds", "5", code=3)
    assert dl(*DIFF, "--lag-threshold-seconds", "3600", code=0)
    tamper(log)
    assert dl(*DIFF, code=2)


def test_errors_are_1(database: Path, log: Path, tmp_path: Path) -> None:
    assert "no table nobody" in error_of("diff", "--table-id", "nobody")
    assert "does not exist" in error_of(*DIFF, "--log-dir", tmp_path / "nowhere" / "_delta_log")
    assert "--max-drift-files" in error_of(*DIFF, "--max-drift-files", "-1")
    (log / f"{13:020}.json").write_bytes(b"{")
    assert f"{13:020}.json" in error_of(*DIFF)


def test_the_table_is_named_once(database: Path, log: Path) -> None:
    assert "Parity" in dl("diff", TABLE).stdout
    for args in (["diff"], ["diff", TABLE, "--table-id", TABLE]):
        assert "by TABLE or by --table-id" in error_of(*args)


def test_log_at_another_place(database: Path, log: Path, tmp_path: Path) -> None:
    moved = log.rename(tmp_path / "_delta_log")
    assert "does not exist" in error_of(*DIFF)
    assert dl(*DIFF, "--log-dir", moved)


def test_json_file_beside_text(database: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = dl(*DIFF, "--json-output", report)
    assert done.stdout.startswith("Parity: ")
    assert json.loads(report.read_bytes())["parity"] is True
    done = dl(*DIFF, "--format", "json", "--json-output", report)
    assert json.loads(done.stdout).keys() == json.loads(report.read_bytes()).keys()
    assert json.loads(dl(*DIFF, "--json-output", "-").stdout)["parity"] is True


def test_metrics_have_standard_output_to_themselves(database: Path, tmp_path: Path) -> None:
    """One machine-readable thing at most: the rest goes to standard error."""
    done = dl(*DIFF, "--metrics-format", "prometheus")
    samples_found = [x for x in done.stdout.splitlines() if not x.startswith("#")]
    assert all(re.fullmatch(r"dl_\w+\{.*\} \S+", line) for line in samples_found)
    assert any(x.startswith("dl_file_drift_count{") for x in samples_found)
    assert done.stderr.startswith("Parity: ")

    done = dl(*DIFF, "--metrics-format", "json")
    assert json.loads(done.stdout)["dl_file_drift_count"] == 0
    assert done.stderr.startswith("Parity: ")

    # Two JSON documents would be none.
    done = dl(*DIFF, "--format", "json", "--metrics-format", "json")
    found = json.loads(done.stdout)
    assert (found["parity"], found["metrics"]["dl_file_drift_count"]) == (True, 0)
    done = dl(*DIFF, "--format", "json", "--metrics-format", "prometheus")
    assert json.loads(done.stdout)["parity"] is True
    assert "dl_mirror_lag_seconds{" in done.stderr

    target = tmp_path / "sales.prom"
    arguments = ("--metrics-format", "prometheus", "--metrics-output", target)
    assert dl(*DIFF, *arguments).stdout.startswith("Parity: ")
    assert "dl_version_delta{" in target.read_text()
    arguments = ("--metrics-format", "json", "--metrics-output", target)
    assert "metrics" not in json.loads(dl(*DIFF, "--format", "json", *arguments).stdout)
    assert json.loads(target.read_bytes())["dl_version_delta"] == 0


def test_with_workers_of_its_own(database: Path, log: Path) -> None:
    tamper(log)
    done = process(*DIFF, "--workers", 1)
    # Nothing of Dask, that is.
    assert (done.returncode, told_at_the_end(done.stderr)) == (2, [])
    assert done.stdout.startswith("Drift: ")
