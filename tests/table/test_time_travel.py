"""Versions and timestamps: which version, which files, and what is refused."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.table.moment import Timestamp, milliseconds
from tests.table.opening import (
    GrowingTable,
    add,
    asked,
    committed_ms,
    first_actions,
    open_table,
    remove,
)
from tests.tables import samples


def replayed(table: Path) -> list[set[str]]:
    """The live paths at each version, by replaying the log naively."""
    live: set[str] = set()
    versions = []
    for commit in sorted((table / "_delta_log").glob("*.json")):
        actions = [json.loads(line) for line in commit.read_text().splitlines()]
        live = live - {a["remove"]["path"] for a in actions if "remove" in a}
        live |= {a["add"]["path"] for a in actions if "add" in a}
        versions.append(live)
    return versions


def test_every_version_has_its_files(shared: str, generated: Path) -> None:
    table = open_table(shared)
    for version, paths in enumerate(replayed(generated)):
        snapshot = table.snapshot(version)
        assert set(snapshot.plan(None, ["path"])["path"].to_pylist()) == paths
        assert len(snapshot.files) == len(paths)
        found = snapshot.partition_summary()
        assert sum(files for _, files, _ in found) == len(paths)
        assert sum(size for _, _, size in found) == snapshot.total_bytes
    assert table.version == 20


def test_an_older_version_costs_as_little_as_the_newest(shared: str) -> None:
    table = open_table(shared)
    table.snapshot(9).plan(None, ["path"])  # whose list is kept, also from tests before
    with asked(table) as statements:
        table.snapshot(9).plan("date = DATE '2024-01-02'")
    # The head, whether it can be read, the metadata and protocol then, the files.
    assert len(statements) == 5
    assert not statements.streams


def test_a_timestamp_means_the_newest_version_until_then(tmp_path: Path, catalog_url: str) -> None:
    made = GrowingTable(tmp_path, catalog_url)
    made.commit(*first_actions(), add("a"))
    made.commit(add("b"))
    made.commit(add("c"))
    made.imported()
    table = made.open()
    at = committed_ms(1)
    moment = dt.datetime.fromtimestamp(at / 1000, dt.UTC)
    for same in (at, at + 59_999, moment, moment.isoformat(), moment.replace(tzinfo=None)):
        assert table.snapshot(timestamp=same).version == 1, same
    zoned = moment.astimezone(dt.timezone(dt.timedelta(hours=5))).isoformat()
    assert table.snapshot(timestamp=zoned).version == 1
    assert table.snapshot(timestamp=at - 1).version == 0
    assert table.snapshot(timestamp="2100-01-01").version == 2
    assert table.snapshot(timestamp=dt.date(2100, 1, 1)).version == 2
    with pytest.raises(DeltaLakeError, match="has no version at 2023-11-14T22:13:19") as caught:
        table.snapshot(timestamp=committed_ms(0) - 1)
    assert caught.value.kind is DeltaLakeErrorKind.VERSION_NOT_FOUND


def test_in_commit_timestamps_decide_from_where_they_are_enabled(
    tmp_path: Path, catalog_url: str
) -> None:
    """PROTOCOL.md, In-Commit Timestamps: before the enablement version file times count."""
    made = GrowingTable(tmp_path, catalog_url)
    made.commit(*first_actions(), add("a"))
    enabled = committed_ms(0) + 500_000_000
    configuration = {
        "delta.enableInCommitTimestamps": "true",
        "delta.inCommitTimestampEnablementVersion": "1",
        "delta.inCommitTimestampEnablementTimestamp": str(enabled),
    }
    for version in (1, 2):
        info = {"commitInfo": {"inCommitTimestamp": enabled + (version - 1) * 1000}}
        made.commit(
            info, *(first_actions(**configuration) if version == 1 else []), add(f"f{version}")
        )
    made.imported()
    table = made.open()
    assert [table.snapshot(timestamp=enabled + ms).version for ms in (-1, 0, 999, 1000)] == [
        0,
        1,
        1,
        2,
    ]
    assert table.snapshot(timestamp=committed_ms(2)).version == 0
    newest = table.history(1)[0]
    assert newest["in_commit_timestamp"] == newest["commit_time"] == enabled + 1000
    assert newest["file_time"] == committed_ms(2)


def test_what_was_not_imported_is_refused_with_the_reason(tmp_path: Path) -> None:
    name = "golden-basic-with-inserts-deletes-checkpoint"
    made = GrowingTable(tmp_path, f"sqlite:///{tmp_path}/catalog.sqlite")
    made.folder = samples.copy(name, tmp_path / "copied")
    made.imported(mode="fast", table_name="sales")
    table = made.open()
    assert (table.known_since, table.version) == (10, 13)
    assert len(table.snapshot(13).files) == samples.expected(name)["versions"]["13"]["num_files"]
    with pytest.raises(DeltaLakeError, match="full-history") as caught:
        table.snapshot(9)
    assert caught.value.kind is DeltaLakeErrorKind.VERSION_NOT_FOUND
    assert caught.value.facts["known_since"] == 10
    with pytest.raises(
        DeltaLakeError, match=r"has no version at .*the oldest that can be read, 10"
    ):
        table.snapshot(timestamp=table.history()[-1]["commit_time"] - 1)
    for version in (14, -1):
        with pytest.raises(DeltaLakeError, match="its newest is 13"):
            table.snapshot(version)
    with pytest.raises(DeltaLakeError, match="not both"):
        table.snapshot(10, 1_700_000_000_000)


@pytest.mark.parametrize(
    "value", [True, "yesterday", 1.5, [2024], np.datetime64("NaT"), np.float64(1), np.True_]
)
def test_what_is_no_timestamp_is_refused(value: Timestamp) -> None:
    with pytest.raises(DeltaLakeError, match="is no timestamp"):
        milliseconds(value)


@pytest.mark.parametrize("value", ["1", 1.0, True, dt.date(2024, 1, 1)])
def test_what_is_no_version_is_refused(shared: str, value: Any) -> None:
    with pytest.raises(DeltaLakeError, match="is no version") as caught:
        open_table(shared).snapshot(value)
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT


def test_a_version_may_be_a_number_of_numpy(shared: str) -> None:
    version = open_table(shared).snapshot(np.int64(7)).version
    assert type(version) is int
    assert version == 7


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(7), 7),
        (np.uint64(2**64 - 1), 2**63 - 1),
        (-(2**70), -(2**63 - 1)),
        (np.datetime64("2024-05-01T12:00:00.123456"), 1_714_564_800_123),
        (np.datetime64("2024-05-01"), 1_714_521_600_000),
    ],
)
def test_numbers_at_the_edges_and_numpys_are_timestamps(value: Any, expected: int) -> None:
    assert (found := milliseconds(value)) == expected
    assert type(found) is int


@pytest.mark.parametrize("value", [-(2**63), -62_135_596_800_001, 2**63, 253_402_300_800_000])
def test_moments_beyond_pythons_years(shared: str, value: int) -> None:
    table = open_table(shared)
    if value > 0:
        assert table.snapshot(timestamp=value).version == table.version
        return
    with pytest.raises(DeltaLakeError, match="ms since 1970") as caught:
        table.snapshot(timestamp=value)
    assert caught.value.kind is DeltaLakeErrorKind.VERSION_NOT_FOUND


def test_state_that_came_and_went_is_that_of_the_version(tmp_path: Path, catalog_url: str) -> None:
    made = GrowingTable(tmp_path, catalog_url)
    made.commit(*first_actions(), add("a"), {"txn": {"appId": "etl", "version": 7}})
    metadata = {**first_actions()[1]["metaData"], "configuration": {"x": "y"}, "name": "renamed"}
    made.commit({"metaData": metadata}, {"txn": {"appId": "etl", "version": 3}}, remove("a"))
    made.imported()
    table = made.open()
    old, new = table.snapshot(0), table.snapshot(1)
    assert (old.metadata.configuration, new.metadata.configuration) == ({}, {"x": "y"})
    assert (old.metadata.name, new.metadata.name) == (None, "renamed")
    assert old.transactions == {"etl": {"version": 7, "last_updated": None}}
    assert new.transactions == {"etl": {"version": 3, "last_updated": None}}
    assert (len(old.files), len(new.files), old.total_bytes) == (1, 0, 100)
