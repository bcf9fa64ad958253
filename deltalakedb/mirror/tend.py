"""Tending the logs that this process writes to: group syncs, bookkeeping, what is due afterwards.

A thread looks after them about twice a second, so that a commit costs no sync of its own in the
log: until one has covered it, its bytes are in the outbox. One process at a time tends a table, by
a lease; the others leave it alone. What a process has not tended when it dies, another one does, or
`dl mirror drain`.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
import time
from dataclasses import dataclass, field, replace

from deltalakedb import fork
from deltalakedb.catalog.dialects.writer import Statement, Writer, WrongCountError
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.catalog.records import TableRow
from deltalakedb.commit import outbox
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError
from deltalakedb.log.rows import LIVE
from deltalakedb.log.table_properties import CHECKPOINT_INTERVAL
from deltalakedb.mirror import publish
from deltalakedb.mirror.lease import LEASE_SECONDS, Lease, acquire, extended, lease_name, release
from deltalakedb.storage.store import ObjectStore

PERIOD_SECONDS = 0.5
_IDLE_ROUNDS = 20
"""Rounds without work after which the thread ends."""
_BATCH = 1_000
_MOST_OWN = 20_000
_MOST_FAILURES = 60
_MOST_TENDED = 256
"""Tables beyond which those that are quiet are forgotten: a writer of all of a lake lives long."""
_CHECKPOINT_INTERVAL = 10
"""Delta's default of `delta.checkpointInterval`."""
_LEAST_GAP_SECONDS = 5.0
"""Between two checkpoints of a table, however fast its versions come."""
_ENDING_SECONDS = 3.0
_QUIET_ROUNDS = 3
"""Rounds without anything to tend after which others may have the lease."""


@dataclass(frozen=True)
class Hooks:
    """What a writer lets happen after its commits (delta-rs's PostCommitHookProperties)."""

    create_checkpoint: bool = True
    cleanup_expired_logs: bool = True


@dataclass
class _Tended:
    """A table whose log this process writes to."""

    database: DatabaseUrl
    table: TableRow
    log: ObjectStore
    known: int = -1
    dirty: bool = False
    hooks: Hooks = Hooks()
    next_checkpoint: float = 0.0
    renewed: float = 0.0
    untended: bool = False
    """Whether another had the lease when we last looked."""
    failures: int = 0
    quiet: int = 0
    lease: Lease | None = field(default=None)
    published: set[int] = field(default_factory=set)
    """Versions that this process has put into the log, and that may not be durable yet."""
    busy: fork.Lock = field(default_factory=fork.Lock)
    """Held for as long as a round takes."""


_tended: dict[tuple[int, DatabaseUrl, int], _Tended] = {}
_lock = fork.Lock()
_thread: tuple[int, threading.Thread] | None = None
_finishing: int | None = None
"""The process whose end `_finish` waits for."""
_wake = threading.Event()


@dataclass(frozen=True)
class Tending:
    """What a round has found and done."""

    published_version: int
    durable_version: int
    waiting: int
    checkpoint_version: int | None


def known(database: DatabaseUrl, table: TableRow) -> int:
    """A version that this process knows to be in the log, with all before; -1 for none."""
    found = _tended.get((os.getpid(), database, table.table_key))
    return -1 if found is None else found.known


def note(
    database: DatabaseUrl,
    table: TableRow,
    log: ObjectStore,
    version: int,
    hooks: Hooks | None = None,
    *,
    own: bool = False,
) -> None:
    """A version was published (-1: one was committed and wasn't): to be tended soon.

    `own`: by this process, so that its bytes are known to be in the log.
    """
    key = (os.getpid(), database, table.table_key)
    with _lock:
        found = _tended.get(key)
        if found is None or found.table.log_location != table.log_location:
            found = _tended[key] = _Tended(database, table, log)
        found.known = max(found.known, version)
        found.dirty = True
        if own and len(found.published) < _MOST_OWN:
            found.published.add(version)
        found.hooks = hooks or found.hooks
        _start()


def forget(database: DatabaseUrl, table: TableRow) -> None:
    """The table was dropped or moved: leave its log alone, from the moment this returns."""
    with _lock:
        found = _tended.pop((os.getpid(), database, table.table_key), None)
    if found is not None:
        with found.busy:
            _let_go(found)


