"""A V2 checkpoint upon an earlier one: sidecars in which nothing has changed are named again.

PROTOCOL.md, "Sidecar Files" and "V2 Spec". What has changed since is asked of the catalog, which
sidecars can have it of their tags (`log.checkpoint_part`). Those are read back and written without
what has gone; new files come into sidecars of their own, which take in small ones as they grow.
Counts and bytes of the result are held to the catalog's before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.reading.queries import Readable
from deltalakedb.catalog.records import TableRow, load_files_name
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.checkpoint_part import Kind, Sidecar
from deltalakedb.log.checkpoint_writer import (
    ROWS_AT_A_TIME,
    CheckpointWriter,
    WrittenCheckpoint,
)
from deltalakedb.log.deletion_vector import unique_ids
from deltalakedb.log.paths import CheckpointFile, parse_log_name
from deltalakedb.log.reader import sidecars_named
from deltalakedb.log.rows import FILE_SCHEMA
from deltalakedb.replay.retention import LogObject
from deltalakedb.scan.threads import in_order
from deltalakedb.storage.store import ObjectStore

_COLUMNS = tuple(name for name in FILE_SCHEMA.names if name != "path_key2")
_FOLDER = "_sidecars/"
_FEW_FILES = 2_000
_MOST_CHANGED = 0.2
"""Of the files: where more have changed, a whole checkpoint costs little more."""
_KINDS: tuple[Kind, ...] = ("add", "remove")

_File = tuple[str, str]
"""A path and the id of its vector ("" without one): what an action is about."""


class _UnusableError(Exception):
    """The earlier checkpoint can't be built upon."""


def file_rows(catalog: Readable, row: TableRow, where: str) -> Iterator[pa.RecordBatch]:
    """Rows of `FILE_SCHEMA` (but `path_key2`) of the live load; `where`: of f (files)."""
    picked = ", ".join(f"p.{c}" if c == "partition_values" else f"f.{c}" for c in _COLUMNS)
    sql = (
        f"SELECT {picked} FROM {load_files_name(row.live_load)} f JOIN dl_partitions p "
        "ON p.load_id = f.load_id AND p.partition_id = f.partition_id "
        f"WHERE f.load_id = {row.live_load} AND {where}"
    )
    if row.num_files <= _FEW_FILES:
        # Over the connection that is open, without all that streaming would import.
        few = catalog.reader.rows(f"{sql} LIMIT {_FEW_FILES + 1}")
        if len(few) <= _FEW_FILES:
            yield from queries.few_files(few, _COLUMNS).to_batches()
            return
    dialect = catalog.reader.dialect

    def streamed() -> Iterator[pa.RecordBatch]:
        with dialect.errors():
            yield from dialect.stream(sql, queries.file_schema(_COLUMNS), ROWS_AT_A_TIME)

    # Rows are received and decoded while those before them are encoded.
    yield from in_order([streamed], 2)


def upon_earlier(
    catalog: Readable,
    row: TableRow,
    log: ObjectStore,
    writer: Callable[[], CheckpointWriter],
    hint: dict[str, Any],
    version: int,
    oldest: int,
    totals: tuple[int, int],
) -> tuple[WrittenCheckpoint | None, Collection[str]]:
    """The checkpoint of a version, upon the one to which the hint leads; names of kept sidecars.

    None where the table asks for no V2 checkpoint, the earlier one isn't ours, or too much has
    changed. `oldest`: removes from before (ms since 1970) are left out where that costs nothing.
    `totals`: files and bytes of the version.
    """
    new = writer()
    if not new.v2 or not row.known_since <= hint["version"] <= version:
        return None, ()
    try:
        sidecars = _earlier(log, str(hint["v2Checkpoint"].get("path")), new.source)
        changes = _changes(catalog, row, hint["version"], version, oldest, totals[0])
        plan = _plan(log, sidecars, changes, new, oldest)
        if plan.totals(changes) != totals:
            return None, ()
        new.keep(plan.kept)
        for kind in _KINDS:
            for sidecar, gone in plan.again[kind]:
                _write_again(log, sidecar, kind, gone, new)
                new.end_sidecar()
            new.end_sidecar()
            (new.add_files if kind == "add" else new.add_removes)(changes.new[kind])
        return new.finish(), {each.name for each in plan.kept}
    except _UnusableError:
        return None, ()
    except DeltaLakeError as error:
        if error.kind is not DeltaLakeErrorKind.NOT_FOUND:
            raise
        return None, ()


