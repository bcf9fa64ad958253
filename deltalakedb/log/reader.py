"""The one reader of logs: listing, checkpoints with their sidecars, and ranges of versions.

The only module of `log` that does I/O. Everything that reads a log (import, catch-up, parity)
goes through `plan_ranges` and `read_range`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice, pairwise
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from deltalakedb.error import CorruptCheckpointError, DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log import checkpoint as parts
from deltalakedb.log.commit import ActionReader, ActionRows, OpenCommit
from deltalakedb.log.commit_slices import slice_rows
from deltalakedb.log.paths import commit_name, decode_path, is_absolute
from deltalakedb.log.ranges import (
    RANGE_BYTES,
    RANGE_COMMITS,
    CheckpointUnit,
    RangeSpec,
    grouped,
    runs_of_commits,
    weight,
)
from deltalakedb.log.segment import CheckpointEntry, CommitEntry, LogListing, Segment, list_log
from deltalakedb.memory import without_collector
from deltalakedb.storage.store import ObjectStore

SETTLE_ADDS = 2_000
_LISTINGS = 5
_SLICE_BATCH = 16_384


def read_listing(store: ObjectStore) -> LogListing:
    """One listing of the log; raises NOT_FOUND, NOT_A_DELTA_TABLE or EMPTY_LOG.

    A long listing beside writers may show a commit and not the one before, which was there first:
    then it is made again.
    """
    for _ in range(_LISTINGS):
        entries = [(o.name, o.size, o.modified_ms) for o in store.list()]
        found = list_log(entries, store.spec.url)
        versions = [commit.version for commit in found.commits]
        gap = next((a + 1 for a, b in pairwise(versions) if b > a + 1), None)
        if gap is None and found.head not in versions[-1:]:
            gap = found.head  # of a checkpoint, whose commit was there first
        if gap is None or not store.exists(commit_name(gap)):
            break
    return found


def plan_ranges(
    store: ObjectStore, segment: Segment, size: int = RANGE_BYTES, *, sliced: bool = False
) -> list[RangeSpec]:
    """Ranges of a segment in order of version; opens the checkpoints' footers.

    `sliced`: commits that are too large for a range are ranges of one slice each.

    Raises CORRUPT_CHECKPOINT (fact `checkpoint`: the fingerprint to exclude).
    """
    ranges: list[RangeSpec] = []
    for number, run in enumerate(segment.runs):
        if run.base is not None:
            parts_of = _checkpoint_units(store, run.base, size)
            for units in grouped(parts_of, lambda u: u.size, size):
                ranges.append(
                    RangeSpec(
                        len(ranges),
                        number,
                        run.base.version,
                        run.base.version,
                        units=units,
                        checkpoint=run.base.fingerprint,
                    )
                )
        for commits, count in runs_of_commits(run.commits, size, RANGE_COMMITS):
            ends = commits[0].version, commits[-1].version
            if sliced and count > 1:
                ranges += [
                    RangeSpec(len(ranges) + k, number, *ends, commits=commits, slice=(k, count))
                    for k in range(count)
                ]
            else:
                ranges.append(RangeSpec(len(ranges), number, *ends, commits=commits))
    for commits in grouped(segment.history_only, weight, size, RANGE_COMMITS):
        ranges.append(
            RangeSpec(
                len(ranges),
                -1,
                commits[0].version,
                commits[-1].version,
                commits=commits,
                history_only=True,
            )
        )
    return ranges


def read_range(store: ObjectStore, spec: RangeSpec) -> ActionRows:
    """Read the actions of one range, nothing reconciled yet.

    Raises CORRUPT_COMMIT, CORRUPT_CHECKPOINT, NOT_FOUND (a file has gone since the listing).
    """
    with without_collector():
        return _read_range(store, spec)


def read_ranges(store: ObjectStore, specs: Sequence[RangeSpec]) -> Iterator[ActionRows]:
    """`read_range` of each; ranges that share a row group decode it once, in ascending order."""
    if len(specs) == 1:
        yield read_range(store, specs[0])
        return
    first = specs[0]
    if first.slice is not None:
        yield from commit_slices(store, first.commits[0], first.slice[1])
        return
    slices = [unit.rows for spec in specs for unit in spec.units if unit.rows is not None]
    assert len(slices) == len(specs)
    with (
        _checkpoint_errors(first.first, first.checkpoint, first.units[0].name),
        without_collector(),
    ):
        yield from _read_slices(store, first.units[0], slices, first.first)


def commit_slices(store: ObjectStore, entry: CommitEntry, count: int) -> Iterator[ActionRows]:
    """The rows of a large commit slice by slice, in a bounded memory. Raises as `read_range`."""
    home, inner = store.resolve(entry.name)
    with without_collector(), home.open_input(inner) as source:
        commit = OpenCommit(entry.version, entry.name, entry.modified_ms)
        yield from slice_rows(source, entry.size, count, commit)


def _read_range(store: ObjectStore, spec: RangeSpec) -> ActionRows:
    if spec.slice is not None:
        # What came before is needed for the commit's own row, and to find the first line.
        number, count = spec.slice
        return next(islice(commit_slices(store, spec.commits[0], count), number, None))
    reader = ActionReader()
    with closing(store.read_each([e.name for e in spec.commits])) as contents:
        for entry, data in zip(spec.commits, contents, strict=True):
            reader.commit(
                entry.version,
                data,
                name=entry.name,
                file_time=entry.modified_ms,
                history_only=spec.history_only,
            )
            if reader.pending >= SETTLE_ADDS:
                reader.settle()
    pieces = [reader.finish()]
    for unit in spec.units:
        with _checkpoint_errors(spec.first, spec.checkpoint, unit.name):
            pieces.append(_read_unit(store, unit, spec.first))
    return _joined(pieces)


def _joined(pieces: list[ActionRows]) -> ActionRows:
    if len(pieces) == 1:
        return pieces[0]
    tables = {
        name: pa.concat_tables([getattr(p, name) for p in pieces])
        for name in ("files", "closings", "versions", "changes", "others")
    }
    return ActionRows(**tables, state=[s for p in pieces for s in p.state])


class _checkpoint_errors:
    """Turns whatever a damaged checkpoint raises into CORRUPT_CHECKPOINT with its fingerprint."""

    def __init__(self, version: int, fingerprint: str, name: str) -> None:
        self._version, self._fingerprint, self._name = version, fingerprint, name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DeltaLakeError):
            if error.kind not in (DeltaLakeErrorKind.NOT_FOUND, DeltaLakeErrorKind.CORRUPT_COMMIT):
                return
            reason = error.message
        elif isinstance(error, _DAMAGE):
            reason = f"{type(error).__name__}: {error}"
        else:
            return
        raise CorruptCheckpointError(
            f"checkpoint file {self._name} of version {self._version} can't be read: {reason}; "
            "restore it from a backup, or delete it if the commits are all there",
            version=self._version,
            checkpoint=self._fingerprint,
            file=self._name,
        ) from error


# What pyarrow and the reading of decoded actions raise over bytes that are no checkpoint.
_DAMAGE = (pa.ArrowException, OSError, ValueError, TypeError, AttributeError, LookupError)


def _checkpoint_units(
    store: ObjectStore, entry: CheckpointEntry, size: int
) -> tuple[CheckpointUnit, ...]:
    units: list[CheckpointUnit] = []
    sidecars: list[str] = []
    for name in entry.names:
        with _checkpoint_errors(entry.version, entry.fingerprint, name):
            if name.endswith(".json"):
                units.append(CheckpointUnit(name, None, entry.size))
                sidecars += _json_sidecars(store.read(name))
            else:
                found, named = _parquet_units(store, name, size)
                units += found
                sidecars += named
    for path in sidecars:
        name = decode_path(path) if is_absolute(path) else f"_sidecars/{decode_path(path)}"
        with _checkpoint_errors(entry.version, entry.fingerprint, name):
            units += _parquet_units(store, name, size)[0]
    return tuple(units)


def sidecars_named(store: ObjectStore, name: str) -> list[str]:
    """Paths of the sidecars that a checkpoint's file names; none where it isn't V2."""
    return _json_sidecars(store.read(name)) if name.endswith(".json") else _named(store, name)


def _json_sidecars(data: bytes) -> list[str]:
    return [
        action["sidecar"]["path"]
        for line in data.splitlines()
        if line.strip() and (action := orjson.loads(line)).get("sidecar") is not None
    ]


def _parquet_units(
    store: ObjectStore, name: str, size: int
) -> tuple[list[CheckpointUnit], list[str]]:
    home, inner = store.resolve(name)
    with home.open_input(inner) as source:
        file = parts.parquet_file(source)
        units = [
            unit
            for group in range(file.metadata.num_row_groups)
            for unit in _group_units(name, group, file.metadata.row_group(group), size)
        ]
        return units, _sidecar_paths(file)


def _named(store: ObjectStore, name: str) -> list[str]:
    home, inner = store.resolve(name)
    with home.open_input(inner) as source:
        return _sidecar_paths(pq.ParquetFile(source))


def _sidecar_paths(file: pq.ParquetFile) -> list[str]:
    sidecars: list[str] = []
    if "sidecar" in file.schema_arrow.names:
        for batch in file.iter_batches(columns=["sidecar"]):
            sidecars += parts.sidecar_names(parts.checked(batch))
    return sidecars


def _group_units(
    name: str, group: int, facts: pq.RowGroupMetaData, size: int
) -> list[CheckpointUnit]:
    """A row group; one that is too large for a range (a writer may make one of all) in parts."""
    count = max(1, min(facts.num_rows, facts.total_byte_size // size))
    if count == 1:
        return [CheckpointUnit(name, (group,), facts.total_byte_size)]
    edges = [facts.num_rows * part // count for part in range(count + 1)]
    return [
        CheckpointUnit(name, (group,), facts.total_byte_size // count, (first, after - first))
        for first, after in pairwise(edges)
    ]


def _read_unit(store: ObjectStore, unit: CheckpointUnit, version: int) -> ActionRows:
    if unit.groups is None:
        return _read_json_checkpoint(store.read(unit.name), version)
    if unit.rows is not None:
        [found] = _read_slices(store, unit, [unit.rows], version)
        return found
    home, inner = store.resolve(unit.name)
    with home.open_input(inner) as source:
        file = parts.parquet_file(source)
        pieces = _batches(file, unit.groups, version, parsed=False)
        without = any(p.files.column("stats").null_count for p in pieces)
        if without and _has_both_stats(file.schema_arrow):
            pieces = _batches(file, unit.groups, version, parsed=True)
    return _joined(pieces) if pieces else ActionReader().finish()


def _batches(
    file: pq.ParquetFile, groups: tuple[int, ...], version: int, *, parsed: bool
) -> list[ActionRows]:
    columns = _wanted(file.schema_arrow, parsed=parsed)
    return [
        parts.action_rows(parts.checked(batch), version)
        for batch in parts.batches(file, 65_536, groups, columns)
    ]


def _read_slices(
    store: ObjectStore, unit: CheckpointUnit, slices: Sequence[tuple[int, int]], version: int
) -> Iterator[ActionRows]:
    """Parts of a row group, in ascending order: all rows before the last are decoded once.

    Twice where a text of statistics is missing and there are parsed ones: only the rows can tell
    that, as pyarrow ends the process when it is asked for the statistics of a damaged footer.
    """
    home, inner = store.resolve(unit.name)
    with home.open_input(inner) as source:
        file = parts.parquet_file(source)
        groups = list(unit.groups or ())

        def rows(start: int, *, parsed: bool) -> Iterator[pa.RecordBatch]:
            """From row `start` on."""
            columns = _wanted(file.schema_arrow, parsed=parsed)
            for batch in parts.batches(file, _SLICE_BATCH, groups, columns):
                if start < batch.num_rows:
                    yield batch.slice(start)
                start = max(0, start - batch.num_rows)

        both = _has_both_stats(file.schema_arrow)
        position, batch, batches = 0, None, rows(0, parsed=False)
        for first, count in slices:
            pieces: list[ActionRows] = []
            while position < first + count:
                if batch is None or not batch.num_rows:
                    batch = next(batches, None)
                    if batch is None:
                        raise ValueError(f"row group {groups} has fewer rows than its footer says")
                skipped = max(0, min(batch.num_rows, first - position))
                wanted = batch.slice(skipped, first + count - position - skipped)
                if wanted.num_rows:
                    found = parts.action_rows(parts.checked(wanted), version)
                    if both and found.files.column("stats").null_count:
                        both, batch, batches = False, None, rows(position, parsed=True)
                        continue
                    pieces.append(found)
                position += skipped + wanted.num_rows
                batch = batch.slice(skipped + wanted.num_rows)
            yield _joined(pieces) if pieces else ActionReader().finish()


def _has_both_stats(schema: pa.Schema) -> bool:
    if "add" not in schema.names:
        return False
    names = {child.name for child in schema.field("add").type}
    return {"stats", "stats_parsed"} <= names


def _wanted(schema: pa.Schema, *, parsed: bool) -> list[str]:
    """Columns to read: the parsed forms only where the text is not there."""
    columns: list[str] = []
    for field in schema:
        if field.name not in parts.CHECKPOINT_COLUMNS:
            continue
        if field.name != "add":
            columns.append(field.name)
            continue
        names = [child.name for child in field.type]
        for child in names:
            if child == "partitionValues_parsed":
                continue
            if child == "stats_parsed" and "stats" in names and not parsed:
                continue
            columns.append(f"add.{child}")
    return columns


def _read_json_checkpoint(data: bytes, version: int) -> ActionRows:
    reader = ActionReader()
    for position, line in enumerate(data.splitlines(), 1):
        if line.strip():
            action: dict[str, Any] = orjson.loads(line)
            reader.action(version, action, position)
    return reader.finish()