def tend_now(
    database: DatabaseUrl, table: TableRow, log: ObjectStore, *, checkpoint: bool = True
) -> Tending:
    """Publish, sync and record at once; what another holds the lease for is waited for a little.

    `checkpoint`: make one where it is due, and clean up.
    """
    mine = _Tended(database, table, log, hooks=Hooks(create_checkpoint=checkpoint))
    own = _tended.get((os.getpid(), database, table.table_key))
    if own is not None:
        with _lock:
            mine.lease = own.lease
    try:
        for _ in range(10 * LEASE_SECONDS + 20):
            found = _tend(mine)
            if found is not None:
                return found
            publish.drain(database, table, log, after=-1)
            time.sleep(0.1)
    finally:
        # Also after an error: whoever comes next doesn't wait for our lease to expire.
        with _lock:
            if own is not None and _tended.get((os.getpid(), database, table.table_key)) is own:
                own.lease, mine.lease = mine.lease or own.lease, None
        _let_go(mine)
    with writing(database) as writer:
        return _state(writer, table)[0]


def _start() -> None:
    """Under the lock."""
    global _thread, _finishing
    if _thread is None or _thread[0] != os.getpid() or not _thread[1].is_alive():
        _thread = (os.getpid(), threading.Thread(target=_run, name="dl-mirror", daemon=True))
        _thread[1].start()
        if _finishing != os.getpid():
            _finishing = os.getpid()
            atexit.register(_finish)


def _run() -> None:
    global _thread
    idle = 0
    while True:
        _wake.wait(PERIOD_SECONDS)
        idle = 0 if _round(last=idle >= _IDLE_ROUNDS) else idle + 1
        with _lock:
            # What is noted from here on starts another thread.
            due = any(e.dirty for key, e in _tended.items() if key[0] == os.getpid())
            _leave_quiet()
            if idle > _IDLE_ROUNDS and not due:
                _thread = None
                return


def _leave_quiet() -> None:
    """Under the lock: of very many tables, forget those with nothing to do."""
    many = len(_tended) - _MOST_TENDED
    if many > 0:
        quiet = [k for k, e in _tended.items() if not (e.dirty or e.untended or e.lease)]
        for key in quiet[:many]:
            del _tended[key]


def _finish() -> None:
    """At the end of the process: what is published is made durable and recorded."""
    deadline = time.monotonic() + _ENDING_SECONDS
    while True:
        _round(last=True)
        with _lock:
            left = [e for key, e in _tended.items() if key[0] == os.getpid() and e.untended]
        if not left or time.monotonic() > deadline:
            return
        for each in left:
            each.dirty = True
        time.sleep(0.05)


def _round(*, last: bool = False) -> bool:
    """Tend what is ours to tend; whether there was anything."""
    with _lock:
        mine = [each for key, each in _tended.items() if key[0] == os.getpid()]
    worked = False
    for each in mine:
        with each.busy:
            if _tended.get((os.getpid(), each.database, each.table.table_key)) is not each:
                continue
            if each.dirty or each.lease is not None:
                worked = True
                _try(each)
            if each.lease is not None and (last or each.quiet >= _QUIET_ROUNDS):
                _let_go(each)
    return worked


def _try(each: _Tended) -> None:
    each.dirty = False
    try:
        found = _tend(each)
    except (DeltaLakeError, OSError):
        # A store or a database that doesn't answer: tried again, but not for ever. Meanwhile others
        # may have the lease, whose credentials are good.
        _let_go(each)
        each.published.clear()
        each.failures += 1
        each.dirty = each.failures < _MOST_FAILURES
        return
    each.failures = 0
    each.untended = found is None
    waits = found is not None and found.waiting > 0
    each.quiet = 0 if waits else each.quiet + 1
    # Whoever else has the lease tends our versions with its own.
    each.dirty = waits


def _let_go(each: _Tended) -> None:
    lease, each.lease = each.lease, None
    if lease is not None:
        try:
            with writing(each.database) as writer:
                release(writer, lease)
        except DeltaLakeError:
            # It expires by itself.
            return


