"""The commit: the only way in which a live load changes.

Data files are there first. Then one transaction: lock the heads, hold what others did against what
was read, write rows, history and outbox, move the heads. docs/architecture.md, "Commit".
"""

from __future__ import annotations

import os
import time
from dataclasses import replace

from deltalakedb import measures, tracing
from deltalakedb.catalog.dialects.writer import LostConnectionError
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.commit.attempt import Attempt, RestartError, checked, united
from deltalakedb.commit.bodies import Bodies
from deltalakedb.commit.committer import Ratifier
from deltalakedb.commit.create import name_or_place_taken
from deltalakedb.commit.heads import lock
from deltalakedb.commit.naming import name_taken
from deltalakedb.commit.refusal import log_exists
from deltalakedb.commit.resolve import resolve
from deltalakedb.commit.staged import StagedCommit
from deltalakedb.commit.version import Committed
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

LOCK_SECONDS = 30.0
"""How long a commit waits for the heads of its tables."""
_RESTARTS = 20


def commit(
    database: DatabaseUrl,
    staged: StagedCommit,
    ratifier: Ratifier,
    *,
    wait: float = LOCK_SECONDS,
    max_unpublished: int,
) -> list[Committed]:
    """Commit to all tables or to none; what each of them got, in the order of `staged.tables`.

    Raises CONCURRENCY_ERROR by rule, TIMEOUT_ERROR that names who
    holds the lock, COMMIT_UNKNOWN with the token to ask again with, MIRROR_CONFLICT where the log
    has what the catalog doesn't know of. `outcome` of an error says whether the commit is there.
    """
    began = time.perf_counter()
    with tracing.span("commit", table=staged.tables[0].table.full_name, tables=len(staged.tables)):
        found = _commit(database, staged, ratifier, wait, max_unpublished)
        tracing.tell(version=found[0].version if found else None)
    measures.observe(measures.COMMIT_SECONDS, time.perf_counter() - began)
    return found


def _commit(
    database: DatabaseUrl,
    staged: StagedCommit,
    ratifier: Ratifier,
    wait: float,
    max_unpublished: int,
) -> list[Committed]:
    _check_authorities(staged)
    bodies = Bodies(ratifier)
    try:
        found = _decided(database, staged, ratifier, bodies, wait, max_unpublished)
    except DeltaLakeError as error:
        if error.outcome == "failed":
            bodies.keep(())
        raise
    # Without an answer it isn't known which one was committed.
    if all(each.row is not None or each.repeated for each in found):
        bodies.keep([each.row.staged_name for each in found if each.row is not None])
    return found


def _decided(
    database: DatabaseUrl,
    staged: StagedCommit,
    ratifier: Ratifier,
    bodies: Bodies,
    wait: float,
    max_unpublished: int,
) -> list[Committed]:
    for table in staged.tables:
        # Made now, so that nothing of it is made under the lock, unless it would be made again.
        if table.rebase is None or (database, table.table.table_key) not in united:
            bodies.make(table)
            _ = table.prepared
    put, unheard = -1, False
    for number in range(_RESTARTS):
        newest = _newest_in_log(database, staged, ratifier)
        lost = None
        with writing(database) as writer:
            attempt = Attempt(
                writer, staged, ratifier, bodies, newest, max_unpublished, number > 0, put
            )
            try:
                return attempt.run(wait)
            except RestartError:
                writer.rollback()
            except LostConnectionError as error:
                lost = error
            except DeltaLakeError as error:
                attempt.give_up()
                raise _as_known(error, staged, attempt, unheard) from error
        if lost is not None and attempt.sent:
            found = resolve(database, staged, ratifier, attempt.own, lost)
            if found is not None:
                attempt.put = -1
                attempt.give_up()
                return found
            unheard = True
        put = attempt.put
        staged = attempt.again()
        attempt.help_out()
    restless = DeltaLakeError(
        DeltaLakeErrorKind.CONCURRENCY_ERROR,
        f"{staged.tables[0].table.full_name} changed under each of {_RESTARTS} attempts; run again",
        rule="restarts",
    )
    raise _as_known(restless, staged, attempt, unheard)


def _as_known(
    error: DeltaLakeError, staged: StagedCommit, attempt: Attempt, unheard: bool
) -> DeltaLakeError:
    """An error as it is, unless an earlier attempt of the commit may be there yet.

    A put without an answer may still fill its slot. A COMMIT without one, after which another
    server answers that has lost what the log has, may be in the log.
    """
    lost = unheard and error.kind is DeltaLakeErrorKind.MIRROR_CONFLICT
    if error.outcome != "failed" or (attempt.put < 0 and not lost):
        return error
    table = staged.tables[0]
    if table.makes_table:
        then = "where its log has a version 0 by then, import the table, else make it again"
    else:
        then = f"run the same write with token={staged.token!r}: it finds what became of it"
    return DeltaLakeError(
        DeltaLakeErrorKind.COMMIT_UNKNOWN,
        f"a commit of {table.table.full_name} got no answer, and may be in the log or get there "
        f"yet ({error}); {then}",
        token=staged.token,
    )


def find_conflicts(
    database: DatabaseUrl,
    staged: StagedCommit,
    ratifier: Ratifier,
    *,
    wait: float = LOCK_SECONDS,
    max_unpublished: int,
) -> list[DeltaLakeError]:
    """What `commit` would refuse now, table by table. Locks the heads, writes nothing."""
    _check_authorities(staged)
    found: list[DeltaLakeError] = []
    with writing(database) as writer:
        attempt = Attempt(
            writer, staged, ratifier, Bodies(ratifier), {}, max_unpublished, False, -1
        )
        locked = lock(writer, staged, wait, far=attempt.is_far)
        freed = {change.table.table_id for change in staged.name_changes}
        for table in staged.tables:
            if table.makes_table:
                found += filter(None, [name_or_place_taken(writer, [table], freed)])
                continue
            try:
                attempt.check_head(replace(table, rebase=None), locked)
            except DeltaLakeError as error:
                united = error.facts.get("rule") == "concurrent_rows" and table.rebase is not None
                if not united:
                    found.append(error)
            except RestartError:
                continue
        writer.rollback()
        found += filter(None, [name_taken(writer, staged.name_changes)])
    return found


def _check_authorities(staged: StagedCommit) -> None:
    if len(staged.tables) > 1:
        for table in staged.tables:
            if table.table.authority != "sql":
                raise DeltaLakeError(
                    DeltaLakeErrorKind.INVALID_ARGUMENT,
                    f"{table.table.full_name} has authority {table.table.authority}, where its log "
                    "decides; a transaction over several tables needs `sql` for each of them",
                    table=table.table.full_name,
                )


def _newest_in_log(
    database: DatabaseUrl, staged: StagedCommit, ratifier: Ratifier
) -> dict[int, int]:
    """Of tables that this process hasn't committed to yet: the newest version in the log.

    Asked before the lock, since a head only grows. TABLE_EXISTS where a new table would begin.
    """
    found: dict[int, int] = {}
    for table in staged.tables:
        row = table.table
        if table.makes_table:
            # A key has who was made, or tried to be, by this call.
            if not row.table_key and ratifier.check_log(row) >= 0:
                raise log_exists(row.location)
        elif (os.getpid(), database, row.table_key) not in checked:
            found[row.table_key] = ratifier.check_log(row)
    return found
