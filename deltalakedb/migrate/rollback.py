"""Giving a table back to file-based writers: nothing that was acknowledged is discarded.

The removal of the fence is the last commit that the catalog ratifies, in one transaction with the
log's authority, and goes into the log after all others, by whoever publishes there: who dies in
between leaves a table that SQL can write to, and whose log is drained by the next one who comes.
docs/cutover.md, "Back to the log".
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from deltalakedb import tracing
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.records import TableRow
from deltalakedb.commit.staged import StagedTable
from deltalakedb.config import SqlConfig
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.commit_writer import CommitInfo, metadata_body
from deltalakedb.log.features import features_of
from deltalakedb.log.metadata import Metadata
from deltalakedb.log.place import log_store
from deltalakedb.log.protocol import Protocol
from deltalakedb.migrate.log_tail import tail_of_log
from deltalakedb.migrate.points import add_point
from deltalakedb.migrate.records import Migration, MigrationLease, lease_of
from deltalakedb.migrate.recover import (
    Stranded,
    first_foreign,
    foreign_in,
    given_back,
    take_over,
    unpublished,
)
from deltalakedb.migrate.slot import put_in_next_slot
from deltalakedb.migrate.steps import On, note_failure, note_point, nothing
from deltalakedb.mirror import publish, tend
from deltalakedb.mirror.adopt import adopt
from deltalakedb.redact import redact
from deltalakedb.storage.open import open_store
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.fence import (
    OPERATION,
    check_own_fence,
    features_since,
    is_fenced,
    mark_of,
    protocol_before,
    unfenced,
)
from deltalakedb.table.operations.handover import read_base
from deltalakedb.table.operations.properties import CommitOptions
from deltalakedb.table.operations.provenance import commit_info, engine_info
from deltalakedb.table.transaction import ratify

_BEFORE_CUTOVER = frozenset({"planned", "importing", "following", "ready"})
_TRIES = 20
_PUBLISH_SECONDS = 30.0
_PAUSE_SECONDS = 0.005
_NAMED = 20
"""So many versions are named in a message."""


@dataclass(frozen=True)
class RollbackResult:
    """What a rollback has done.

    `version`: the commit from which on files may be written again. `features`: those that were
    enabled since the cutover and stay: writers that don't know them are shut out. `stranded`:
    commits that the catalog had acknowledged and that never came into the log, copies of which are
    kept (only after a rollback without the catalog). `drain_seconds`: until all was in the log;
    `seconds`: from there until files may be written. `changed`: False where there was nothing to
    roll back, as its log ratifies the table and no fence stands.
    """

    table: str
    version: int
    protocol: Protocol
    features: tuple[str, ...] = ()
    stranded: tuple[Stranded, ...] = ()
    drain_seconds: float = 0.0
    seconds: float = 0.0
    migration: Migration | None = None
    changed: bool = True


@tracing.traced("rollback")
def rollback_table(
    table: str,
    *,
    database: str | SqlConfig,
    exact: bool = False,
    rollback_point: bool = True,
    discard_unpublished: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    on: On = nothing,
) -> RollbackResult:
    """Hand a table back to its log; again changes nothing. `dl cutover` goes the other way.

    The protocol is that from before the cutover, with what was enabled since: `exact` refuses
    then, by name. Raises MIRROR_CONFLICT, naming them, where foreign versions are in the way of
    unpublished ones: `discard_unpublished` lets the log go on there, keeps copies and lists them.
    STORAGE_ERROR when the log can't be reached: the catalog goes on ratifying then.
    """
    with Catalog(database) as catalog:
        row = queries.find_table(catalog, table)
        with lease_of(catalog, row.location) as lease:
            back = _Rollback(catalog, lease, row, database, storage_options, on, exact)
            back.discards = discard_unpublished
            try:
                return back.run(rollback_point)
            except DeltaLakeError as error:
                lease.fail(error)
                note_failure(error, row.full_name, row.table_id, "rollback")
                on("failure", {"table": row.full_name, "error": error.message})
                raise


class _Rollback:
    def __init__(
        self,
        catalog: Catalog,
        lease: MigrationLease,
        row: TableRow,
        database: str | SqlConfig,
        storage_options: Mapping[str, Any] | None,
        on: On,
        exact: bool,
    ) -> None:
        self.catalog = catalog
        self.lease = lease
        self.row = row
        self.database = database
        self.options = storage_options
        self.exact = exact
        self.url = catalog.reader.url
        self.log = publish.log_of(row, storage_options)
        self.discards = False
        self.stranded: tuple[Stranded, ...] = ()
        self._on = on

    def told(self, point: str, version: int) -> None:
        found = {"table": self.row.full_name, "location": self.row.location, "version": version}
        note_point(point, found, self.row.table_id)
        self._on(point, found)

    def run(self, rollback_point: bool) -> RollbackResult:
        found = self.lease.begin(self.row.full_name, self.row.log_location, self.row.table_id)
        if (unchanged := self._unchanged(found)) is not None:
            return unchanged
        name = found.cutover_id or f"rollback-{uuid.uuid4()}"
        self.lease.move("rolling_back", table_id=self.row.table_id, cutover_id=name)
        self.told("rolling-back", self.row.head_version)
        self._repair()
        began = time.perf_counter()
        self._drain()
        drained = time.perf_counter()
        self.told("drained", self.row.head_version)
        if rollback_point and self.row.authority == "sql":
            add_point(self.catalog, self.row, "rollback", cutover_id=name)
        self.told("pointed", self.row.head_version)
        features, unfence_seconds = self._unfence()
        self.told("returned", self.row.head_version)
        migration = self.lease.move(
            "following",
            cutover_id=None,
            fence_version=None,
            probation_until=None,
            reason="`dl cutover`, or nothing: files and SQL write through the log",
        )
        with closing(LightCatalog(self.url)) as light:
            base = read_base(light, self.row.table_id, self.options)
        self.told("rolled-back", self.row.head_version)
        return RollbackResult(
            self.row.full_name,
            base.row.head_version,
            base.protocol,
            tuple(features),
            self.stranded,
            drained - began,
            unfence_seconds,
            migration,
        )

    def _unchanged(self, found: Migration) -> RollbackResult | None:
        """Where the log ratifies and nothing is under way: it goes on from where it stands."""
        row = self.row
        if row.authority != "log" or (found.step or found.state) not in _BEFORE_CUTOVER:
            return None
        if foreign_in(self.catalog, row) is not None:
            return None
        self._drain()
        with closing(LightCatalog(self.url)) as light:
            base = read_base(light, row.table_id, self.options)
        if is_fenced(base.protocol):
            return None
        version = base.row.head_version
        return RollbackResult(row.full_name, version, base.protocol, migration=found, changed=False)

    def _repair(self) -> None:
        """Where the log was given back already, without the catalog: it is right from there on."""
        row = self.row
        since, foreign = given_back(self.catalog, row, self.log), foreign_in(self.catalog, row)
        if since is None and row.authority == "sql" and self.discards:
            since = first_foreign(self.catalog, row, self.log) if foreign is None else foreign
        if since is None or (row.authority == "log" and foreign is None):
            return
        tend.forget(self.url, row)
        done = take_over(self.catalog, row, self.log, since, self.database, self.options)
        self.stranded = done.stranded
        self.row = queries.find_table(self.catalog, row.table_id)

    def _drain(self) -> None:
        """All that the catalog has ratified into the log, before anything changes hands."""
        self.row = queries.find_table(self.catalog, self.row.table_id)
        if self.row.authority == "log":
            adopt(self.url, self.row, self.log)
            self.row = queries.find_table(self.catalog, self.row.table_id)
        self._publish()

    def _publish(self) -> None:
        """All that waits into the log. MIRROR_CONFLICT, by name, where others are in its way."""
        try:
            self._put_all()
        except DeltaLakeError as error:
            if error.kind is not DeltaLakeErrorKind.MIRROR_CONFLICT:
                raise
            waiting = unpublished(self.catalog, self.row, self.log)
            named = ", ".join(map(str, waiting[:_NAMED])) + (", …" if waiting[_NAMED:] else "")
            raise DeltaLakeError(
                DeltaLakeErrorKind.MIRROR_CONFLICT,
                f"versions {named} of {self.row.full_name} were acknowledged, and can't come into "
                f"its log since others have put version {waiting[0] if waiting else '?'} there; "
                "`dl mirror resolve` shows both, --discard-unpublished lets the log go on with "
                "theirs and keeps copies of ours",
                table=self.row.full_name,
                unpublished=waiting,
            ) from error

    def _put_all(self) -> None:
        """Durably. Whoever tends the log needn't let go of it."""
        row, deadline = self.row, time.monotonic() + _PUBLISH_SECONDS
        [(durable,)] = self.catalog.reader.rows(
            "SELECT durable_version FROM dl_mirror WHERE table_key = ?", (row.table_key,)
        ) or [(row.head_version,)]
        last = publish.commit_name(row.head_version)
        publish.drain(self.url, row, self.log, after=durable, until=row.head_version)
        while not self.log.exists(last):
            if time.monotonic() > deadline:
                raise DeltaLakeError(
                    DeltaLakeErrorKind.TIMEOUT_ERROR,
                    f"version {row.head_version} of {row.full_name} isn't in the log after "
                    f"{_PUBLISH_SECONDS:g} s; run this again when the log answers",
                    table=row.full_name,
                )
            time.sleep(_PAUSE_SECONDS)
            publish.drain(self.url, row, self.log, after=durable, until=row.head_version)
        names = [publish.commit_name(v) for v in range(durable + 1, row.head_version + 1)]
        self.log.sync(names)

    def _unfence(self) -> tuple[list[str], float]:
        began = time.perf_counter()
        for left in reversed(range(_TRIES)):
            with closing(LightCatalog(self.url)) as light:
                base = read_base(light, self.row.table_id, self.options)
                check_own_fence(light, base.protocol, base.metadata)
                self.row = base.row
                protocol, metadata, features = self._before(base)
                if not is_fenced(base.protocol) and base.row.authority == "log":
                    break
                self.told("before-unfence", base.row.head_version)
                try:
                    self._commit(light, base, protocol, metadata)
                except DeltaLakeError as error:
                    # Others change the table's properties, or hand it over, at the same time.
                    if not left or error.kind is not DeltaLakeErrorKind.CONCURRENCY_ERROR:
                        raise
                    continue
                break
        self.row = queries.find_table(self.catalog, self.row.table_id)
        self.told("publishing", self.row.head_version)
        self._publish()
        self.told("published", self.row.head_version)
        return features, time.perf_counter() - began

    def _before(self, base: Base) -> tuple[Protocol, Metadata, list[str]]:
        """Without the fence: as before the cutover, where nothing was enabled since."""
        protocol, metadata = unfenced(base.protocol, base.metadata)
        before = protocol_before(base.metadata)
        since = [] if before is None else features_since(before, protocol)
        if before is None or not since or not self.exact:
            return protocol, metadata, since
        needed = features_of(metadata.schema.struct, metadata.configuration)
        kept = sorted(set(since) & (needed | {"deletionVectors", "columnMapping"}))
        if kept:
            raise DeltaLakeError(
                DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
                f"{base.row.full_name} has come to need {', '.join(kept)} since its cutover, and a "
                "protocol without them would have others misread it; take them away first, or roll "
                "back without --exact, which keeps them",
                features=kept,
            )
        return before, metadata, []

    def _commit(
        self, light: LightCatalog, base: Base, protocol: Protocol, metadata: Metadata
    ) -> None:
        options = CommitOptions(mirror="async")
        info = commit_info(
            OPERATION, {"authority": "log", "fence": False}, {}, options, blind=False
        )
        staged = StagedTable(
            table=base.row,
            read_version=base.row.head_version,
            info=info,
            protocol=protocol.action(),
            metadata=metadata_body(metadata),
            in_commit_timestamps=base.in_commit_timestamps,
            authority="log",
        )
        ratify(light, [staged], options, self.options)
        self.told("unfenced", base.row.head_version + 1)


