"""Death at every named point: the table can be written to, and the command repeated ends alike."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import deltalake
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError
from deltalakedb.migrate.move import move_table
from deltalakedb.migrate.options import MoveOptions
from deltalakedb.migrate.rollback import rollback_table
from deltalakedb.migrate.steps import MOVE_POINTS, ROLLBACK_POINTS
from tests import lengths
from tests.moving.test_move import append, rows, seen, state
from tests.moving.test_rollback import in_sql


class _Death(BaseException):
    """What no step catches."""


def command(what: str, place: str, database: str, at: str, *, kill: bool) -> None:
    """A move or a rollback that ends at a named point."""

    def on(point: str, facts: Mapping[str, object]) -> None:
        if point == at:
            if kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise _Death

    if what == "move":
        move_table(place, database=database, on=on)
    else:
        rollback_table("t", database=database, on=on)


def die(what: str, place: Path, database: str, at: str, *, kill: bool) -> None:
    if not kill:
        with pytest.raises(_Death):
            command(what, str(place), database, at, kill=False)
        return
    code = "import sys; from tests.moving.test_deaths import command as c; c(*sys.argv[1:], kill=1)"
    done = subprocess.run(
        [sys.executable, "-c", code, what, str(place), database, at], timeout=240, check=False
    )
    assert done.returncode == -signal.SIGKILL


def write_somehow(place: Path, database: str, value: int) -> str:
    """As whoever finds the table so: by files, or else through SQL; one of them has to do."""
    try:
        append(place, value)
    except deltalake.exceptions.DeltaError:
        dl.write_deltalake(f"deltasql://{database}?table=t", rows(value), mode="append")
        return "sql"
    return "files"


def fences(place: Path) -> list[bool]:
    """Of the commits that set a protocol: whether it keeps file-based writers out."""
    commits = sorted((place / "_delta_log").glob("*.json"))
    said = [text for text in (path.read_text() for path in commits) if '"protocol"' in text]
    return ["sqlAuthority" in text.split('"metaData"')[0] for text in said]


def died_while_moving(place: Path, database: str, at: str, *, kill: bool) -> None:
    append(place, 1)
    die("move", place, database, at, kill=kill)
    side = write_somehow(place, database, 2)
    fenced = MOVE_POINTS.index(at) >= MOVE_POINTS.index("fence-put")
    assert side == ("sql" if fenced else "files")
    done = move_table(str(place), database=database)
    assert done.success
    assert done.migration.state == "sql"
    assert fences(place) == [False, True]
    dl.write_deltalake(f"deltasql://{database}?table=t", rows(3), mode="append")
    assert seen(place) == in_sql(database) == [1, 2, 3]
    assert dl.connect_to_table(f"deltasql://{database}?table=t")._head.row.authority == "sql"
    assert dl.diff_table("t", database=database).parity


def died_while_rolling_back(place: Path, database: str, at: str, *, kill: bool) -> None:
    append(place, 1)
    move_table(str(place), database=database)
    dl.write_deltalake(f"deltasql://{database}?table=t", rows(2), mode="append")
    die("rollback", place, database, at, kill=kill)
    write_somehow(place, database, 3)
    rollback_table("t", database=database)
    assert state(database).state == "following"
    assert fences(place) == [False, True, False]
    append(place, 4)
    dl.write_deltalake(f"deltasql://{database}?table=t", rows(5), mode="append")
    assert seen(place) == in_sql(database) == [1, 2, 3, 4, 5]
    assert dl.diff_table("t", database=database).parity


@pytest.mark.parametrize("at", ["before-freeze", "fence-put", "fenced", "settled"])
def test_an_end_at_a_point_of_a_move(at: str, sqlite_url: str, tmp_path: Path) -> None:
    died_while_moving(tmp_path / "t", sqlite_url, at, kill=False)


@pytest.mark.parametrize("at", ["before-unfence", "unfenced"])
def test_an_end_at_a_point_of_a_rollback(at: str, sqlite_url: str, tmp_path: Path) -> None:
    died_while_rolling_back(tmp_path / "t", sqlite_url, at, kill=False)


def test_a_process_that_is_killed_between_the_fence_and_the_catalog(
    sqlite_url: str, tmp_path: Path
) -> None:
    died_while_moving(tmp_path / "t", sqlite_url, "fence-put", kill=True)


def everywhere(points: Sequence[str]) -> pytest.MarkDecorator:
    """On each database; on MySQL, which is spoken to as MariaDB is, at a third of the points."""
    found = [
        (kind, at)
        for kind in ("sqlite", "postgresql", "mariadb", "mysql")
        for at in points[:: 1 if lengths.FULL or kind != "mysql" else 3]
    ]
    return pytest.mark.parametrize(("any_catalog_url", "at"), found, indirect=["any_catalog_url"])


@pytest.mark.long
@everywhere(MOVE_POINTS)
def test_killed_at_every_point_of_a_move(at: str, any_catalog_url: str, tmp_path: Path) -> None:
    died_while_moving(tmp_path / "t", any_catalog_url, at, kill=True)


@pytest.mark.long
@everywhere(ROLLBACK_POINTS)
def test_killed_at_every_point_of_a_rollback(at: str, any_catalog_url: str, tmp_path: Path) -> None:
    died_while_rolling_back(tmp_path / "t", any_catalog_url, at, kill=True)


def test_another_process_may_not_move_the_same_table(sqlite_url: str, tmp_path: Path) -> None:
    append(tmp_path / "t", 1)

    def on(point: str, facts: Mapping[str, object]) -> None:
        if point == "ready":
            with pytest.raises(DeltaLakeError, match="another process is moving"):
                move_table(str(tmp_path / "t"), database=sqlite_url)

    assert move_table(str(tmp_path / "t"), database=sqlite_url, options=MoveOptions(), on=on)
