"""Over and back while writers go on: nothing lost, nothing twice, whoever ratifies."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import deltalake
import pytest

import deltalakedb as dl
from deltalakedb.migrate.cut import cutover_table
from deltalakedb.migrate.move import move_table
from deltalakedb.migrate.options import MoveOptions
from deltalakedb.migrate.rollback import rollback_table
from deltalakedb.migrate.steps import Pace
from tests import lengths
from tests.moving.test_move import append
from tests.moving.test_rollback import in_sql, seen

_PATIENCE = 400.0
_SEEN = 20


@contextmanager
def followers(place: Path, database: str, folder: Path, files: int, sql: int) -> Iterator[None]:
    """Processes that append all the time; each has done so once when this begins and ends well."""
    folder.mkdir()
    names = [("files", 1_000_000 * (n + 1)) for n in range(files)]
    names += [("sql", 1_000_000 * (n + 1)) for n in range(files, files + sql)]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.moving.follower", kind, place, database, folder, str(n)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for kind, n in names
    ]
    try:
        wait_for(lambda: all((folder / f"{n}.ready").exists() for _, n in names), running)
        yield
    finally:
        (folder / "stop").touch()
        ended = [each.communicate(timeout=_PATIENCE)[1] for each in running]
    assert [each.returncode for each in running] == [0] * len(running), ended


def wait_for(condition: object, running: list[subprocess.Popen[str]]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        for each in running:
            assert each.poll() is None, each.communicate()[1]
        time.sleep(0.02)


def tried(folder: Path) -> tuple[list[int], set[int]]:
    """What was acknowledged, and what was refused."""
    lines = [line for each in folder.glob("*.tries") for line in each.read_text().split()]
    acknowledged = sorted(int(line[1:]) for line in lines if line[0] == "+")
    return acknowledged, {int(line[1:]) for line in lines if line[0] == "-"}


def more_of(folder: Path, kind: range, enough: int) -> object:
    """A condition: some of the writers have acknowledged more since now."""

    def count() -> int:
        return sum(int(number) // 1_000_000 in kind for number in tried(folder)[0])

    before = count()
    return lambda: count() >= before + enough


def check(place: Path, database: str, folder: Path) -> None:
    acknowledged, refused = tried(folder)
    # What files have committed last, nobody may have adopted yet.
    dl.import_table(log_dir=str(place), database=database)
    rows = seen(place)
    assert rows == in_sql(database)
    assert rows == sorted([0, *acknowledged])
    assert not refused & set(rows)
    log = sorted(int(p.stem) for p in (place / "_delta_log").glob("*.json"))
    assert log == list(range(log[0], log[-1] + 1))
    assert deltalake.DeltaTable(str(place)).version() == log[-1]
    assert dl.diff_table("t", database=database).parity


def over_and_back(place: Path, database: str, folder: Path, rounds: int, writers: int) -> None:
    append(place, 0)
    ready = MoveOptions(until="ready", strategy="hybrid")
    move_table(str(place), database=database, options=ready)
    files, sql = range(1, writers + 1), range(writers + 1, 2 * writers + 1)
    with followers(place, database, folder, writers, writers):
        for number in range(rounds):
            options = MoveOptions(probation_seconds=0.2 * (number % 2), tries=20)
            moved = cutover_table("t", database=database, options=options)
            assert moved.success
            before = sum(n // 1_000_000 in files for n in tried(folder)[0])
            wait_for(more_of(folder, sql, 3), [])
            # What was acknowledged just before the fence may be written down after it.
            assert sum(n // 1_000_000 in files for n in tried(folder)[0]) <= before + writers
            rollback_table("t", database=database)
            wait_for(more_of(folder, files, 3), [])
    check(place, database, folder)


def test_over_and_back_under_writers_that_follow(sqlite_url: str, tmp_path: Path) -> None:
    over_and_back(tmp_path / "t", sqlite_url, tmp_path / "writers", rounds=1, writers=1)


@pytest.mark.long
def test_many_rounds_under_eight_writers(any_catalog_url: str, tmp_path: Path) -> None:
    rounds = lengths.rounds(3)
    over_and_back(tmp_path / "t", any_catalog_url, tmp_path / "writers", rounds=rounds, writers=4)


@pytest.mark.long
def test_both_sides_write_for_a_while(any_catalog_url: str, tmp_path: Path) -> None:
    """Hybrid: an SQL reader sees what files have committed soon, and nothing is lost."""
    place, folder = tmp_path / "t", tmp_path / "writers"
    append(place, 0)
    options = MoveOptions(until="ready", strategy="hybrid", pace=Pace(rounds_per_second=20))
    move_table(str(place), database=any_catalog_url, options=options)
    waited_for, found = 0, 0

    def stop() -> bool:
        nonlocal waited_for, found
        version = dl.connect_to_table(f"deltasql://{any_catalog_url}?table=t").version
        if version >= waited_for:
            found += 1
            # What is in the log by now.
            waited_for = max(int(p.stem) for p in (place / "_delta_log").glob("*.json"))
        assert time.monotonic() < deadline, f"SQL doesn't see version {waited_for}"
        return found > _SEEN

    with followers(place, any_catalog_url, folder, 4, 4):
        deadline = time.monotonic() + _PATIENCE
        move_table(str(place), database=any_catalog_url, options=options, stop=stop)
    move_table(str(place), database=any_catalog_url, options=options)
    check(place, any_catalog_url, folder)
