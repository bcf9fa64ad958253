"""Every sample table, through the commands alone: import, show, files, history."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import dl, dl_json, dl_lines, error_of
from tests.tables import samples
from tests.tables.compare import facts_of_files

MODES = ("fast", "full-history")


@pytest.fixture(scope="module", params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def catalog(mode: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One catalog for all tables."""
    return tmp_path_factory.mktemp(mode) / "catalog.sqlite"


def read(catalog: Path, table: str, version: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """All facts of a version that can be compared, and its files."""
    at = ("--database", catalog, "--version", version)
    shown = dl_json("show", table, *at)
    files = dl_lines("files", table, *at)
    rows = [{**file, "dv": file["deletion_vector"]} for file in files]
    facts = facts_of_files(rows)
    assert (shown["num_files"], shown["total_bytes"]) == (facts["num_files"], facts["total_bytes"])
    facts |= {
        "schema": json.loads(shown["schema_string"] or "null"),
        "partition_columns": shown["partition_columns"],
        "configuration": shown["configuration"],
        "metadata": shown["metadata"],
        "protocol": shown["protocol"],
        "txns": shown["txns"],
        "domain_metadata": shown["domains"],
    }
    return facts, files


@pytest.mark.parametrize("name", samples.names("valid"))
def test_valid_table(name: str, mode: str, catalog: Path, tmp_path: Path) -> None:
    expected = samples.expected(name)
    report = tmp_path / "import.json"
    dl(
        *("import", "--database", catalog, "--log-dir", samples.path(name) / "_delta_log"),
        *("--mode", mode, "--json-output", report),
    )
    result = json.loads(report.read_bytes())
    assert result["to_version"] == expected["latest_version"]
    for version in samples.versions(name):
        if version < result["known_since"]:
            at = ("--database", catalog, "--version", version)
            assert "older than what was imported" in error_of("show", name, *at)
            continue
        facts, files = read(catalog, name, version)
        assert samples.differences(name, version, facts) == []
        compare_details(expected, version, files)
    compare_history(expected, dl_lines("history", name, "--database", catalog), result)


def compare_details(expected: Any, version: int, files: list[dict[str, Any]]) -> None:
    """What stands beside a file in the log; the route decides about statistics in some tables."""
    facts = expected["versions"][str(version)]
    if "file_details" not in facts or expected["path_dependent"] or expected["alternatives"]:
        return
    wanted = {
        (file["path"], file["dv"]): (details["modification_time"], details["stats"])
        for file, details in zip(facts["files"], facts["file_details"], strict=True)
    }
    for file in files:
        modification_time, stats = wanted[file["path"], file["deletion_vector"]]
        assert file["modification_time"] == modification_time
        # A checkpoint may write the same statistics with other spaces, or only as a struct.
        if stats is not None:
            assert json.loads(file["stats"]) == json.loads(stats)


def compare_history(expected: Any, found: list[dict[str, Any]], result: Any) -> None:
    versions = [commit["version"] for commit in found]
    assert versions == sorted(versions, reverse=True)
    assert versions[0] == expected["latest_version"]
    by_version = {commit["version"]: commit for commit in found}
    for commit in expected["history"]:
        if commit["version"] not in by_version:
            assert commit["version"] <= result["known_since"]
            continue
        ours = by_version[commit["version"]]
        if ours["num_adds"] is None:
            assert ours["version"] == result["checkpoint_version"]
            continue
        assert ours["num_adds"] == commit["actions"].get("add", 0)
        assert ours["num_removes"] == commit["actions"].get("remove", 0)
        for fact in ("operation", "engine_info", "txn_id", "in_commit_timestamp"):
            assert ours[fact] == commit[fact], fact
        if commit["timestamp"] is not None:
            assert ours["timestamp"] == commit["timestamp"]


@pytest.mark.parametrize("name", samples.names("reject"))
def test_table_to_reject(name: str, mode: str, catalog: Path) -> None:
    expected = samples.expected(name)
    log = samples.path(name) / "_delta_log"
    error_of("import", "--database", catalog, "--log-dir", log, "--mode", mode)
    assert f"no table {name}" in error_of("show", name, "--database", catalog), expected["reject"]
