"""What one worker reads of a log for a diff: a range, as records, or some of its files in full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import pyarrow as pa

from deltalakedb.error import DeltaLakeError
from deltalakedb.log import checkpoint
from deltalakedb.log.commit import ActionRows, StateChange
from deltalakedb.log.parquet_footer import null_counts
from deltalakedb.log.ranges import RangeSpec, slices_of
from deltalakedb.log.reader import commit_slices, read_range
from deltalakedb.log.rows import FILE_SCHEMA, LIVE
from deltalakedb.parity.facts import LOG_RECORD, Records, log_records
from deltalakedb.replay.state import RangeState
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import ObjectStore

_BATCH_ROWS = 32_768
_STATE_COLUMNS = ("metaData", "protocol", "txn", "domainMetadata")
_PATH, _STATS = "add.path", "add.stats"
_ADD_COLUMNS = ("path", "partitionValues", "size", "deletionVector")


@dataclass(frozen=True)
class LogPart:
    """A range of the log, read.

    `records`: LOG_RECORD; `digests`: (version, digest) of its commits.
    """

    index: int
    records: Records
    state: tuple[StateChange, ...]
    digests: tuple[tuple[int, str], ...]


def read_part(spec: StoreSpec, part: RangeSpec) -> LogPart:
    """Read and replay one range. Raises what `log.reader.read_range` raises."""
    records: list[Records] = [np.empty(0, dtype=LOG_RECORD)]
    state: list[StateChange] = []
    digests: list[tuple[int, str]] = []
    how = RangeState.replay if _slices(part) == 1 else RangeState.unresolved
    for piece in _pieces(open_store(spec), part):
        replayed = how(piece, part.first, part.last)
        records.append(log_records(replayed, part.index))
        state += replayed.state
        columns = [replayed.versions.column(n).to_pylist() for n in ("version", "log_digest")]
        digests += zip(*columns, strict=True)
    return LogPart(part.index, np.concatenate(records), tuple(state), tuple(digests))


def read_files(spec: StoreSpec, part: RangeSpec, keys: frozenset[tuple[int, int]]) -> pa.Table:
    """The live files of one range whose keys are asked for: FILE_SCHEMA."""
    found = [FILE_SCHEMA.empty_table()]
    for piece in _pieces(open_store(spec), part):
        files = RangeState.replay(piece, part.first, part.last).files
        names = ("path_key", "path_key2", "removed_version")
        rows = zip(*(files.column(n).to_pylist() for n in names), strict=True)
        wanted = [end == LIVE and (key, key2) in keys for key, key2, end in rows]
        found.append(files.filter(pa.array(wanted, pa.bool_())))
    return _last_of_each(pa.concat_tables(found))


def _last_of_each(files: pa.Table) -> pa.Table:
    """Of a file that several slices of one commit add, the last line stays."""
    keys = zip(*(files.column(n).to_pylist() for n in ("path_key", "path_key2")), strict=True)
    last = {key: row for row, key in enumerate(keys)}
    return files.take(pa.array(sorted(last.values()), pa.int64()))


def _slices(part: RangeSpec) -> int:
    return slices_of(part.commits[0]) if len(part.commits) == 1 else 1


def _pieces(store: ObjectStore, part: RangeSpec) -> Iterator[ActionRows]:
    """The actions of a range; those of a checkpoint's Parquet file batch by batch.

    Statistics and removes are most of a checkpoint, and aren't compared: of the former only
    whether there are any, the latter end nothing, as nothing comes before a checkpoint.
    """
    if not part.units:
        if (count := _slices(part)) > 1:
            yield from commit_slices(store, part.commits[0], count)
        else:
            yield read_range(store, part)
        return
    for name, units in groupby(part.units, key=lambda unit: unit.name):
        same = tuple(units)
        groups = [group for unit in same for group in unit.groups or ()]
        whole = replace(part, units=same)
        if not groups:
            yield _without_removes(read_range(store, whole))
            continue
        try:
            yield from _file_pieces(store, name, groups, part.first)
        except (pa.ArrowException, OSError, ValueError, DeltaLakeError):
            read_range(store, whole)  # raises CORRUPT_CHECKPOINT with all that is known of it
            raise


def _without_removes(rows: ActionRows) -> ActionRows:
    return replace(rows, closings=rows.closings.slice(0, 0))


def _file_pieces(
    store: ObjectStore, path: str, groups: list[int], version: int
) -> Iterator[ActionRows]:
    home, name = store.resolve(path)
    with home.open_input(name) as source:
        known = _all_have_stats(source, groups)
        file = checkpoint.parquet_file(source)
        columns = _columns(file.schema_arrow, with_stats=not known)
        for batch in checkpoint.batches(file, _BATCH_ROWS, groups, columns):
            rows = checkpoint.action_rows(checkpoint.checked(batch), version)
            yield _with_stats(rows) if known else rows


def _all_have_stats(source: pa.NativeFile, groups: Sequence[int]) -> bool:
    try:
        facts = null_counts(source, (_PATH, _STATS))
    except ValueError:
        return False  # a footer whose counts are damaged; the rows may be sound
    return all(group < len(facts) and _each_has_stats(facts[group]) for group in groups)


def _each_has_stats(nulls: Mapping[str, int]) -> bool:
    """Whether a row group's footer says that each of its adds has a statistics text."""
    return len(nulls) == 2 and nulls[_PATH] == nulls[_STATS]


def _columns(schema: pa.Schema, *, with_stats: bool) -> list[str]:
    columns = [name for name in _STATE_COLUMNS if name in schema.names]
    if "add" in schema.names:
        kind = schema.field("add").type
        if not pa.types.is_struct(kind):
            raise ValueError(f"the column add is {kind}, not a struct")
        names = {child.name for child in kind}
        wanted = [*_ADD_COLUMNS, *(("stats", "stats_parsed") if with_stats else ())]
        columns += [f"add.{name}" for name in wanted if name in names]
    return columns


def _with_stats(rows: ActionRows) -> ActionRows:
    """Something in the place of statistics that are there and weren't read."""
    stats = pa.repeat(pa.scalar("{}"), rows.files.num_rows)
    index = rows.files.schema.get_field_index("stats")
    return replace(rows, files=rows.files.set_column(index, rows.files.schema.field(index), stats))
