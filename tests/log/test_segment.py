"""Which files of a `_delta_log` have to be read for which versions."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.segment import (
    LogListing,
    Segment,
    full_segment,
    latest_segment,
    list_log,
)

UUID = "80a083e8-7026-4e79-81be-64bd76c43a11"


def commit(version: int) -> str:
    return f"{version:020d}.json"


def classic(version: int) -> str:
    return f"{version:020d}.checkpoint.parquet"


def part(version: int, number: int, count: int) -> str:
    return f"{version:020d}.checkpoint.{number:010d}.{count:010d}.parquet"


def v2(version: int, kind: str = "parquet") -> str:
    return f"{version:020d}.checkpoint.{UUID}.{kind}"


def listing(*names: str, sizes: dict[str, int] | None = None) -> LogListing:
    return list_log([(n, (sizes or {}).get(n, 10), 1000) for n in names], "/t/_delta_log")


def commits(first: int, last: int) -> list[str]:
    return [commit(v) for v in range(first, last + 1)]


def shape(segment: Segment) -> list[tuple[int | None, list[int], int, int]]:
    """Of each run: the version of its base, the commits, first and last version."""
    return [
        (r.base.version if r.base else None, [c.version for c in r.commits], r.first, r.last)
        for r in segment.runs
    ]


def refusal(kind: DeltaLakeErrorKind, build: object, *arguments: object) -> DeltaLakeError:
    assert callable(build)
    with pytest.raises(DeltaLakeError) as caught:
        build(*arguments)
    assert caught.value.kind is kind
    return caught.value


def test_commits_and_checkpoints_alone_are_listed() -> None:
    found = listing(
        *commits(0, 2),
        classic(1),
        f"{0:020d}.{2:020d}.compacted.json",
        f"{1:020d}.crc",
        "_last_checkpoint",
        ".00000000000000000003.json.crc",
        f"{3:020d}.json.tmp",
        f"_staged_commits/{3:020d}.{UUID}.json",
        "3.json",
        "README",
    )
    assert [c.version for c in found.commits] == [0, 1, 2]
    assert [c.names for c in found.checkpoints] == [(classic(1),)]
    assert found.head == 2


def test_commits_are_ordered_by_version_whatever_the_listing_does() -> None:
    found = list_log([(commit(v), v + 5, v + 7) for v in (2, 0, 1)], "x")
    assert [(c.version, c.size, c.modified_ms) for c in found.commits] == [
        (0, 5, 7),
        (1, 6, 8),
        (2, 7, 9),
    ]


@pytest.mark.parametrize(
    "names",
    [[], ["_last_checkpoint"], [part(3, 1, 2)], [f"{0:020d}.{2:020d}.compacted.json"]],
    ids=["nothing", "a hint", "half a checkpoint", "a compacted file"],
)
def test_a_log_without_commit_and_complete_checkpoint_is_empty(names: list[str]) -> None:
    error = refusal(DeltaLakeErrorKind.EMPTY_LOG, listing, *names)
    assert "/t/_delta_log" in error.message


def test_parts_of_a_checkpoint_count_when_all_are_there() -> None:
    found = listing(commit(5), part(5, 2, 3), part(5, 1, 3), part(5, 3, 3), part(4, 1, 2))
    assert [c.names for c in found.checkpoints] == [tuple(part(5, n, 3) for n in (1, 2, 3))]
    assert found.checkpoints[0].size == 30


def test_parts_of_two_checkpoints_of_a_version_are_not_mixed() -> None:
    found = listing(commit(5), part(5, 1, 2), part(5, 2, 3), part(5, 3, 3))
    assert found.checkpoints == ()


def test_a_checkpoint_part_of_no_bytes_is_no_part() -> None:
    names = [part(5, 1, 2), part(5, 2, 2), classic(4)]
    found = listing(commit(5), *names, sizes={part(5, 2, 2): 0, classic(4): 0})
    assert found.checkpoints == ()


def test_newest_first_and_a_uuid_name_before_a_classic_one() -> None:
    found = listing(classic(3), v2(5), classic(5), part(5, 1, 1), v2(4, "json"))
    assert [c.names[0] for c in found.checkpoints] == [
        v2(5),
        part(5, 1, 1),
        classic(5),
        v2(4, "json"),
        classic(3),
    ]


def test_a_fingerprint_tells_one_checkpoint_from_another() -> None:
    same = [listing(classic(5)), listing(classic(5), commit(5))]
    other = [listing(v2(5)), listing(classic(5), sizes={classic(5): 11})]
    prints = [found.checkpoints[0].fingerprint for found in (*same, *other)]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_without_a_checkpoint_all_commits_are_read() -> None:
    log = listing(*commits(0, 3))
    assert shape(latest_segment(log)) == [(None, [0, 1, 2, 3], 0, 3)]
    assert shape(full_segment(log)) == [(None, [0, 1, 2, 3], 0, 3)]


def test_the_newest_state_comes_from_the_newest_checkpoint() -> None:
    log = listing(*commits(0, 6), classic(2), classic(4))
    segment = latest_segment(log)
    assert shape(segment) == [(4, [5, 6], 4, 6)]
    assert [c.version for c in segment.history_only] == [4]
    assert (segment.known_since, segment.head) == (4, 6)


def test_the_full_history_needs_no_checkpoint_where_all_commits_are() -> None:
    log = listing(*commits(0, 6), classic(2), classic(4))
    assert shape(full_segment(log)) == [(None, [0, 1, 2, 3, 4, 5, 6], 0, 6)]


def test_a_checkpoint_may_be_the_head() -> None:
    for names in ([classic(4)], [classic(4), *commits(0, 2)], [classic(4), *commits(3, 4)]):
        assert shape(latest_segment(listing(*names))) == [(4, [], 4, 4)]


def test_an_unreadable_checkpoint_is_replaced_by_an_older_one_or_by_commits() -> None:
    log = listing(*commits(0, 6), classic(2), classic(4))
    newest, older = (c.fingerprint for c in log.checkpoints)
    assert shape(latest_segment(log, {newest})) == [(2, [3, 4, 5, 6], 2, 6)]
    assert shape(latest_segment(log, {newest, older})) == [(None, list(range(7)), 0, 6)]


def test_of_two_checkpoints_of_a_version_the_other_is_tried() -> None:
    log = listing(*commits(5, 6), classic(5), v2(5))
    assert log.checkpoints[0].names == (v2(5),)
    segment = latest_segment(log, {log.checkpoints[0].fingerprint})
    base = segment.runs[0].base
    assert base is not None
    assert base.names == (classic(5),)


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        ([*commits(0, 2), *commits(4, 5)], 3),
        (commits(1, 5), 0),
        ([classic(3), *commits(5, 6)], 4),
        ([*commits(0, 6), classic(7), *commits(9, 9)], 8),
        ([commit(5)], 0),
    ],
)
def test_the_first_missing_commit_is_named(names: list[str], missing: int) -> None:
    for build in (latest_segment, full_segment):
        error = refusal(DeltaLakeErrorKind.MISSING_COMMIT, build, listing(*names))
        assert error.facts["version"] == missing
        assert f"commit {missing} is missing" in error.message
        assert commit(missing) in error.message


def test_when_the_only_checkpoint_is_unreadable_the_reason_is_told() -> None:
    log = listing(classic(3), *commits(4, 5))
    error = refusal(
        DeltaLakeErrorKind.MISSING_COMMIT, latest_segment, log, {log.checkpoints[0].fingerprint}
    )
    assert error.facts["version"] == 0
    assert "no older checkpoint can be read either" in error.message


@pytest.mark.parametrize("build", [latest_segment, full_segment])
def test_an_unreadable_head_is_not_replaced_by_an_older_version(build: object) -> None:
    log = listing(*commits(0, 3), classic(5), classic(2))
    error = refusal(
        DeltaLakeErrorKind.CORRUPT_CHECKPOINT, build, log, {log.checkpoints[0].fingerprint}
    )
    assert error.facts["version"] == 5


def test_both_sides_of_a_gap_can_be_read_when_a_checkpoint_follows_it() -> None:
    log = listing(*commits(0, 3), *commits(6, 9), classic(7))
    segment = full_segment(log)
    assert shape(segment) == [(None, [0, 1, 2, 3], 0, 3), (7, [8, 9], 7, 9)]
    assert [c.version for c in segment.history_only] == [6, 7]
    assert (segment.known_since, segment.head) == (0, 9)


def test_a_checkpoint_just_before_a_chain_is_its_base() -> None:
    log = listing(classic(5), *commits(6, 8), classic(7))
    assert shape(full_segment(log)) == [(5, [6, 7, 8], 5, 8)]


def test_the_oldest_usable_checkpoint_of_a_chain_gives_most_versions() -> None:
    log = listing(*commits(3, 9), classic(4), classic(8))
    segment = full_segment(log)
    assert shape(segment) == [(4, [5, 6, 7, 8, 9], 4, 9)]
    assert [c.version for c in segment.history_only] == [3, 4]
    oldest = log.checkpoints[-1].fingerprint
    again = full_segment(log, {oldest})
    assert shape(again) == [(8, [9], 8, 9)]
    assert [c.version for c in again.history_only] == [3, 4, 5, 6, 7, 8]


def test_checkpoints_beside_no_commits_are_versions_of_their_own() -> None:
    log = listing(classic(2), classic(4), classic(7), *commits(8, 9))
    assert shape(full_segment(log)) == [(2, [], 2, 2), (4, [], 4, 4), (7, [8, 9], 7, 9)]


def test_two_checkpoints_of_a_lone_version_are_one_run() -> None:
    log = listing(classic(2), v2(2), *commits(8, 9), classic(8))
    found = full_segment(log)
    assert shape(found) == [(2, [], 2, 2), (8, [9], 8, 9)]
    assert found.runs[0].base is not None
    assert found.runs[0].base.names == (v2(2),)


def test_commits_before_a_gap_without_a_base_are_history_only() -> None:
    log = listing(*commits(3, 4), *commits(8, 9), classic(8))
    segment = full_segment(log)
    assert shape(segment) == [(8, [9], 8, 9)]
    assert [c.version for c in segment.history_only] == [3, 4, 8]


names = st.sets(st.integers(0, 9), min_size=1).flatmap(
    lambda present: st.sets(st.integers(0, 9), max_size=4).map(
        lambda bases: ([commit(v) for v in present], [classic(v) for v in bases])
    )
)


def buildable(commit_versions: Iterable[int], bases: Iterable[int]) -> set[int]:
    """Versions that some base and the commits after it give, by trying them all."""
    have, found = set(commit_versions), set()
    for start in [-1, *bases]:
        if start >= 0:
            found.add(start)
        version = start + 1
        while version in have:
            found.add(version)
            version += 1
    return found


@given(names)
def test_every_version_that_can_be_built_is_and_no_other(
    drawn: tuple[list[str], list[str]],
) -> None:
    log = listing(*drawn[0], *drawn[1])
    have = {c.version for c in log.commits}
    expected = buildable(have, [c.version for c in log.checkpoints])
    if log.head not in expected:
        for build in (latest_segment, full_segment):
            error = refusal(DeltaLakeErrorKind.MISSING_COMMIT, build, log)
            assert error.facts["version"] not in have
        return
    segment = full_segment(log)
    spans = [range(r.first, r.last + 1) for r in segment.runs]
    readable = [version for span in spans for version in span]
    assert readable == sorted(set(readable))
    assert set(readable) == expected
    replayed = [c.version for r in segment.runs for c in r.commits]
    beside = [c.version for c in segment.history_only]
    assert sorted(replayed + beside) == sorted(have)
    latest = latest_segment(log)
    assert latest.head == segment.head == log.head
    for run in (*segment.runs, *latest.runs):
        start = run.first if run.base is None else run.base.version + 1
        assert [c.version for c in run.commits] == list(range(start, run.last + 1))
