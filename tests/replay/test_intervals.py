"""Metadata, protocol, transactions and domains over versions; commit times."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltalakedb.log.commit import StateChange
from deltalakedb.log.rows import LIVE
from deltalakedb.replay.intervals import (
    StateInterval,
    at_version,
    commit_times,
    state_intervals,
)
from tests.replay.generated import Log, logs, naive, read


def held(intervals: Iterable[StateInterval], version: int) -> dict[tuple[str, str], Any]:
    found = at_version(intervals, version)
    by_key = {(i.action, i.key): i.body for i in found}
    assert len(by_key) == len(found)
    return by_key


@settings(max_examples=50)
@given(logs(most=10))
def test_at_every_version_the_newest_action_of_a_key_holds(log: Log) -> None:
    intervals = state_intervals(read(log, 0, len(log) - 1).state)
    assert all(i.added_version < i.removed_version for i in intervals)
    for version in range(len(log)):
        state = naive(log[: version + 1])
        found = held(intervals, version)
        assert found.pop(("metaData", "")) == state.metadata
        assert found.pop(("protocol", "")) == state.protocol
        assert {k[1]: b for k, b in found.items() if k[0] == "txn"} == state.txns
        domains = {k[1]: b["configuration"] for k, b in found.items() if k[0] == "domainMetadata"}
        assert domains == state.domains
        assert len(found) == len(state.txns) + len(state.domains)


def txn(at: int, version: int) -> StateChange:
    return StateChange(at, "txn", "app", {"appId": "app", "version": version})


def domain(at: int, *, removed: bool) -> StateChange:
    body = {"domain": "d", "configuration": "{}", "removed": removed}
    return StateChange(at, "domainMetadata", "d", body)


def spans(intervals: Iterable[StateInterval]) -> list[tuple[int, int]]:
    return sorted((i.added_version, i.removed_version) for i in intervals)


def test_the_latest_transaction_wins_not_the_greatest() -> None:
    intervals = state_intervals([txn(3, version=9), txn(5, version=2)])
    assert spans(intervals) == [(3, 5), (5, LIVE)]
    assert held(intervals, 5)["txn", "app"]["version"] == 2


def test_changes_may_come_in_any_order() -> None:
    assert spans(state_intervals([txn(5, 1), txn(3, 1)])) == [(3, 5), (5, LIVE)]


def test_a_removed_domain_ends_and_may_begin_again() -> None:
    changes = [domain(1, removed=False), domain(4, removed=True), domain(6, removed=False)]
    assert spans(state_intervals(changes)) == [(1, 4), (6, LIVE)]


def test_a_domain_that_is_removed_first_never_was() -> None:
    assert state_intervals([domain(2, removed=True)]) == []


@pytest.mark.parametrize("later", [[], [txn(10, 2)]], ids=["nothing", "something"])
def test_what_is_open_at_a_gap_ends_there(later: list[StateChange]) -> None:
    """Also when the run after the gap says nothing of its own: it isn't known to hold there."""
    intervals = state_intervals([txn(1, 1), *later], caps=[4])
    assert spans(intervals) == [(1, 5), *((c.version, LIVE) for c in later)]


def test_each_of_several_gaps_ends_what_was_open_before_it() -> None:
    intervals = state_intervals([txn(1, 1), txn(10, 2), txn(20, 3)], caps=[12, 4])
    assert spans(intervals) == [(1, 5), (10, 13), (20, LIVE)]


def test_a_gap_that_only_a_later_change_reveals_ends_things_at_the_first_cap() -> None:
    assert spans(state_intervals([txn(1, 1), txn(30, 2)], caps=[4, 20])) == [(1, 5), (30, LIVE)]


def metadata(at: int, until: int = LIVE, in_commit: str | None = None) -> StateInterval:
    configuration = {"delta.enableInCommitTimestamps": in_commit} if in_commit else {}
    return StateInterval("metaData", "", {"configuration": configuration}, at, until)


def test_file_times_are_made_strictly_monotone() -> None:
    commits = [(0, 100, None), (1, 90, None), (2, 90, None), (3, 101, None), (4, 500, None)]
    assert commit_times(commits, [metadata(0)]) == [100, 101, 102, 103, 500]


def test_the_commit_before_a_range_counts() -> None:
    assert commit_times([(5, 10, None)], [metadata(0)], before=40) == [41]


def test_in_commit_times_count_from_the_version_that_enables_them() -> None:
    intervals = [metadata(0, 2), metadata(2, in_commit="true")]
    commits = [(0, 1000, 5), (1, 1001, 6), (2, 2000, 1500), (3, 9, 1600)]
    assert commit_times(commits, intervals) == [1000, 1001, 1500, 1600]


def test_after_in_commit_times_are_disabled_file_times_count_again() -> None:
    intervals = [metadata(0, 1, "true"), metadata(1)]
    assert commit_times([(0, 1, 70), (1, 60, 1)], intervals) == [70, 71]


def test_a_commit_without_the_promised_time_takes_its_files() -> None:
    assert commit_times([(0, 30, None)], [metadata(0, in_commit="true")]) == [30]


@pytest.mark.parametrize("value", ["TRUE", "True"])
def test_the_property_is_a_boolean_in_any_case(value: str) -> None:
    assert commit_times([(0, 30, 7)], [metadata(0, in_commit=value)]) == [7]


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=12))
def test_without_in_commit_times_all_times_differ_and_none_is_before_its_file(
    files: list[tuple[int, bool]],
) -> None:
    commits = [(v, time, 1 if odd else None) for v, (time, odd) in enumerate(files)]
    times = commit_times(commits, [metadata(0)])
    assert times == sorted(set(times))
    assert all(time >= file for time, (_, file, _) in zip(times, commits, strict=True))