def _earlier(log: ObjectStore, name: str, source: str) -> list[Sidecar]:
    """The sidecars of a checkpoint of ours, all of which stand."""
    actions = _column(log, name, "sidecar", ["sidecar"]).drop_null()
    found = []
    for body in actions.to_pylist():
        sidecar = Sidecar.told({**body, "tags": dict(body["tags"] or ())})
        if sidecar is None or sidecar.source != source:
            raise _UnusableError
        found.append(sidecar)
    standing = {(o.name.removeprefix(_FOLDER), o.size) for o in log.list(_FOLDER)}
    if not found or any((each.name, each.size) not in standing for each in found):
        raise _UnusableError
    return found


@dataclass
class _Changes:
    """Between two checkpoints: rows that come, and (file, partition, life's begin) that go."""

    new: dict[Kind, pa.Table]
    gone: dict[Kind, dict[_File, tuple[int, int]]]


def _changes(
    catalog: Readable, row: TableRow, since: int, version: int, oldest: int, num_files: int
) -> _Changes:
    span = f"c.table_key = {row.table_key} AND c.version > {since} AND c.version <= {version}"
    [(count,)] = catalog.reader.rows(f"SELECT count(*) FROM dl_changes c WHERE {span}", ())
    if count > max(_MOST_CHANGED * num_files, 1_000):
        raise _UnusableError
    batches = file_rows(
        catalog,
        row,
        f"f.added_version <= {version} AND "
        f"f.path_key IN (SELECT c.path_key FROM dl_changes c WHERE {span})",
    )
    lives = pa.Table.from_batches(batches, schema=queries.file_schema(_COLUMNS))
    files: list[_File] = list(
        zip(
            lives.column("path").to_pylist(),
            pc.fill_null(lives.column("dv_id"), "").to_pylist(),
            strict=True,
        )
    )
    added, removed = (lives.column(f"{n}_version").to_pylist() for n in ("added", "removed"))
    removed_at = lives.column("removed_at").to_pylist()
    partitions = lives.column("partition_id").to_pylist()
    last: dict[_File, int] = {}
    back = set()
    for file, begin, end in zip(files, added, removed, strict=True):
        last[file] = max(last.get(file, 0), end)
        if begin > since:
            back.add(file)
    comes: list[int] = []
    ends: list[int] = []
    gone: dict[Kind, dict[_File, tuple[int, int]]] = {"add": {}, "remove": {}}
    for place, (file, begin, end) in enumerate(zip(files, added, removed, strict=True)):
        if begin <= since < end <= version:
            gone["add"][file] = (partitions[place], begin)
        if begin > since and end > version:
            comes.append(place)
        if since < end <= version and last[file] == end and (removed_at[place] or 0) > oldest:
            ends.append(place)
        if end <= since and file in back:
            gone["remove"][file] = (partitions[place], begin)
    new: dict[Kind, pa.Table] = {
        "add": lives.take(pa.array(comes, pa.int64())),
        "remove": lives.take(pa.array(ends, pa.int64())),
    }
    return _Changes(new, gone)


@dataclass
class _Plan:
    kept: list[Sidecar] = field(default_factory=list)
    again: dict[Kind, list[tuple[Sidecar, set[_File]]]] = field(
        default_factory=lambda: {"add": [], "remove": []}
    )
    """Sidecars to write anew, each without some files."""
    gone_bytes: int = 0

    def totals(self, changes: _Changes) -> tuple[int, int]:
        """Live files and their bytes."""
        standing = [*self.kept, *(sidecar for sidecar, _ in self.again["add"])]
        gone = sum(len(files) for _, files in self.again["add"])
        size = sum(each.reach.size for each in standing if each.reach and each.num_adds)
        new = changes.new["add"]
        more = pc.sum(new.column("size")).as_py() or 0
        count = sum(each.num_adds for each in standing) - gone + new.num_rows
        return count, size - self.gone_bytes + more


