"""Heads that are apart: how long, and when that is too long."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing.run import import_table
from deltalakedb.parity.run import diff_table
from tests.parity.logs import COMMITS, METADATA, T0, Log, add, live_state

HOUR_MS = 3_600_000


def _now_ms() -> int:
    return time.time_ns() // 10**6


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log.write(tmp_path / "people")


@pytest.fixture
def database(tmp_path: Path) -> str:
    return str(tmp_path / "catalog.sqlite")


@pytest.fixture
def table(log: Log, database: str) -> str:
    return import_table(str(log.table), database=database).table_id


def test_a_log_that_is_ahead(log: Log, table: str, database: str) -> None:
    start = _now_ms() - HOUR_MS
    log.commit(4, [add("e")], start)
    log.commit(5, [add("f")])
    report = diff_table(table, database=database)
    assert (report.exit_code, report.parity, report.compared_version) == (3, True, 3)
    assert 3600 <= report.lag_seconds < 3700
    assert report.metrics()["dl_version_delta"] == -2
    assert "the catalog lacks 2 versions" in report.notes[0]
    assert "dl import" in str(report)
    within = diff_table(table, database=database, lag_threshold_seconds=7200)
    assert (within.exit_code, len(within.notes)) == (0, 1)
    import_table(str(log.table), database=database)
    assert diff_table(table, database=database).exit_code == 0


def test_a_commit_from_the_future_is_lag_all_the_same(log: Log, table: str, database: str) -> None:
    log.commit(4, [add("e")], _now_ms() + HOUR_MS)
    assert diff_table(table, database=database).exit_code == 3


def test_in_commit_timestamps_decide_where_they_are_enabled(tmp_path: Path, database: str) -> None:
    enabled = {"configuration": {"delta.enableInCommitTimestamps": "true"}}
    metadata = {"metaData": METADATA["metaData"] | enabled}
    first = [{"commitInfo": {"inCommitTimestamp": T0}}, COMMITS[0][0], metadata]
    log = Log.write(tmp_path / "timed", [first])
    table = import_table(str(log.table), database=database).table_id
    stamp = {"commitInfo": {"inCommitTimestamp": _now_ms() - HOUR_MS}}
    log.commit(1, [stamp, add("e")], T0)
    assert 3600 <= diff_table(table, database=database).lag_seconds < 3700


def test_drift_and_lag_together_are_drift(log: Log, table: str, database: str) -> None:
    log.commit(4, [add("e")])
    log.change(log.path(2), '"WRITE"', '"MERGE"')
    report = diff_table(table, database=database)
    assert (report.exit_code, report.lag_seconds > 0) == (2, True)


def test_only_a_newer_checkpoint_of_commits_that_are_cleaned_up(
    log: Log, table: str, database: str
) -> None:
    log.checkpoint(9, live_state(), _now_ms() - HOUR_MS)
    report = diff_table(table, database=database)
    assert report.exit_code == 3
    assert 3600 <= report.lag_seconds < 3700


@pytest.mark.parametrize("kept", [0, 2])
def test_a_log_that_no_longer_has_the_catalog_s_version(
    kept: int, log: Log, table: str, database: str
) -> None:
    """Nothing is lost, and nothing can be proven."""
    log.checkpoint(5, live_state())
    log.commit(5, [add("e")])
    for version in range(4 - kept):
        log.path(version).unlink()
    with pytest.raises(DeltaLakeError, match=r"version 3.*any more.*dl import") as raised:
        diff_table(table, database=database)
    assert raised.value.kind is DeltaLakeErrorKind.MISSING_COMMIT


def test_an_unreadable_new_commit_is_an_error(log: Log, table: str, database: str) -> None:
    log.commit(4, [add("e")])
    log.path(4).write_bytes(b"")
    with pytest.raises(DeltaLakeError) as raised:
        diff_table(table, database=database)
    assert raised.value.kind is DeltaLakeErrorKind.CORRUPT_COMMIT


def test_a_catalog_that_is_ahead_of_its_mirror(log: Log, table: str, database: str) -> None:
    """Where the catalog ratifies commits, what the log lacks is not published yet."""
    with Catalog(database) as catalog, catalog.write() as connection:
        connection.exec_driver_sql("UPDATE dl_heads SET authority = 'sql'")
        connection.exec_driver_sql(
            f"UPDATE dl_versions SET commit_time = {_now_ms() - HOUR_MS} WHERE version = 3"
        )
    log.path(3).unlink()
    report = diff_table(table, database=database)
    assert (report.exit_code, report.compared_version, report.missing_commits) == (3, 2, ())
    assert 3600 <= report.lag_seconds < 3700
    assert report.metrics()["dl_version_delta"] == 1
    assert "dl mirror drain" in str(report)
    assert diff_table(table, database=database, lag_threshold_seconds=7200).exit_code == 0


def test_no_version_in_common(tmp_path: Path, database: str) -> None:
    log = Log.write(tmp_path / "people")
    log.checkpoint(2, live_state(COMMITS[:3]))
    table = import_table(str(log.table), database=database, mode="fast").table_id
    for path in (log.path(2), log.path(3), log.path(2, ".checkpoint.parquet")):
        path.unlink()
    report = diff_table(table, database=database)
    assert (report.exit_code, report.compared_version) == (2, None)
    assert "older than what was imported" in report.notes[0]
    assert "no version" in str(report)


def test_bad_arguments(log: Log, table: str, database: str, tmp_path: Path) -> None:
    for threshold in (-1, float("nan")):
        with pytest.raises(DeltaLakeError, match="have to be numbers of at least 0"):
            diff_table(table, database=database, lag_threshold_seconds=threshold)
    with pytest.raises(DeltaLakeError, match="no table nobody"):
        diff_table("nobody", database=database)
    with pytest.raises(DeltaLakeError, match="no catalog"):
        diff_table(table, database=str(tmp_path / "other.sqlite"))
    assert diff_table("people", database=database).table_id == table
