"""Keeping the fence up against writers that know none, while the log still ratifies.

Who puts without a condition may write over the fence itself; who asks no protocol commits behind
it. The first is put into a slot of its own again, the second is adopted as it is, and both have the
fence renewed and the probation begin anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import xxhash

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.records import TableRow
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.commit import ActionReader
from deltalakedb.migrate.recover import STRANDED
from deltalakedb.mirror.adopt import adopt
from deltalakedb.mirror.publish import commit_name
from deltalakedb.storage.store import ObjectStore
from deltalakedb.table.operations.fence import said_by

_SLOTS = 1_000


@dataclass(frozen=True)
class Overwritten:
    """A commit that was written over one of the catalog's: its copy, and the slot that it got."""

    version: int
    engine: str | None
    copy: str
    moved_to: int


def check_fence(
    light: LightCatalog, row: TableRow, log: ObjectStore, fence: int, body: bytes
) -> Overwritten | None:
    """Read the fence back. What was written over it is moved to the next slot, and adopted.

    Only appends can be moved: MIRROR_CONFLICT for another commit, of which a copy is kept.
    """
    name = commit_name(fence)
    there = log.read(name)
    if there == body:
        return None
    said = said_by(there)
    engine = (said.info or {}).get("engineInfo")
    copy = f"{STRANDED}/over-{name}"
    log.put(copy, there)
    log.sync([copy])
    if not only_adds(there):
        raise DeltaLakeError(
            DeltaLakeErrorKind.MIRROR_CONFLICT,
            f"{engine or 'somebody'} wrote over the fence, version {fence} of {row.full_name}, and "
            f"its commit isn't an append that could be moved; a copy is _delta_log/{copy}: stop "
            "that writer, put the fence back with `dl cutover`, and do its work again",
            version=fence,
        )
    moved = put_after(light, log, row, there)
    log.put(name, body)
    log.sync([name, commit_name(moved)])
    adopt(light.reader.url, row, log)
    return Overwritten(fence, engine, copy, moved)


def only_adds(data: bytes) -> bool:
    """Whether a commit does nothing but add files, so that it is as good in another slot."""
    reader = ActionReader()
    reader.commit(0, data, name=commit_name(0), file_time=0)
    rows = reader.finish()
    return not (rows.closings.num_rows or rows.state or rows.others.num_rows)


def put_after(light: LightCatalog, log: ObjectStore, row: TableRow, data: bytes) -> int:
    """Into the first free slot behind the head; found there already, it isn't put again."""
    known = light.reader.rows(
        "SELECT max(version) FROM dl_versions WHERE load_id = ? AND log_digest = ?",
        (row.live_load, xxhash.xxh3_128_hexdigest(data)),
    )
    if known and known[0][0] is not None:
        return int(known[0][0])
    version = row.head_version + 1
    for _ in range(_SLOTS):
        name = commit_name(version)
        if log.put_if_absent(name, data) or log.read(name) == data:
            return version
        version += 1
    raise DeltaLakeError(
        DeltaLakeErrorKind.CONCURRENCY_ERROR,
        f"no slot of {row.full_name} was free for a commit that was written over its fence; run "
        "this again",
        rule="slot",
    )
