"""Jobs for fleets: migrate, sweep and maintain, as processes; the rules that watch them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from jobs.metrics import registry_of
from jobs.outcome import Summary, TableOutcome
from jobs.standing import Standing, read_standing
from tests.conftest import IN_CI
from tests.fleet.logs import fleet_of, write_data
from tests.jobs.test_jobs import ROOT, run

RULES = ROOT / "docker" / "prometheus"


def test_tables_come_in_are_swept_and_maintained(tmp_path: Path) -> None:
    lake, database = tmp_path / "lake", str(tmp_path / "m.sqlite")
    tables = fleet_of(lake, 3)
    for table in tables:
        write_data(table)
    broken = tables[1] / "_delta_log" / f"{1:020d}.json"
    whole = broken.read_bytes()
    broken.unlink()
    summary, metrics = tmp_path / "s.json", tmp_path / "dl.prom"
    common = ("--database", database, "--summary", str(summary))
    first = run("migrate", *common, "--discover", str(lake), "--log-format", "json")
    assert first.returncode == 1, first.stderr
    lines = [json.loads(line) for line in first.stderr.splitlines()]
    of_run = [line for line in lines if "run_id" in line]
    assert len({line["run_id"] for line in of_run}) == 1
    for name, ends in (("t000", "imported"), ("t001", "failed"), ("t002", "imported")):
        mine = [line for line in of_run if line.get("table") == name]
        assert [line["step"] for line in mine] == ["import", ends]
        assert mine[1]["event"].startswith(ends)
        assert "duration_s" in mine[1]
    [bad] = [line for line in of_run if line["level"] == "error"]
    assert bad["error_kind"] == "missing_commit"
    assert f"{1:020d}" in bad["event"]
    told = {t["table"]: t["status"] for t in json.loads(summary.read_text())["tables"]}
    assert told == {"t000": "imported", "t001": "failed", "t002": "imported"}
    broken.write_bytes(whole)
    told_by = ("--metrics-textfile", str(metrics))
    # What it isn't told the configuration says.
    configuration = tmp_path / "dl.yaml"
    configuration.write_text(f"tables: {{discover: {lake}, namespace: shop}}\n")
    again = run("migrate", *common, *told_by, "--config", str(configuration), "--retry-failed")
    assert again.returncode == 0, again.stderr
    assert metrics.read_text().count('dl_migration_state{state="following"') == 3

    html = tmp_path / "night.html"
    swept = run("parity_sweep", *common, "--html", str(html), "--metrics-textfile", str(metrics))
    assert swept.returncode == 0, swept.stderr
    assert "All 3 tables say what their logs say." in html.read_text()
    text = metrics.read_text()
    assert text.count("dl_parity_last_verified_timestamp_seconds{") == 3
    (tables[0] / "_delta_log" / f"{2:020d}.json").unlink()
    drifted = run("parity_sweep", *common, "--metrics-textfile", str(metrics))
    assert drifted.returncode == 2, drifted.stderr
    found = {t["table"]: t for t in json.loads(summary.read_text())["tables"]}
    assert found["t000"]["error_kind"] == "commit-lost"
    # A sweep that found drift has done its work; what is drifting is told by table.
    text = metrics.read_text()
    assert "dl_sweep_last_success_timestamp_seconds" in text
    assert re.search(r'dl_table_drift\{table_id="[^"]+"\} 1\.0', text)

    # One that can't begin leaves what was known: stale, and drifting still.
    cluster = tmp_path / "cluster.yaml"
    # This one fails as no cluster should.
    broken_by = "class: fractions.Fraction, options: {numerator: 1, denominator: 0}"
    cluster.write_text(f"cluster: {{kind: class, {broken_by}}}\n")
    told_by = ("--metrics-textfile", str(metrics), "--cluster", str(cluster))
    assert run("parity_sweep", *common, *told_by).returncode == 1
    assert "ZeroDivisionError" in json.loads(summary.read_text())["error"]
    text = metrics.read_text()
    assert len(re.findall(r"dl_table_stale\{.*\} 1\.0", text)) == 3
    assert len(re.findall(r"dl_table_drift\{.*\} 1\.0", text)) == 1
    assert len(re.findall(r"dl_table_drift\{", text)) == 1
    assert "dl_sweep_last_success_timestamp_seconds" not in text

    due = run("maintain", *common, "--dry-run", "t002")
    assert due.returncode == 0, due.stderr
    [only] = json.loads(summary.read_text())["tables"]
    assert only["table"] == "t002"
    assert {"what", "due", "why"} <= only["facts"]["maintenance"][0].keys()


def test_what_was_left_ages_on() -> None:
    summary = Summary("parity_sweep")
    facts = {"table_id": "7", "file_drift": 0, "lag_seconds": 0.0, "proven_at": 5_000}
    summary.left.append("t")
    summary.left_facts["t"] = facts
    summary.outcomes.append(TableOutcome("u", "parity", facts={**facts, "table_id": "8"}))
    registry = registry_of(summary)
    name = "dl_parity_last_verified_timestamp_seconds"
    assert registry.get_sample_value(name, {"table_id": "7"}) == 5
    assert registry.get_sample_value("dl_table_info", {"table_id": "7", "table": "t"}) == 1
    assert registry.get_sample_value("dl_sweep_last_success_timestamp_seconds") is None


def test_what_waits_and_who_passed_is_told(tmp_path: Path) -> None:
    [table] = fleet_of(tmp_path / "lake", 1)
    database = str(tmp_path / "m.sqlite")
    summary = tmp_path / "s.json"
    common = ("--database", database, "--summary", str(summary))
    moved = run("migrate", *common, "--until", "sql", str(table))
    assert moved.returncode == 0, moved.stderr
    [done] = json.loads(summary.read_text())["tables"]
    assert done["status"] == "sql"
    table_id = done["facts"]["table_id"]
    told = tmp_path / "dl.prom"
    drained = run("mirror_drain", "--database", database, "--metrics-textfile", str(told))
    assert drained.returncode == 0, drained.stderr
    text, of = told.read_text(), f'{{table_id="{table_id}"}}'
    assert f"dl_mirror_outbox_size{of} 0.0" in text
    assert f"dl_mirror_oldest_unpublished_seconds{of} 0.0" in text
    assert 'table="t000"' in text
    assert "dl_commit_duration_seconds_count" in text
    standing = read_standing(database)
    assert standing.cutovers == {"fenced": 1}
    registry = registry_of(Summary("migrate"), standing)
    outcome = {"outcome": "fenced"}
    assert registry.get_sample_value("dl_cutover_attempts_total", outcome) == 1
    passed = {"table_id": table_id}
    assert registry.get_sample_value("dl_fence_bypass_total", passed) == 0


def test_rules_ask_for_what_is_there() -> None:
    facts = {"table_id": "8", "file_drift": 0, "lag_seconds": 0.0, "proven_at": 5_000}
    done = Summary("parity_sweep", outcomes=[TableOutcome("u", "parity", facts=facts)])
    runs = (done, Summary("mirror_drain"), Summary("migrate"))
    standing = Standing({"8": "u"}, {"8": 2}, {"8": 90.0}, {"8": 1}, {"fenced": 1, "lost": 4})
    known = {
        sample.name
        for run in runs
        for metric in registry_of(run, standing).collect()
        for sample in metric.samples
    }
    asked = set(re.findall(r"\bdl_\w+", (RULES / "rules.yaml").read_text()))
    assert asked
    assert asked <= known


@pytest.mark.system
def test_rules_fire_when_they_should() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        advice = "no promtool for the rules: `apt-get install prometheus`"
        (pytest.fail if IN_CI else pytest.skip)(advice)
    for command in (("check", "rules", "rules.yaml"), ("test", "rules", "rules.test.yaml")):
        done = subprocess.run(
            [str(promtool), *command], cwd=RULES, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stdout + done.stderr
