"""What a migration will meet, table by table, before anything is done: it reads logs alone."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pyarrow.compute as pc

from deltalakedb.error import DeltaLakeError
from deltalakedb.executor.here import Here
from deltalakedb.importing.together import SmallTable, read_small
from deltalakedb.log.protocol import Protocol, check_known, check_writable
from deltalakedb.log.reader import read_listing
from deltalakedb.log.rows import LIVE
from deltalakedb.log.segment import CommitEntry, LogListing, latest_segment
from deltalakedb.migrate.batch import request_of
from deltalakedb.migrate.mapping import Entry
from deltalakedb.parity.facts import LOG_RECORD, live_files
from deltalakedb.parity.log_side import StateReader, plan_latest, read_parts
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import ObjectStore

_AT_ONCE = 8
_COMMITS = 50
"""The newest commits, whose commitInfo tells who writes."""
_HEAD_BYTES = 64 << 10
_BYTES_A_SECOND = 8e6
"""Of log, where nothing was measured."""
_LIST_PAGE = 1_000


@dataclass(frozen=True)
class Writer:
    """Who has written: `engine` as commitInfo says it, `who` the user, job or notebook."""

    engine: str
    who: str
    commits: int
    last: str

    def __str__(self) -> str:
        by = f" by {self.who}" if self.who else ""
        return f"{self.engine}{by} ({self.commits} of the newest commits, last {self.last})"


@dataclass(frozen=True)
class Assessment:
    """What is known of a table before it is moved.

    `files` and `bytes` are of its newest version, None where only reading all of it would tell;
    `log_bytes` and `requests` are what the import will read, and ask of the store; `seconds` is
    an estimate at the rate measured meanwhile; `refusal` is why it can't be imported, `read_only`
    why SQL can't write it afterwards.
    """

    location: str
    table: str
    version: int | None = None
    commits: int = 0
    files: int | None = None
    bytes: int | None = None
    log_bytes: int = 0
    requests: int = 0
    seconds: float = 0.0
    features: tuple[str, ...] = ()
    writers: tuple[Writer, ...] = ()
    refusal: str | None = None
    read_only: str | None = None
    owner: str = ""

    def to_json(self) -> dict[str, Any]:
        """The machine-readable form, without what isn't known."""
        return {k: v for k, v in asdict(self).items() if v not in (None, "")}

    def told(self) -> dict[str, Any]:
        """What is added to the table's line of a mapping file."""
        return {
            "version": "" if self.version is None else self.version,
            "files": "" if self.files is None else self.files,
            "bytes": "" if self.bytes is None else self.bytes,
            "seconds": round(self.seconds, 2),
            "writers": "; ".join(map(str, self.writers)),
            "features": " ".join(self.features),
            "refusal": self.refusal or self.read_only or "",
        }


@dataclass
class _Reading:
    """A log, read as far as an assessment needs it; bytes and seconds that it took."""

    found: dict[str, Any]
    read_bytes: int
    seconds: float


def assess(
    entries: Sequence[Entry], storage_options: Mapping[str, Any] | None = None
) -> list[Assessment]:
    """Look at each table; what can't be read is that table's `refusal`."""
    options = dict(storage_options or {})
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        readings = list(pool.map(lambda entry: _read(entry, options), entries))
    read = sum(r.read_bytes for r in readings)
    spent = sum(r.seconds for r in readings if r.read_bytes)
    rate = read / spent if spent > 0.05 else _BYTES_A_SECOND
    each = min((r.seconds for r in readings if r.read_bytes), default=0.0)
    return [
        Assessment(
            location=entry.location,
            table=entry.full_name,
            owner=entry.owner,
            seconds=each + r.found.get("log_bytes", 0) / rate if r.found.get("log_bytes") else 0.0,
            **r.found,
        )
        for entry, r in zip(entries, readings, strict=True)
    ]


def _read(entry: Entry, options: Mapping[str, Any]) -> _Reading:
    began = time.perf_counter()
    found: dict[str, Any] = {}
    read = 0
    try:
        request = request_of(entry, None, options)
        store = open_store(request.store)
        listing = read_listing(store)
        found |= _of_listing(listing, request.store)
        found["writers"] = _writers(store, listing.commits[-_COMMITS:])
        small = read_small(request, listing)
        if small is not None:
            found |= _of_small(small)
        else:
            found |= _of_large(store, request.store, listing)
        read = found["log_bytes"]
    except DeltaLakeError as error:
        found["refusal"] = error.message
    return _Reading(found, read, time.perf_counter() - began)