def _tend(each: _Tended) -> Tending | None:
    """One round for one table; None when another process tends it."""
    table, log = each.table, each.log
    with writing(each.database) as writer:
        if each.lease is None:
            each.lease = acquire(writer, lease_name(table))
            if each.lease is None:
                each.published.clear()
                return None
            each.renewed = time.monotonic()
        elif time.monotonic() > each.renewed + LEASE_SECONDS / 3:
            try:
                writer.transact([extended(writer, each.lease)], relaxed=True)
            except WrongCountError:
                each.lease = None
                return None
            each.renewed = time.monotonic()
        now, interval = _state(writer, table)
    while now.waiting > 0:
        durable = now.durable_version
        with writing(each.database) as writer:
            heads = outbox.heads(writer, table, durable, _BATCH)
        with _lock:
            own = frozenset(each.published)
        if not heads:
            break
        reached = publish.confirm(each.database, table, log, heads, own, after=durable)
        last = next((head for head in heads if head.version == reached), None)
        if last is None:
            break
        log.sync([publish.commit_name(v) for v in range(durable + 1, reached + 1)])
        with writing(each.database) as writer:
            try:
                writer.transact(_record(writer, table, each.lease, last), relaxed=True)
            except WrongCountError:
                each.lease = None
                return None
        each.known = max(each.known, reached)
        with _lock:
            each.published -= {version for version in own if version <= reached}
        log.discard([h.staged_name for h in heads if h.staged_name and h.version <= reached])
        now = replace(
            now,
            published_version=max(now.published_version, reached),
            durable_version=reached,
            waiting=max(0, now.waiting - (reached - durable)),
        )
        if len(heads) < _BATCH:
            break
    if now.waiting > 0:
        # The thread of this process, which has the same lease, may have been faster.
        with writing(each.database) as writer:
            now, interval = _state(writer, table)
    _maintain(each, now, interval)
    return now


def _maintain(each: _Tended, now: Tending, interval: int) -> None:
    """A checkpoint where one is due, and the cleanup after it."""
    due = each.hooks.create_checkpoint and _is_due(each, now, interval)
    durable = now.durable_version
    if due and each.lease is not None:
        lease = each.lease

        def still_ours() -> None:
            with writing(each.database) as writer:
                writer.transact([extended(writer, lease)])

        # What a write doesn't need, and a process that writes once is not to import.
        from deltalakedb.mirror import checkpoint

        began = time.monotonic()
        try:
            checkpoint.checkpoint_now(
                each.database,
                each.table,
                each.log,
                durable,
                still_ours,
                cleanup=each.hooks.cleanup_expired_logs,
            )
        except WrongCountError:
            each.lease = None
        ended = time.monotonic()
        # Not more than a tenth of the time goes into checkpoints.
        each.next_checkpoint = ended + max(_LEAST_GAP_SECONDS, 10 * (ended - began))


def _is_due(each: _Tended, now: Tending, interval: int) -> bool:
    last = -1 if now.checkpoint_version is None else now.checkpoint_version
    durable = now.durable_version
    if durable <= last or durable < 1 or time.monotonic() < each.next_checkpoint:
        return False
    return durable // interval > last // interval


def _state(writer: Writer, table: TableRow) -> tuple[Tending, int]:
    """How far the log is, and the table's checkpoint interval."""
    rows = writer.select(
        Statement(
            "SELECT m.published_version, m.durable_version, h.head_version, m.checkpoint_version, "
            "x.configuration FROM dl_mirror m JOIN dl_heads h ON h.table_key = m.table_key "
            "LEFT JOIN dl_metadata x ON x.load_id = h.live_load "
            f"AND x.removed_version = {LIVE} WHERE m.table_key = ?",
            (table.table_key,),
        )
    )
    if not rows:
        return Tending(-1, -1, 0, None), _CHECKPOINT_INTERVAL
    published, durable, head, checkpointed, configuration = rows[0]
    text = json.loads(configuration).get(CHECKPOINT_INTERVAL) if configuration else None
    interval = int(text) if text and text.isdigit() and int(text) else _CHECKPOINT_INTERVAL
    return Tending(published, durable, head - durable, checkpointed), interval


def _record(
    writer: Writer, table: TableRow, lease: Lease, last: outbox.OutboxHead
) -> list[Statement]:
    """What is durable, and out of the outbox with it, if the lease is still ours.

    And if the database is: one that was restored meanwhile doesn't know the version, or has another
    one in its place.
    """
    key, until = table.table_key, last.version
    return [
        extended(writer, lease),
        Statement(
            "UPDATE dl_mirror SET durable_version = ?, published_version = CASE "
            "WHEN published_version < ? THEN ? ELSE published_version END "
            "WHERE table_key = ? AND durable_version < ? AND EXISTS (SELECT 1 FROM dl_outbox o "
            "WHERE o.table_key = ? AND o.version = ? AND o.digest = ?)",
            (until, until, until, key, until, key, until, last.digest),
        ),
        Statement(
            "DELETE FROM dl_outbox WHERE table_key = ? AND version <= ? AND version <= "
            "(SELECT m.durable_version FROM dl_mirror m WHERE m.table_key = ?)",
            (key, until, key),
        ),
    ]