def rollback_without_catalog(
    log_dir: str,
    *,
    storage_options: Mapping[str, Any] | None = None,
    seconds: float = 5.0,
) -> RollbackResult:
    """Take the fence out of a log while its catalog can't be reached: by the log alone.

    Whoever still reaches the catalog, and publishes there, finds this in its way and gives the
    table back at once; what was acknowledged and isn't in the log by then is kept, and listed by
    `dl rollback TABLE` when the catalog is there again. Raises INVALID_ARGUMENT where there is no
    fence.
    """
    began = time.perf_counter()
    spec = log_store(log_dir, storage_options)
    log = open_store(spec)
    tail = tail_of_log(log)
    if not is_fenced(tail.protocol):
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"no fence is in {redact(spec.url)}: file-based writers may write already",
        )
    info = CommitInfo(
        operation=OPERATION,
        parameters={"authority": "log", "fence": False},
        is_blind_append=False,
        engine_info=engine_info(),
        txn_id=f"rollback-{uuid.uuid4()}",
        extra={publish.RETURNED: str(mark_of(tail.metadata).epoch)},
    )
    put = put_in_next_slot(log, tail, unfenced, info, seconds=seconds)
    protocol, _ = unfenced(put.before.protocol, put.before.metadata)
    return RollbackResult(
        redact(spec.url), put.version, protocol, seconds=time.perf_counter() - began
    )