def _of_listing(listing: LogListing, spec: StoreSpec) -> dict[str, Any]:
    segment = latest_segment(listing)
    run = segment.runs[-1]
    names = len(run.base.names) if run.base else 0
    pages = 1 + (len(listing.commits) + len(listing.checkpoints)) // _LIST_PAGE
    return {
        "version": listing.head,
        "commits": len(listing.commits),
        "log_bytes": sum(c.size for c in run.commits) + (run.base.size if run.base else 0),
        # Lists and looks for the log, then a read a commit, and footer and body of a checkpoint.
        "requests": (1 + 2 * pages + len(run.commits) + 3 * names) if spec.is_s3 else 0,
    }


def _of_small(small: SmallTable) -> dict[str, Any]:
    live = small.state.files.filter(pc.equal(small.state.files.column("removed_version"), LIVE))
    body = next(i.body for i in small.head.intervals[::-1] if i.action == "protocol")
    return {
        "files": live.num_rows,
        "bytes": int(pc.sum(live.column("size")).as_py() or 0),
        **_of_protocol(body),
    }


def _of_large(store: ObjectStore, spec: StoreSpec, listing: LogListing) -> dict[str, Any]:
    plan, gap = plan_latest(store, listing, listing.head, set())
    if gap is not None:
        raise gap
    reader = StateReader()
    records = [np.empty(0, dtype=LOG_RECORD)]
    for part in read_parts(spec, plan.ranges, Here()):
        reader.add(part)
        records.append(part.records)
    protocol = reader.state(plan.version).protocol
    action = {
        "minReaderVersion": protocol["min_reader_version"],
        "minWriterVersion": protocol["min_writer_version"],
        "readerFeatures": protocol["reader_features"],
        "writerFeatures": protocol["writer_features"],
    }
    kept = {k: v for k, v in action.items() if v is not None}
    return {"files": len(live_files(np.concatenate(records))), **_of_protocol(kept)}


def _of_protocol(body: Mapping[str, Any]) -> dict[str, Any]:
    protocol = Protocol.from_action(body)
    names = {*(protocol.reader_features or ()), *(protocol.writer_features or ())}
    found: dict[str, Any] = {
        "features": (
            f"reader {protocol.min_reader_version}",
            f"writer {protocol.min_writer_version}",
            *sorted(names),
        )
    }
    try:
        check_known(protocol)
    except DeltaLakeError as error:
        found["refusal"] = error.message
        return found
    try:
        check_writable(protocol)
    except DeltaLakeError as error:
        found["read_only"] = error.message
    return found


def _writers(store: ObjectStore, commits: Sequence[CommitEntry]) -> tuple[Writer, ...]:
    """Who wrote the newest commits, the latest first."""
    counts: Counter[tuple[str, str]] = Counter()
    last: dict[tuple[str, str], int] = {}
    short = [c.name for c in commits if c.size <= _HEAD_BYTES]
    texts = store.read_many(short)
    texts += [store.read_range(c.name, 0, _HEAD_BYTES) for c in commits if c.size > _HEAD_BYTES]
    for text in texts:
        info = _commit_info(text)
        if info is None:
            continue
        engine = str(info.get("engineInfo") or info.get("clientVersion") or "unnamed engine")
        key = engine, _who(info)
        counts[key] += 1
        at = info.get("timestamp")
        last[key] = max(last.get(key, 0), at if isinstance(at, int) else 0)
    order = sorted(counts, key=lambda key: -last[key])
    return tuple(Writer(*key, counts[key], _day(last[key])) for key in order)


def _commit_info(text: bytes) -> dict[str, Any] | None:
    for line in text.splitlines():
        if b'"commitInfo"' in line:
            try:
                info = orjson.loads(line).get("commitInfo")
            except (orjson.JSONDecodeError, AttributeError):
                return None
            return info if isinstance(info, dict) else None
    return None


def _who(info: Mapping[str, Any]) -> str:
    parts = [str(info[n]) for n in ("userName", "userId", "userMetadata") if info.get(n)][:1]
    for name, key in (("job", "jobId"), ("notebook", "notebookId")):
        inner = info.get(name)
        if isinstance(inner, dict) and inner.get(key):
            parts.append(f"{name} {inner[key]}")
    return ", ".join(parts)


def _day(milliseconds: int) -> str:
    if not 0 < milliseconds < 253_402_300_800_000:
        return "unknown"
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M")
