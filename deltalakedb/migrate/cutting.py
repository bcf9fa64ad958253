"""The steps of a move from `ready` to `sql`: the fence, the rollback point, the probation."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from deltalakedb import measures
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.records import TableRow
from deltalakedb.config import database_url
from deltalakedb.display.text import count_text
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.migrate.cutover import (
    Fenced,
    fence_of,
    new_cutover_id,
    put_fence,
)
from deltalakedb.migrate.points import add_point
from deltalakedb.migrate.probation import check_fence
from deltalakedb.migrate.records import database_now
from deltalakedb.mirror.adopt import adopt
from deltalakedb.mirror.publish import commit_name
from deltalakedb.storage.store import ObjectStore
from deltalakedb.table.operations.fence import is_fenced
from deltalakedb.table.operations.handover import hand_over, read_base

if TYPE_CHECKING:
    from deltalakedb.migrate.strategies import Move

_RENEWALS = 20
"""How often a fence is renewed before people have to find out who passes it."""


def begin(move: Move) -> None:
    """Name the cutover: from here on whoever finds its fence knows whose it is."""
    cutover_id = new_cutover_id()
    move.to("cutting", cutover_id=cutover_id, attempts=move.now.attempts + 1)
    move.told("cutting", {"cutover_id": cutover_id})


def cut(move: Move) -> None:
    """Put the fence, or find it put; keep the version before it."""
    dialect = move.lease.catalog.dialect
    with dialect.errors():
        # Before the catalog catches up for the last time: nobody waits for it yet.
        dialect.settle()
    row, log = move.adopted()
    found: Fenced | None = None
    with closing(LightCatalog(database_url(move.database))) as light:
        base = read_base(light, row.table_id, move.options.storage_options)
        mine = fence_of(light, base.row, str(move.now.cutover_id))
        if mine is None and is_fenced(base.protocol) and base.row.authority == "sql":
            # Ratified by SQL behind a fence, by another way than a cutover.
            move.to("sql")
            return
        if mine is None:
            _check_paused(move, base.row)
            move.told("before-freeze", {"version": base.row.head_version})
            found = _fenced(move, light, base, log, str(move.now.cutover_id))
            mine = found.version
    move.told("fenced", {"version": mine})
    if move.options.rollback_point:
        add_point(
            move.lease.catalog,
            move.row(),
            "cutover",
            version=mine - 1,
            cutover_id=move.now.cutover_id,
            authority="log",
        )
    move.told("recorded", {"version": mine})
    seconds = move.options.probation_seconds
    until = database_now(move.lease.catalog) + int(seconds * 1000)
    body = log.read(commit_name(mine)) if found is None else found.body
    fence = {"version": mine, "body": body.decode(), "renewals": 0, "probation": seconds}
    known = move.now.details.get("foreign_commits", 0)
    # Counted with it: until SQL could commit, nothing was written that could wait.
    tried = {} if found is None else _tried(move, "fenced")
    move.to(
        "probation",
        {"fence": {**fence, "foreign": known}, **tried},
        fence_version=mine,
        probation_until=until,
    )
    move.told("probation", {"version": mine})


def _fenced(
    move: Move, light: LightCatalog, base: Any, log: ObjectStore, cutover_id: str
) -> Fenced:
    pause = move.options.back_off
    for left in reversed(range(move.options.tries)):
        started = time.perf_counter()
        try:
            found = put_fence(
                light,
                base,
                log,
                cutover_id=cutover_id,
                contact=move.options.contact,
                take_over=move.options.take_over,
                seconds=move.options.try_seconds,
                on=move.told,
            )
        except DeltaLakeError as error:
            lost = error.facts.get("rule") == "slot"
            move.record(_tried(move, "lost" if lost else "failed"))
            if not left or not lost:
                raise
            move.record(attempts=move.now.attempts + 1, reason=error.message)
            time.sleep(pause)
            pause *= 2
            adopt(light.reader.url, base.row, log)
            base = read_base(light, base.row.table_id, move.options.storage_options)
            continue
        move.freeze_ms = (time.perf_counter() - started) * 1000
        measures.observe(measures.FREEZE_SECONDS, move.freeze_ms / 1000)
        return found
    raise AssertionError("unreachable")


def _tried(move: Move, outcome: str) -> dict[str, Any]:
    """The tries to put a fence up, by how they ended, with one more."""
    known = move.now.details.get("cutovers", {})
    return {"cutovers": {**known, outcome: known.get(outcome, 0) + 1}}


def _check_paused(move: Move, row: TableRow) -> None:
    if move.options.strategy != "offline" or move.now.parity_version is None:
        return
    if row.head_version != move.now.parity_version:
        proven = move.now.parity_version
        move.to("following")
        raise DeltaLakeError(
            DeltaLakeErrorKind.CONCURRENCY_ERROR,
            f"{move.now.table} was written to while it was moved offline (version {proven} was "
            f"proven, its log goes to {row.head_version}); pause its writers and run this again, "
            "or move it with the strategy online",
            rule="offline",
            version=row.head_version,
        )


def settle_or_wait(move: Move) -> None:
    """Look after the fence; when the probation is over, let the catalog alone ratify."""
    row = move.row()
    log = move.log_of(row)
    if row.authority == "sql":
        move.to("sql", {"fence": None})
        return
    with closing(LightCatalog(database_url(move.database))) as light:
        if _is_passed(move, light, row, log):
            _renew(move, light, row, log)
        now = database_now(move.lease.catalog)
        until = move.now.probation_until or 0
        if now < until:
            move.record(
                reason=f"the end of the probation, in {(until - now) / 1000:.0f} s{_told_of(move)}"
            )
            return
        hand_over(light, row, log, move.options.storage_options, fence=True)
    move.told("settled")
    move.to("sql", {"fence": None})


def _told_of(move: Move) -> str:
    count = move.now.details.get("foreign_commits", 0)
    return f"; {count_text(count, 'commit')} came past the fence" if count else ""


def _is_passed(move: Move, light: LightCatalog, row: TableRow, log: ObjectStore) -> bool:
    """Whether anybody has passed the fence, or written over it, since it was put up."""
    adopt(light.reader.url, row, log)
    fence = move.now.details.get("fence")
    if fence is None:
        return False
    row = move.row()
    body = str(fence["body"]).encode()
    found = check_fence(light, row, log, int(fence["version"]), body)
    known = move.now.details.get("overwritten", [])
    move.record(None if found is None else {"overwritten": [*known, asdict(found)]})
    return bool(move.now.details.get("foreign_commits", 0) != fence["foreign"])


def _renew(move: Move, light: LightCatalog, row: TableRow, log: ObjectStore) -> None:
    fence = dict(move.now.details["fence"])
    renewals = int(fence["renewals"]) + 1
    if renewals > _RENEWALS:
        raise DeltaLakeError(
            DeltaLakeErrorKind.MIRROR_CONFLICT,
            f"commits came past the fence of {move.now.table} again and again "
            f"({move.now.details['foreign_commits']} of them, `dl migrate status --format json` "
            "lists them); find out who writes so and stop it, then run this again",
            table=move.now.table,
        )
    base = read_base(light, row.table_id, move.options.storage_options)
    found = _fenced(move, light, base, log, f"{move.now.cutover_id}-{renewals}")
    until = database_now(move.lease.catalog) + int(float(fence["probation"]) * 1000)
    fence |= {
        "version": found.version,
        "body": found.body.decode(),
        "renewals": renewals,
        "foreign": move.now.details["foreign_commits"],
    }
    move.record({"fence": fence, **_tried(move, "fenced")}, probation_until=until)
