"""Jobs as whoever submits them has them: processes of their own, their codes, their reports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

from deltalakedb import diff_table

ROOT = Path(__file__).resolve().parents[2]


def run(job: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"jobs.{job}", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_tables_are_imported_proven_and_told_of(tables: ModuleType, tmp_path: Path) -> None:
    first = tables.copy("dat-basic_partitioned", tmp_path)
    second = tables.copy("dat-with_checkpoint", tmp_path)
    database = str(tmp_path / "meta.sqlite")
    listed = tmp_path / "tables.txt"
    listed.write_text(f"# what to import\nsales.orders\t{first}\n{tmp_path / 'no-such'}\n")
    summary = tmp_path / "summary.json"
    done = run(
        "import_tables",
        *("--database", database, "--from-file", str(listed), "--summary", str(summary)),
        *("--log-format", "json", str(second)),
    )
    # One table that isn't there stops no other, and the exit code says that something failed.
    assert done.returncode == 1, done.stderr
    told = json.loads(summary.read_text())
    assert {t["table"]: t["status"] for t in told["tables"]} == {
        "dat-with_checkpoint": "imported",
        "sales.orders": "imported",
        str(tmp_path / "no-such"): "failed",
    }
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert {"ts", "level", "event", "table", "duration_s"} <= lines[1].keys()
    assert lines[0]["event"] == "import_tables begins"
    assert [line["error_kind"] for line in lines if line["level"] == "error"] == ["not_found"]

    junit, metrics = tmp_path / "junit.xml", tmp_path / "dl.prom"
    swept = run(
        "parity_sweep",
        *("--junit-xml", str(junit), "--metrics-textfile", str(metrics)),
        DL_DATABASE=database,
    )
    assert swept.returncode == 0, swept.stderr
    suite = ElementTree.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "0")
    text = metrics.read_text()
    assert 'table="sales.orders"' in text
    assert "dl_parity_last_verified_timestamp_seconds{table_id=" in text
    assert "dl_sweep_last_success_timestamp_seconds" in text
    assert 'dl_job_exit_code{job_name="parity_sweep"} 0.0' in text

    next((first / "_delta_log").glob("*1.json")).unlink()
    drifted = run("parity_sweep", "sales.*", "--junit-xml", str(junit), DL_DATABASE=database)
    assert drifted.returncode in (1, 2), drifted.stderr
    assert ElementTree.parse(junit).getroot().get("failures") == "1"


def test_a_deadline_leaves_tables_stale(tables: ModuleType, tmp_path: Path) -> None:
    table = tables.copy("dat-basic_partitioned", tmp_path)
    database = str(tmp_path / "meta.sqlite")
    assert run("history_replay", "--database", database, str(table)).returncode == 0
    summary = tmp_path / "summary.json"
    swept = run(
        "parity_sweep",
        *("--database", database, "--deadline", "0.000001", "--summary", str(summary)),
    )
    assert swept.returncode == 75, swept.stderr
    assert json.loads(summary.read_text())["left"] == ["dat-basic_partitioned"]


def test_a_cluster_does_the_work(tables: ModuleType, tmp_path: Path) -> None:
    table = tables.copy("dat-basic_partitioned", tmp_path)
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text("cluster: {kind: local, workers: 1}\n")
    database = str(tmp_path / "meta.sqlite")
    done = run("history_replay", "--database", database, "--cluster", str(cluster), str(table))
    assert done.returncode == 0, done.stderr
    assert diff_table("dat-basic_partitioned", database=database).parity


def test_what_is_wrong_ends_with_its_code(tmp_path: Path) -> None:
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text("cluster: {kind: lokal}\n")
    database = str(tmp_path / "meta.sqlite")
    wrong = run("import_tables", "--database", database, "--cluster", str(cluster), "/x")
    assert (wrong.returncode, "did you mean 'local'" in wrong.stderr) == (78, True), wrong.stderr
    nothing = run("import_tables", "--database", database)
    assert nothing.returncode == 78, nothing.stderr
    for option in ("--summary", "--html"):
        lost = run("parity_sweep", "--database", database, option, str(tmp_path / "no" / "file"))
        assert (lost.returncode, "there is no directory" in lost.stderr) == (78, True), lost.stderr


def test_a_run_without_its_database_is_no_success(tmp_path: Path) -> None:
    told = {n: tmp_path / n for n in ("summary", "junit-xml", "metrics-textfile")}
    url = "postgresql://u:hush@127.0.0.1:1/d"
    files = [part for name, path in told.items() for part in (f"--{name}", str(path))]
    away = run("parity_sweep", "--database", url, *files)
    assert away.returncode == 75, away.stderr
    texts = {name: path.read_text() for name, path in told.items()}
    assert "hush" not in away.stderr + away.stdout + "".join(texts.values())
    summary = json.loads(texts["summary"])
    assert summary["exit_code"] == 75
    assert "Connection refused" in summary["error"]
    suite = ElementTree.fromstring(texts["junit-xml"])
    assert (suite.get("tests"), suite.get("errors"), len(list(suite.iter("error")))) == (
        ("1", "1", 1)
    )
    assert 'dl_job_exit_code{job_name="parity_sweep"} 75.0' in texts["metrics-textfile"]
    assert "last_success" not in texts["metrics-textfile"]


def test_a_job_has_a_configuration(tables: ModuleType, tmp_path: Path) -> None:
    table = tables.copy("dat-basic_partitioned", tmp_path)
    (tmp_path / "url").write_text(f"{tmp_path / 'meta.sqlite'}\n")
    config = tmp_path / "c.yaml"
    config.write_text(
        f"database: {{url: '${{file:{tmp_path}/url}}'}}\n"
        f"logging: {{structured: true, file: {tmp_path}/jobs.log}}\n"
    )
    done = run("import_tables", "--config", str(config), str(table))
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "jobs.log").read_text().splitlines()]
    assert [line["step"] for line in lines if "step" in line] == ["import", "imported"]
    config.write_text("migratoin: {}")
    wrong = run("import_tables", "--config", str(config), str(table))
    assert (wrong.returncode, "did you mean 'migration'" in wrong.stderr) == (78, True)


def test_sigterm_ends_a_job(tmp_path: Path) -> None:
    summary = tmp_path / "summary.json"
    log = tmp_path / "t" / "_delta_log"
    log.mkdir(parents=True)
    os.mkfifo(log / "00000000000000000000.json")  # a log whose first commit never comes
    command = ("import_tables", "--database", str(tmp_path / "m.sqlite"), str(log.parent))
    process = subprocess.Popen(
        [sys.executable, "-m", f"jobs.{command[0]}", *command[1:], "--summary", str(summary)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "begins" in process.stderr.readline()
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 143, err
    assert "Traceback" not in err
    assert json.loads(summary.read_text())["exit_code"] == 143
