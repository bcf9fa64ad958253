"""What log cleanup removes, as a table of logs."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltalakedb.log.protocol import Protocol
from deltalakedb.log.table_properties import DAY_MS
from deltalakedb.replay.retention import (
    Cleanup,
    LogObject,
    cutoff,
    first_checkpoint_version,
    log_cleanup,
)

NOW = 100 * DAY_MS + 7
UUID = "12345678-1234-1234-1234-123456789abc"


def commit(version: int) -> str:
    return f"{version:020d}.json"


def single(version: int) -> str:
    return f"{version:020d}.checkpoint.parquet"


def part(version: int, number: int, count: int) -> str:
    return f"{version:020d}.checkpoint.{number:010d}.{count:010d}.parquet"


def crc(version: int) -> str:
    return f"{version:020d}.crc"


def log(names: Iterable[str], days: dict[str, int] | None = None) -> list[LogObject]:
    """Files of a log in which version v is of day v."""
    return [
        LogObject(n, (days or {}).get(n, int(n[:20]) if n[:20].isdigit() else 0) * DAY_MS + 5)
        for n in names
    ]


def cleaned(
    names: Iterable[str], day: int, days: dict[str, int] | None = None, **options: object
) -> tuple[int | None, list[str]]:
    arguments: dict[str, object] = {"now": NOW, "referenced_sidecars": None, **options}
    found = log_cleanup(log(names, days), before=day * DAY_MS, **arguments)  # type: ignore[arg-type]
    return found.version, list(found.names)


C = [commit(v) for v in range(8)]


@pytest.mark.parametrize(
    ("names", "day", "version", "gone"),
    [
        # No checkpoint, or none that is expired: nothing goes.
        (C, 90, None, []),
        ([*C, single(5)], 5, None, []),
        # The checkpoint, its commit, and everything after stay.
        ([*C, single(5)], 6, 5, C[:5]),
        ([*C, single(5)], 90, 5, C[:5]),
        # Commits go before the checkpoints that cover them.
        ([*C, single(2), single(5), crc(1), crc(5)], 90, 5, [*C[:5], crc(1), single(2)]),
        # Of several expired checkpoints the newest counts; younger ones don't.
        ([*C, single(2), single(4), single(7)], 6, 4, [*C[:4], single(2)]),
        # A checkpoint counts when all its parts are there; one that doesn't goes with the rest.
        ([*C, part(5, 1, 2), single(3)], 90, 3, C[:3]),
        ([*C, part(5, 1, 2), part(5, 2, 2), part(3, 1, 9)], 90, 5, [*C[:5], part(3, 1, 9)]),
        ([*C, part(5, 1, 2), part(5, 2, 3)], 90, None, []),
        ([*C, f"{5:020d}.checkpoint.{UUID}.json"], 90, 5, C[:5]),
        # A checkpoint without its commit can't be dated, and is no boundary.
        ([*C[:4], single(4), single(2)], 90, 2, C[:2]),
        # Compacted ranges that begin before, staged commits, strangers.
        (
            [*C, single(5), f"{2:020d}.{6:020d}.compacted.json",
             f"{5:020d}.{6:020d}.compacted.json",
             f"_staged_commits/{3:020d}.{UUID}.json", f"_staged_commits/{6:020d}.{UUID}.json",
             "stranger.txt", "_last_checkpoint"],
            90, 5,
            [f"_staged_commits/{3:020d}.{UUID}.json", *C[:5],
             f"{2:020d}.{6:020d}.compacted.json"],
        ),
        # A log that was cleaned already.
        ([*C[5:], single(5)], 90, None, []),
    ],
)  # fmt: skip
def test_log_cleanup(names: list[str], day: int, version: int | None, gone: list[str]) -> None:
    assert cleaned(names, day) == (version, gone)


def test_times_never_fall() -> None:
    names = [*C, single(3)]
    # Version 1 was written by a clock that is ahead: what follows isn't older.
    assert cleaned(names, 6, {commit(1): 50}) == (None, [])
    assert cleaned(names, 51, {commit(1): 50}) == (3, C[:3])
    # In-commit timestamps stand above what files say.
    times = {v: v * DAY_MS for v in range(8)}
    assert cleaned(names, 6, {commit(1): 50}, commit_times=times) == (3, C[:3])


def test_what_somebody_needs_is_kept() -> None:
    names = [*C, single(2), single(5)]
    assert cleaned(names, 90, keep_from=4) == (2, C[:2])
    assert cleaned(names, 90, keep_from=1) == (None, [])


def test_sidecars() -> None:
    sidecars = ["_sidecars/a.parquet", "_sidecars/b.parquet", "_sidecars/new.parquet"]
    names = [*C, single(5), *sidecars]
    days = {"_sidecars/new.parquet": 100}
    assert cleaned(names, 90, days)[1] == C[:5]
    assert cleaned(names, 90, days, referenced_sidecars=["b.parquet"])[1] == [*C[:5], sidecars[0]]


def test_cutoff_is_a_midnight() -> None:
    assert cutoff(NOW, 0) == 100 * DAY_MS
    assert cutoff(NOW, 8) == 99 * DAY_MS
    assert cutoff(NOW, 30 * DAY_MS) == 70 * DAY_MS


def test_protected_versions_get_no_new_checkpoint() -> None:
    protected = Protocol(1, 7, None, ("checkpointProtection",))
    asked = {"delta.requireCheckpointProtectionBeforeVersion": "7"}
    assert first_checkpoint_version(protected, asked) == 7
    assert first_checkpoint_version(protected, {}) == 0
    assert first_checkpoint_version(Protocol(1, 2), asked) == 0


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12),
    st.sets(st.integers(0, 11)),
    st.integers(0, 14),
    st.integers(0, 30),
)
def test_the_head_can_be_built_wherever_a_cleanup_breaks_off(
    count: int, checkpoints: set[int], day: int, stop: int
) -> None:
    names = [commit(v) for v in range(count)] + [single(v) for v in checkpoints if v < count]
    found: Cleanup = log_cleanup(log(names), before=day * DAY_MS, now=NOW, referenced_sidecars=())
    left = set(names) - set(found.names[:stop])
    starts = [-1] + [v for v in range(count) if single(v) in left]
    head = count - 1
    assert any(all(commit(v) in left for v in range(s + 1, count)) for s in starts)
    # All versions that are younger than the cutoff stay buildable after the whole of it.
    left = set(names) - set(found.names)
    for version in range(min(day, head), count):
        assert any(
            s <= version and all(commit(v) in left for v in range(s + 1, version + 1))
            for s in [-1] + [v for v in range(count) if single(v) in left]
        )
