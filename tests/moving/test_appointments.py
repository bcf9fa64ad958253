"""When a cutover may come, and what holds a move back: its time, a file, a person, a database."""

from __future__ import annotations

import datetime as dt
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import deltalakedb as dl
from deltalakedb.catalog.dialects.writer import Statement
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.migrate import strategies
from deltalakedb.migrate.cut import Appointment, cutover_table
from deltalakedb.migrate.move import move_table
from deltalakedb.migrate.options import MoveOptions
from deltalakedb.migrate.steps import Pace
from deltalakedb.uri import parse_database
from tests.cli.commands import dl as command
from tests.cli.commands import error_of
from tests.cli.test_workers import started, wait_for
from tests.moving.test_move import append, seen, state
from tests.moving.test_rollback import in_sql

NOON = dt.datetime(2026, 6, 1, 12, 0, tzinfo=dt.timezone(dt.timedelta(hours=2)))
FAST = Pace(rounds_per_second=100)


@pytest.fixture
def ready(tmp_path: Path, sqlite_url: str) -> Path:
    """A table that could be cut over."""
    append(tmp_path / "t", 1)
    move_table(str(tmp_path / "t"), database=sqlite_url, options=MoveOptions(until="ready"))
    return tmp_path / "t"


def clock(*moments: dt.datetime) -> Callable[[], dt.datetime]:
    """One after the other, then the last one again and again."""
    left = list(moments)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


@pytest.mark.parametrize(
    ("at", "moment"),
    [
        ("12:01", NOON + dt.timedelta(minutes=1)),
        ("12:00", NOON + dt.timedelta(days=1)),
        ("3:30", NOON + dt.timedelta(hours=15, minutes=30)),
        ("2026-06-01T10:30", NOON - dt.timedelta(hours=1, minutes=30)),
        ("2026-06-01T10:30Z", NOON + dt.timedelta(minutes=30)),
    ],
)
def test_a_time(at: str, moment: dt.datetime) -> None:
    assert Appointment.of(at, None, clock(NOON)).at == moment
    assert not Appointment.of(at, None, clock(NOON, moment - dt.timedelta(seconds=1))).has_come()
    assert Appointment.of(at, None, clock(NOON, moment)).has_come()


def test_a_date_is_as_the_machines_clocks_will_stand_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        summer = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC).astimezone()
        found = Appointment.of("2026-12-01T02:00", None, clock(summer)).at
        assert found == dt.datetime(2026, 12, 1, 1, tzinfo=dt.UTC)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("window", "at", "open_"),
    [
        ("11:00-12:01", (12, 0), True),
        ("11:00-12:00", (12, 0), False),
        ("12:00-13:00", (12, 0), True),
        ("22:00-04:00", (23, 30), True),
        ("22:00-04:00", (3, 59), True),
        ("22:00-04:00", (4, 0), False),
        ("22:00-04:00", (12, 0), False),
    ],
)
def test_a_window(window: str, at: tuple[int, int], open_: bool) -> None:
    moment = NOON.replace(hour=at[0], minute=at[1])
    assert Appointment.of(None, window, clock(moment)).has_come() is open_


@pytest.mark.parametrize(
    ("at", "window"),
    [("25:00", None), ("tonight", None), (None, "2-4"), (None, "02:00-25:00"), ("12:60", None)],
)
def test_what_is_no_time(at: str | None, window: str | None) -> None:
    with pytest.raises(DeltaLakeError, match=r"is no (time|window); give HH:MM") as caught:
        Appointment.of(at, window)
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT


def test_a_window_of_no_length_never_comes() -> None:
    with pytest.raises(DeltaLakeError, match="is empty, so its time would never come") as caught:
        Appointment.of(None, "04:00-04:00")
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT


def test_until_its_time_a_table_is_kept_caught_up(ready: Path, sqlite_url: str) -> None:
    looks = 0

    def now() -> dt.datetime:
        nonlocal looks
        looks += 1
        if looks == 3:
            assert state(sqlite_url).state == "ready"
            assert "its time: " in str(state(sqlite_url).reason)
            append(ready, 2)
        if looks > 3 and in_sql_head(sqlite_url) == 1:
            return NOON + dt.timedelta(hours=1)
        return NOON

    appointment = Appointment.of("12:30", "12:00-14:00", now)
    options = MoveOptions(pace=FAST)
    done = cutover_table("t", database=sqlite_url, options=options, appointment=appointment)
    assert done.migration.state == "sql"
    assert done.migration.fence_version == 2
    assert seen(ready) == in_sql(sqlite_url) == [1, 2]


def in_sql_head(database: str) -> int:
    """The catalog's version, whatever its log has."""
    with writing(parse_database(database)) as writer:
        [(found,)] = writer.select(Statement("SELECT head_version FROM dl_heads"))
    return int(found)


def test_what_is_away_for_a_while_is_waited_for(
    ready: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A night's wait isn't ended by a minute's outage; the cutover comes at its time."""
    away = iter([DeltaLakeErrorKind.DATABASE_ERROR, DeltaLakeErrorKind.STORAGE_ERROR])
    adopt = strategies.adopt
    gone: list[DeltaLakeErrorKind] = []

    def adopting(*arguments: object) -> int:
        kind = next(away, None)
        if kind is not None:
            gone.append(kind)
            raise DeltaLakeError(kind, "it is away")
        found: int = adopt(*arguments)  # type: ignore[arg-type]
        return found

    append(ready, 2)
    monkeypatch.setattr(strategies, "adopt", adopting)
    appointment = Appointment.of(
        "12:30", None, lambda: NOON + dt.timedelta(hours=in_sql_head(sqlite_url))
    )
    options = MoveOptions(pace=FAST)
    done = cutover_table("t", database=sqlite_url, options=options, appointment=appointment)
    assert done.migration.state == "sql"
    assert len(gone) == 2
    assert seen(ready) == in_sql(sqlite_url) == [1, 2]


def test_whoever_interrupts_the_wait_leaves_a_table_that_waits_for_a_command(
    ready: Path, sqlite_url: str
) -> None:
    database = sqlite_url.removeprefix("sqlite:///")
    hour = (dt.datetime.now() + dt.timedelta(hours=2)).strftime("%H:%M")
    with started("cutover", "t", "--database", database, "--at", hour) as running:
        wait_for(lambda: "its time" in str(state(sqlite_url).reason))
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=240)
    assert running.returncode == 130
    assert err.splitlines()[0].startswith("t: kept caught up until ")
    assert (state(sqlite_url).state, state(sqlite_url).reason) == ("ready", "`dl cutover`")
    append(ready, 2)
    command("cutover", "t", "--database", database, "--window", "00:00-23:59")
    assert seen(ready) == in_sql(sqlite_url) == [1, 2]


def test_the_end_of_a_probation_is_waited_for(ready: Path, sqlite_url: str) -> None:
    options = MoveOptions(probation_seconds=0.3, wait=True, pace=FAST)
    done = cutover_table("t", database=sqlite_url, options=options)
    assert (done.success, done.migration.state) == (True, "sql")
    assert dl.connect_to_table(f"deltasql://{sqlite_url}?table=t")._head.row.authority == "sql"


@pytest.fixture
def stop_file(tmp_path: Path) -> Iterator[Path]:
    """There at first."""
    file = tmp_path / "stop"
    file.touch()
    yield file
    file.unlink(missing_ok=True)