def _plan(
    log: ObjectStore,
    sidecars: Sequence[Sidecar],
    changes: _Changes,
    writer: CheckpointWriter,
    oldest: int,
) -> _Plan:
    plan = _Plan()
    for kind in _KINDS:
        mine = [each for each in sidecars if (each.num_adds > 0) == (kind == "add")]
        if kind == "remove":
            mine = [each for each in mine if each.reach and each.reach.removed_at > oldest]
        left = dict(changes.gone[kind])
        clean: list[Sidecar] = []
        for sidecar in mine:
            found, size = _inside(log, sidecar, kind, left) if left else (set(), 0)
            if not found:
                clean.append(sidecar)
                continue
            plan.again[kind].append((sidecar, found))
            plan.gone_bytes += size
            for file in found:
                del left[file]
        if left and kind == "add":
            raise _UnusableError
        rows = changes.new[kind].num_rows + sum(
            each.num_adds + each.num_removes - len(found) for each, found in plan.again[kind]
        )
        # Small ones are taken in while what is written grows by them: few stay, none often.
        clean.sort(key=lambda each: each.num_adds + each.num_removes)
        for sidecar in clean:
            held = sidecar.num_adds + sidecar.num_removes
            if rows and held <= 2 * rows and held < writer.sidecar_rows // 2:
                plan.again[kind].append((sidecar, set()))
                rows += held
            else:
                plan.kept.append(sidecar)
    return plan


def _inside(
    log: ObjectStore, sidecar: Sidecar, kind: Kind, files: dict[_File, tuple[int, int]]
) -> tuple[set[_File], int]:
    """Which of some files a sidecar has, and their bytes."""
    assert sidecar.reach is not None
    possible = {file for file, life in files.items() if sidecar.reach.may_have(*life)}
    if not possible:
        return set(), 0
    fields = ("path", "size", *(f"deletionVector.{name}" for name in _VECTOR))
    column = _read(log, sidecar, kind, [f"{kind}.{name}" for name in fields])
    chosen = column.filter(_named(column, possible))
    sizes = dict(zip(_keys(chosen), chosen.field("size").to_pylist(), strict=True))
    found = possible & sizes.keys()
    return found, sum(sizes[file] or 0 for file in found) if kind == "add" else 0


_VECTOR = ("storageType", "pathOrInlineDv", "offset")


def _named(column: pa.StructArray, files: Collection[_File]) -> pa.BooleanArray:
    return pc.is_in(column.field("path"), pa.array(sorted({p for p, _ in files}), pa.string()))


def _keys(column: pa.StructArray) -> list[_File]:
    ids = unique_ids(column.field("deletionVector").to_pylist())
    return [(p, dv or "") for p, dv in zip(column.field("path").to_pylist(), ids, strict=True)]


def _read(log: ObjectStore, sidecar: Sidecar, kind: Kind, columns: list[str]) -> pa.StructArray:
    found = _column(log, _FOLDER + sidecar.name, kind, columns)
    if len(found) != sidecar.num_adds + sidecar.num_removes:
        raise _UnusableError
    return found


def _column(log: ObjectStore, name: str, column: str, fields: list[str]) -> pa.StructArray:
    try:
        with log.open_input(name) as file:
            chunks = pq.ParquetFile(file).read(columns=fields).column(column).chunks
    except (pa.ArrowException, LookupError) as error:
        # Whoever reads the checkpoint says that it is damaged; a new one mends it.
        raise _UnusableError from error
    if not chunks:
        raise _UnusableError
    return pa.concat_arrays(chunks)


def _write_again(
    log: ObjectStore,
    sidecar: Sidecar,
    kind: Kind,
    gone: set[_File],
    writer: CheckpointWriter,
) -> None:
    column = _read(log, sidecar, kind, [kind])
    if column.type != writer.file_type(kind):
        column = column.cast(writer.file_type(kind))
    if gone:
        named = _named(column, gone)
        going = [key in gone for key in _keys(column.filter(named))]
        places = pc.indices_nonzero(named).filter(pa.array(going, pa.bool_()))
        everything = pa.array(range(len(column)), pa.uint64())
        column = column.filter(pc.invert(pc.is_in(everything, places)))
    assert sidecar.reach is not None
    writer.add_written(kind, column, replace(sidecar.reach, size=0))


def sidecars_in(log: ObjectStore) -> list[LogObject]:
    """The sidecars of a log."""
    with suppress(DeltaLakeError):
        return [LogObject(each.name, each.modified_ms) for each in log.list(_FOLDER)]
    return []


def referenced(log: ObjectStore, names: Sequence[str]) -> set[str] | None:
    """The sidecars that checkpoints among these files of the log name.

    None where one of them can't be read: nobody knows then.
    """
    found: set[str] = set()
    for name in names:
        parsed = parse_log_name(name)
        if not isinstance(parsed, CheckpointFile) or parsed.parts is not None:
            continue
        try:
            found.update(sidecars_named(log, name))
        except (DeltaLakeError, pa.ArrowException, ValueError, OSError):
            return None
    return found
