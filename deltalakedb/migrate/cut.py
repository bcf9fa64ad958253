"""`cutover_table`: the cutover alone, of a table in the catalog, now or at a better time."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.reading import queries
from deltalakedb.config import SqlConfig
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.migrate.options import MoveOptions, MoveResult
from deltalakedb.migrate.records import lease_of
from deltalakedb.migrate.steps import On, nothing
from deltalakedb.migrate.strategies import Move

_WINDOW = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})")
Clock = Callable[[], dt.datetime]


def local_now() -> dt.datetime:
    """The time of this machine's zone."""
    return dt.datetime.now().astimezone()


@dataclass(frozen=True)
class Appointment:
    """When a cutover may begin: not before `at`, and within `window` (from, until; local time)."""

    at: dt.datetime | None = None
    window: tuple[dt.time, dt.time] | None = None
    clock: Clock = local_now

    @classmethod
    def of(cls, at: str | None, window: str | None, clock: Clock = local_now) -> Appointment:
        """From ISO 8601 (without a zone: this machine's) or HH:MM, and HH:MM-HH:MM.

        Raises INVALID_ARGUMENT for another form.
        """
        return cls(
            None if at is None else _moment(at, clock()),
            None if window is None else _window(window),
            clock,
        )

    def has_come(self) -> bool:
        """Whether it may begin now."""
        now = self.clock()
        if self.at is not None and now < self.at:
            return False
        if self.window is None:
            return True
        begins, ends = self.window
        moment = now.time().replace(tzinfo=None)
        if begins <= ends:
            return begins <= moment < ends
        return moment >= begins or moment < ends

    def __str__(self) -> str:
        said = [] if self.at is None else [self.at.isoformat(timespec="minutes")]
        if self.window is not None:
            said.append(f"{self.window[0]:%H:%M}-{self.window[1]:%H:%M}")
        return ", within ".join(said)


def _moment(text: str, now: dt.datetime) -> dt.datetime:
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}", text):
            hours, minutes = text.split(":")
            at = dt.time(int(hours), int(minutes))
            found = _local(dt.datetime.combine(now, at), now)
            if found > now:
                return found
            return _local(dt.datetime.combine(now + dt.timedelta(days=1), at), now)
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"{text!r} is no time; give HH:MM, or ISO 8601 such as 2026-12-01T02:00+01:00",
        ) from error
    return moment if moment.tzinfo is not None else _local(moment, now)


def _local(moment: dt.datetime, now: dt.datetime) -> dt.datetime:
    """In the zone of `now`: where that is this machine's, as its clocks will stand then."""
    if now.tzinfo == now.astimezone().tzinfo:
        return moment.astimezone()
    return moment.replace(tzinfo=now.tzinfo)


def _window(text: str) -> tuple[dt.time, dt.time]:
    found = _WINDOW.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError(text)
        hours = [int(part) for part in found.groups()]
        begins, ends = dt.time(hours[0], hours[1]), dt.time(hours[2], hours[3])
    except ValueError as error:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"{text!r} is no window; give HH:MM-HH:MM, such as 02:00-04:00",
        ) from error
    if begins == ends:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"the window {text!r} is empty, so its time would never come; give HH:MM-HH:MM, such "
            "as 02:00-04:00, or none for any time",
        )
    return begins, ends


def cutover_table(
    table: str,
    *,
    database: str | SqlConfig,
    options: MoveOptions | None = None,
    appointment: Appointment | None = None,
    on: On = nothing,
) -> MoveResult:
    """Cut a catalogued table over to SQL: uuid, name or `namespace.name`.

    The strategy is that by which it was moved so far, and so are its `log_writers` by default.
    Until the `appointment` it is kept caught up, whatever is away for a while. Bounded tries;
    raises as `move_table` does, and the table is writable whatever fails.
    """
    chosen = replace(options or MoveOptions(), until="sql")
    with Catalog(database) as catalog:
        row = queries.find_table(catalog, table)
        with lease_of(catalog, row.location) as lease:
            found = lease.begin(row.full_name, row.log_location, row.table_id)
            if found.state in ("planned", "importing") or found.step in ("planned", "importing"):
                lease.move("following", table_id=row.table_id)
            # As it was moved so far: what was said of its writers holds until another is said.
            chosen = replace(
                chosen,
                mode=row.mode,
                strategy=found.strategy or chosen.strategy,
                log_writers=chosen.log_writers or found.log_writers,
            )
            move = Move(database, lease, chosen, on)
            if appointment is not None and not appointment.has_come():
                first = Move(database, lease, replace(move.options, until="ready"), on)
                first.waits_for = f"its time: {appointment}"
                first.run(appointment.has_come)
                move = Move(database, lease, move.options, on)
            return move.run()