def test_a_file_or_a_person_holds_a_move_back(
    tmp_path: Path, sqlite_url: str, stop_file: Path
) -> None:
    database = sqlite_url.removeprefix("sqlite:///")
    append(tmp_path / "t", 1)
    with started(
        "migrate", tmp_path / "t", "--database", database, "--pause-file", stop_file, "--rate", 50
    ) as running:
        wait_for(lambda: (tmp_path / "catalog.sqlite").exists())
        wait_for(lambda: f"the pause file {stop_file}" in reason(sqlite_url))
        line = command("migrate", "status", "--database", database).stdout.splitlines()[-1]
        assert line.split()[:2] == ["t", "following"]
        assert f"the pause file {stop_file} to be removed" in line
        command("migrate", "pause", "t", "--database", database)
        stop_file.unlink()
        wait_for(lambda: reason(sqlite_url) == "`dl migrate resume`")
        assert running.poll() is None
        append(tmp_path / "t", 2)
        command("migrate", "resume", "t", "--database", database)
        out, err = running.communicate(timeout=240)
    assert running.returncode == 0, err
    assert out.startswith("t: sql, fenced since version 2; proven at version 2")
    assert seen(tmp_path / "t") == in_sql(sqlite_url) == [1, 2]


def reason(database: str) -> str:
    """What a table's move waits for; nothing while there is none."""
    try:
        return str(state(database).reason)
    except (DeltaLakeError, ValueError):
        return ""


def test_a_busy_database_holds_a_move_back(tmp_path: Path) -> None:
    pace = Pace(busy_ms=5)
    assert pace.waits_for(lambda: None, lambda: False) is None
    why = pace.waits_for(lambda: time.sleep(0.01), lambda: False)
    assert str(why).startswith("the database, which takes ")
    assert Pace().waits_for(lambda: pytest.fail("asked"), lambda: False) is None
    with pytest.raises(DeltaLakeError, match="rounds per second"):
        Pace(rounds_per_second=0)


@pytest.mark.system
def test_a_command_waits_for_a_busy_database(tmp_path: Path, sqlite_url: str) -> None:
    append(tmp_path / "t", 1)
    arguments = ("--database", sqlite_url.removeprefix("sqlite:///"), "--busy-ms", "0.000001")
    with started("migrate", tmp_path / "t", *arguments) as running:
        wait_for(lambda: (tmp_path / "catalog.sqlite").exists())
        wait_for(lambda: "for a trivial question" in reason(sqlite_url))
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=240)
    assert running.returncode == 143
    append(tmp_path / "t", 2)
    assert move_table(str(tmp_path / "t"), database=sqlite_url).success


def test_a_cutover_goes_on_as_the_table_was_moved_so_far(tmp_path: Path, sqlite_url: str) -> None:
    """What was declared of its writers isn't forgotten between the commands."""
    append(tmp_path / "t", 1)
    options = MoveOptions(strategy="offline", log_writers="paused", until="ready")
    move_table(str(tmp_path / "t"), database=sqlite_url, options=options)
    append(tmp_path / "t", 2)
    with pytest.raises(DeltaLakeError, match="was written to while it was moved offline"):
        cutover_table("t", database=sqlite_url)
    assert (state(sqlite_url).strategy, state(sqlite_url).log_writers) == ("offline", "paused")
    assert cutover_table("t", database=sqlite_url).migration.state == "sql"
    assert seen(tmp_path / "t") == in_sql(sqlite_url) == [1, 2]


def test_a_watch_says_what_changes(ready: Path, sqlite_url: str) -> None:
    database = sqlite_url.removeprefix("sqlite:///")
    with started("migrate", "status", "t", "--database", database, "--watch") as running:
        assert running.stdout is not None
        lines = [running.stdout.readline() for _ in range(3)]
        assert lines[2].split()[:2] == ["t", "ready"]
        cutover_table("t", database=sqlite_url)
        while not lines[-1].startswith("t  ") or "sql" not in lines[-1].split():
            lines.append(running.stdout.readline())
            assert lines[-1], "it has ended"
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=240)
    assert running.returncode == 130
    assert "no move of other is known" in error_of(
        "migrate", "status", "other", "--database", database
    )
