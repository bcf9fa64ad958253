"""The monoid: whatever way a log is cut and put together, every version is the naive one."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from functools import reduce

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deltalakedb.log.commit import ActionReader
from deltalakedb.log.rows import LIVE
from deltalakedb.replay.events import CLOSE, OPEN, Endings, Events, resolve
from deltalakedb.replay.state import RangeState
from tests.replay.generated import (
    Action,
    Key,
    Log,
    add,
    cuts,
    logs,
    naive,
    read,
    remove,
    table_commit,
)

marks = st.lists(st.integers(0, 30), max_size=4)


def replayed(log: Log, first: int, last: int) -> RangeState:
    return RangeState.replay(read(log, first, last), first, last)


def files_at(state: RangeState, version: int) -> dict[Key, tuple[int, str]]:
    """(size, partition values) by key; fails when a key is live twice."""
    found = state.live_at(version).to_pylist()
    by_key = {(r["path"], r["dv_id"]): (r["size"], r["partition_values"]) for r in found}
    assert len(by_key) == len(found)
    return by_key


def naive_files(log: Log, version: int) -> dict[Key, tuple[int, str]]:
    def value(body: Action) -> str:
        found = {k: v or None for k, v in body["partitionValues"].items()}
        return json.dumps(found, separators=(",", ":"), ensure_ascii=False)

    held = naive(log[: version + 1]).files
    return {key: (body["size"], value(body)) for key, body in held.items()}


def assert_same(left: RangeState, right: RangeState) -> None:
    assert (left.first, left.last, left.state) == (right.first, right.last, right.state)
    for name in ("files", "closings", "versions", "changes", "others"):
        assert getattr(left, name).to_pylist() == getattr(right, name).to_pylist(), name


def distributed(states: Sequence[RangeState], buckets: int) -> list[RangeState]:
    """How an import does it: only events meet, bucket by bucket, and each part ends its own."""
    parts = list(range(len(states)))
    split = [state.events(part).buckets(buckets) for part, state in enumerate(states)]
    resolved = [resolve(Events.concat([s[b] for s in split]), parts) for b in range(buckets)]
    return [
        state.end(Endings.concat([r[part] for r in resolved])) for part, state in enumerate(states)
    ]


def joined(states: Sequence[RangeState]) -> RangeState:
    def column(name: str) -> pa.Table:
        return pa.concat_tables([getattr(s, name) for s in states])

    names = ("files", "closings", "versions", "changes", "others")
    return RangeState(
        states[0].first,
        states[-1].last,
        **{name: column(name) for name in names},
        state=tuple(c for s in states for c in s.state),
    )


@given(logs())
def test_every_version_is_that_of_a_naive_replay(log: Log) -> None:
    state = replayed(log, 0, len(log) - 1)
    for version in range(len(log)):
        assert files_at(state, version) == naive_files(log, version)
    starts, ends = (state.files.column(f"{n}_version").to_pylist() for n in ("added", "removed"))
    assert all(start < end for start, end in zip(starts, ends, strict=True))


@given(logs(least=2), marks, st.randoms(use_true_random=False))
@example([table_commit(), [add("a")], [add("a", size=2)], [remove("a")]], [1, 2, 3], None)
@example([table_commit(), [add("a"), add("a", size=2)], [remove("a")], [remove("a")]], [2], None)
def test_any_cut_in_any_grouping_is_the_replay_of_the_whole(
    log: Log, where: list[int], choose: random.Random | None
) -> None:
    whole = replayed(log, 0, len(log) - 1)
    pieces = [replayed(log, first, last) for first, last in cuts(log, where)]
    assert_same(reduce(RangeState.merge, pieces), whole)
    grouped = list(pieces)
    while len(grouped) > 1:
        at = choose.randrange(len(grouped) - 1) if choose else len(grouped) - 2
        grouped[at : at + 2] = [grouped[at].merge(grouped[at + 1])]
    assert_same(grouped[0], whole)


@settings(max_examples=50)
@given(logs(least=2), marks, st.sampled_from([1, 2, 8]))
def test_parts_that_exchange_events_alone_end_like_merged_ones(
    log: Log, where: list[int], buckets: int
) -> None:
    pieces = [replayed(log, first, last) for first, last in cuts(log, where)]
    assert_same(joined(distributed(pieces, buckets)), replayed(log, 0, len(log) - 1))


@settings(max_examples=50)
@given(logs(least=2), st.integers(0, 30))
def test_a_checkpoint_stands_for_the_commits_before_it(log: Log, where: int) -> None:
    base = where % (len(log) - 1)
    reader = ActionReader()
    for position, body in enumerate(naive(log[: base + 1]).files.values()):
        reader.action(base, {"add": body}, position)
    state = RangeState.replay(reader.finish(), base, base).merge(
        replayed(log, base + 1, len(log) - 1)
    )
    for version in range(base, len(log)):
        assert files_at(state, version) == naive_files(log, version)


def only_life(state: RangeState) -> dict[str, object]:
    [row] = state.files.to_pylist()
    return {name: row[name] for name in ("size", "added_version", "removed_version", "removed_at")}


def test_a_remove_ends_a_life_with_its_time_and_is_used_up() -> None:
    state = replayed([table_commit(), [add("a")], [remove("a", at=77)]], 0, 2)
    assert only_life(state) == {
        "size": 1,
        "added_version": 1,
        "removed_version": 2,
        "removed_at": 77,
    }
    assert state.closings.num_rows == 0


def test_a_remove_of_a_file_that_is_not_known_stays_for_the_ranges_before() -> None:
    log = [table_commit(), [add("a")], [remove("a", at=5), remove("b", at=6)]]
    state = replayed(log, 2, 2)
    assert state.files.num_rows == 0
    assert state.closings.column("path").to_pylist() == ["a", "b"]
    merged = replayed(log, 0, 1).merge(state)
    assert merged.closings.column("path").to_pylist() == ["b"]
    assert only_life(merged)["removed_at"] == 5


def test_an_add_of_a_live_file_replaces_it_without_a_time_of_removal() -> None:
    state = replayed([table_commit(), [add("a", size=1)], [add("a", size=2)]], 0, 2)
    first, second = state.files.to_pylist()
    assert (first["size"], first["removed_version"], first["removed_at"]) == (1, 2, None)
    assert (second["size"], second["added_version"], second["removed_version"]) == (2, 2, LIVE)


def test_one_commit_that_removes_and_adds_a_file_leaves_it_live_in_either_order() -> None:
    for commit in ([remove("a"), add("a", size=2)], [add("a", size=2), remove("a")]):
        state = replayed([table_commit(), [add("a")], commit], 0, 2)
        assert files_at(state, 2) == {("a", None): (2, '{"p":null}')}
        assert files_at(state, 1) == {("a", None): (1, '{"p":null}')}


def test_of_two_adds_of_a_file_in_one_commit_the_later_line_stays() -> None:
    state = replayed([table_commit(), [add("a", size=1), add("a", size=2)]], 0, 1)
    assert only_life(state)["size"] == 2


def test_the_same_path_with_another_deletion_vector_is_another_file() -> None:
    state = replayed([table_commit(), [add("a")], [add("a", dv=1), remove("a")]], 0, 2)
    assert [dv for _, dv in files_at(state, 1)] == [None]
    assert [dv is not None for _, dv in files_at(state, 2)] == [True]


def test_a_capped_run_ends_what_is_open_after_its_last_version() -> None:
    log = [table_commit(), [add("a"), add("b")], [remove("a")], [add("c")]]
    state = replayed(log, 0, 3).capped(3)
    for version in range(4):
        assert files_at(state, version) == naive_files(log, version)
    assert files_at(state, 4) == {}
    assert state.files.column("removed_version").to_pylist() == [2, 4, 4]


def test_keys_that_agree_in_their_first_half_alone_are_different_files() -> None:
    events = Events(
        key=np.array([7, 7, 7], dtype=np.int64),
        key2=np.array([1, 2, 1], dtype=np.int64),
        version=np.array([0, 1, 2], dtype=np.int64),
        kind=np.array([OPEN, OPEN, CLOSE], dtype=np.int8),
        part=np.zeros(3, dtype=np.int32),
        row=np.array([0, 1, 0], dtype=np.int64),
        at=np.zeros(3, dtype=np.int64),
    )
    endings = resolve(events, [0])[0]
    assert (endings.rows.tolist(), endings.versions.tolist()) == ([0], [2])
    assert endings.consumed.tolist() == [0]


@pytest.mark.parametrize("count", [1, 2, 16])
def test_buckets_split_events_by_the_key_and_lose_none(count: int) -> None:
    keys = np.random.default_rng(1).integers(-(2**63), 2**63 - 1, 1000, dtype=np.int64)
    rows = np.arange(1000, dtype=np.int64)
    events = Events(
        key=keys,
        key2=keys,
        version=rows,
        kind=np.zeros(1000, dtype=np.int8),
        part=np.zeros(1000, dtype=np.int32),
        row=rows,
        at=rows,
    )
    found = events.buckets(count)
    assert len(found) == count
    assert sorted(np.concatenate([b.row for b in found]).tolist()) == rows.tolist()
    tops = [np.unique(b.key.view(np.uint64) >> np.uint64(60)).tolist() for b in found]
    assert len([t for top in tops for t in top]) == len({t for top in tops for t in top})
    assert all(np.array_equal(np.sort(b.row), b.row) for b in found)
