"""A commit of protocol and metadata into a log that ratifies itself: the first free slot takes it.

No lock is held while it is put, and no freeze is needed where every writer takes its slot by a put
that fails where a file is: whoever commits before is found in the slot, and the next one is tried.
The catalog learns of it as of any commit of others, so who dies in between leaves nothing undone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from deltalakedb.display.text import count_text
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.commit_writer import CommitInfo, commit_body, metadata_body
from deltalakedb.log.metadata import Metadata
from deltalakedb.log.protocol import Protocol
from deltalakedb.mirror.publish import commit_name
from deltalakedb.storage.store import ObjectStore
from deltalakedb.table.operations.fence import said_by

Change = Callable[[Protocol, Metadata], tuple[Protocol, Metadata]]


@dataclass(frozen=True)
class Tail:
    """What holds at the end of a log. `in_commit_timestamp`: the last one, where there are any."""

    version: int
    protocol: Protocol
    metadata: Metadata
    in_commit_timestamp: int | None = None


@dataclass(frozen=True)
class Put:
    """What became of it: its version and bytes, what held before, how often others were faster."""

    version: int
    before: Tail
    lost: int
    body: bytes


def put_in_next_slot(
    log: ObjectStore,
    tail: Tail,
    change: Change,
    info: CommitInfo,
    *,
    seconds: float,
) -> Put:
    """Put `change` of the tail's protocol and metadata as a commit named `info.txn_id`.

    Found there already, it isn't put again. Raises CONCURRENCY_ERROR (`rule` is `slot`) when
    others take every slot for so long, having changed nothing; STORAGE_ERROR when what became of a
    put can't be told: it is looked for by its name when this is run again.
    """
    deadline = time.monotonic() + seconds
    lost = 0
    while True:
        name = commit_name(tail.version + 1)
        body = _body(tail, change, info)
        if _is_put(log, name, body):
            log.sync([name])
            return Put(tail.version + 1, tail, lost, body)
        there = log.read(name)
        if len(there) < len(body) and body.startswith(there):
            # Cut off by a power failure before it was synced.
            log.put(name, body)
            log.sync([name])
            return Put(tail.version + 1, tail, lost, body)
        said = said_by(there)
        if said.token == info.txn_id:
            log.sync([name])
            return Put(tail.version + 1, tail, lost, there)
        lost += 1
        if time.monotonic() > deadline:
            raise DeltaLakeError(
                DeltaLakeErrorKind.CONCURRENCY_ERROR,
                f"{count_text(lost, 'commit')} of others came into {log.describe()} within "
                f"{seconds:g} s, each before ours; run again, or when they are fewer",
                rule="slot",
            )
        tail = replace(
            tail,
            version=tail.version + 1,
            protocol=said.protocol or tail.protocol,
            metadata=said.metadata or tail.metadata,
            in_commit_timestamp=said.in_commit_timestamp or tail.in_commit_timestamp,
        )


def _is_put(log: ObjectStore, name: str, body: bytes) -> bool:
    try:
        return log.put_if_absent(name, body)
    except DeltaLakeError as error:
        if error.kind is not DeltaLakeErrorKind.STORAGE_ERROR or not log.exists(name):
            raise
        # The answer was lost: the slot itself tells.
        return log.read(name) == body


def _body(tail: Tail, change: Change, info: CommitInfo) -> bytes:
    protocol, metadata = change(tail.protocol, tail.metadata)
    now = time.time_ns() // 1_000_000
    timed = metadata.configuration.get("delta.enableInCommitTimestamps", "").lower() == "true"
    stamp = max(now, (tail.in_commit_timestamp or 0) + 1) if timed else None
    return info.line(
        timestamp=stamp or now, read_version=tail.version, in_commit_timestamp=stamp
    ) + commit_body([{"protocol": protocol.action()}, {"metaData": metadata_body(metadata)}])
