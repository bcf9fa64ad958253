"""VACUUM: files that no version within the retention needs, told by the catalog without a LIST.

PROTOCOL.md, "Vacuum Protocol Check", "Add File and Remove File". A file goes once the version that
removed it was committed before the retention began, and is in the log. Whoever reads any later
version finds all its files. What a dead write had registered goes too, what a live one has stays
(`registration`). With `full` the table's folder is listed, for what nobody knows of; other tables
that lie below it keep what they have.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import orjson
import pyarrow as pa

from deltalakedb.catalog.dialects.writer import Statement
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.records import TableRow, load_condition, load_files_name
from deltalakedb.commit.refusal import catalog_behind
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.deletion_vector import vector_path
from deltalakedb.log.paths import decode_path, encode_path, is_absolute
from deltalakedb.log.protocol import check_writable
from deltalakedb.log.rows import file_keys
from deltalakedb.log.table_properties import DELETED_FILE_RETENTION, duration_ms
from deltalakedb.mirror import publish, tend
from deltalakedb.mirror.adopt import adopt
from deltalakedb.mirror.committer import LogRatifier
from deltalakedb.storage.store import ObjectInfo
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.lives import (
    VACUUM_BEGUN,
    VACUUM_DONE,
    claim,
    extend,
    files_lease,
    property_of,
    rollback_versions,
    set_property,
)
from deltalakedb.table.operations.registration import abandoned, held, reaped, removed

_HOUR_MS = 3_600_000
_CLOCKS_MS = _HOUR_MS
"""How far the clocks of a store, a database and ours may be apart."""
_LONGEST_PUT_MS = 24 * _HOUR_MS
"""Nobody is still writing one file after that time."""
_BATCH = 1_000
_PARTITIONS = 200
_KEYS = 500
_CHANGE_DATA = "_change_data"
_LOG = "/_delta_log/"


@dataclass(frozen=True, kw_only=True)
class VacuumOptions:
    """delta-rs's parameters of vacuum."""

    retention_hours: float | None = None
    dry_run: bool = True
    enforce_retention_duration: bool = True
    full: bool = False
    keep_versions: Sequence[int] = ()


def vacuum(catalog: LightCatalog, base: Base, options: VacuumOptions) -> list[str]:
    """The names of the files that go, or would go; relative to the table, decoded.

    INVALID_ARGUMENT for a retention below the table's unless that isn't enforced.
    """
    check_writable(base.protocol)
    retention = _retention(base, options)
    base = _followed(catalog, base)
    row = base.row
    before = time.time_ns() // 1_000_000 - retention
    listed = base.data.list(recursive=True) if options.full else []
    if options.dry_run:
        until = _until(catalog, row, before, options)
        names = _doomed(catalog, base, until, before, listed)
        return list(dict.fromkeys([*names, *_orphans(catalog, row, abandoned(catalog, row))]))
    with files_lease(catalog, row) as lease:
        until = _until(catalog, row, before, options)
        begun = max(until, property_of(catalog, row, VACUUM_BEGUN))
        # From here on nobody brings them back, and nobody commits what nobody knows of.
        claim(catalog, row, lease, begun, listed_before=_nobodys(catalog, before, options))
        taken = reaped(catalog, row)
        names = _doomed(catalog, base, until, before, listed)
        orphans = _orphans(catalog, row, [name for _, _, name in taken])
        names = list(dict.fromkeys([*names, *orphans]))
        for start in range(0, len(names), _BATCH):
            extend(catalog, row, lease, ())
            base.data.delete(names[start : start + _BATCH])
        if options.full:
            unfinished = min(before, time.time_ns() // 1_000_000 - _LONGEST_PUT_MS)
            base.data.remove_unfinished(unfinished)
            publish.log_of(row, base.storage_options).remove_unfinished(unfinished)
        done = max(until, property_of(catalog, row, VACUUM_DONE))
        extend(catalog, row, lease, [*set_property(row, VACUUM_DONE, done), *removed(taken)])
    return names


def _nobodys(catalog: LightCatalog, before: int, options: VacuumOptions) -> int | None:
    """The time of the database before which writes have begun whose files may be taken.

    Times of files are another clock's, in S3 in whole seconds: where so little is retained that
    this matters, no write commits that has begun before the folder was listed and hasn't said so.
    """
    if not options.full:
        return None
    if before < time.time_ns() // 1_000_000 - _CLOCKS_MS:
        return before
    with writing(catalog.reader.url) as writer:
        [(now,)] = writer.select(Statement(f"SELECT {writer.now}"))
    return max(before, int(now))


def _followed(catalog: LightCatalog, base: Base) -> Base:
    """The table with log and catalog at one version.

    What isn't in the log yet, file-based readers don't know to be gone; what only the log has, the
    catalog doesn't know to be needed.
    """
    row = base.row
    log = publish.log_of(row, base.storage_options)
    if row.authority != "log":
        tend.tend_now(catalog.reader.url, row, log, checkpoint=False)
        _check_not_set_back(catalog, base)
        return base
    adopt(catalog.reader.url, row, log)
    return Base.named(catalog, row.table_id, base.storage_options)


def _check_not_set_back(catalog: LightCatalog, base: Base) -> None:
    """A catalog that was restored doesn't know which files the log's later versions have."""
    ratifier = LogRatifier(catalog.reader.url, base.storage_options)
    newest = ratifier.check_log(base.row)
    # Asked after the log: what others commit meanwhile is in the catalog first.
    [(head,)] = catalog.reader.rows(
        "SELECT head_version FROM dl_heads WHERE table_key = ?", (base.row.table_key,)
    ) or [(newest,)]
    if newest > head:
        raise catalog_behind(base.row, head, newest)


def _orphans(catalog: LightCatalog, row: TableRow, names: Sequence[str]) -> list[str]:
    """Those that are in no version: of a commit that came in from the log the rows are left."""
    known = _of_paths(catalog, row, [encode_path(name) for name in names])
    return [name for name in names if encode_path(name) not in known]


def _retention(base: Base, options: VacuumOptions) -> int:
    own = duration_ms(base.metadata.configuration, DELETED_FILE_RETENTION) or 0
    if options.retention_hours is None:
        return own
    wanted = int(options.retention_hours * _HOUR_MS)
    if wanted < 0:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT, "retention_hours can't be below 0"
        )
    if wanted < own and options.enforce_retention_duration:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"{options.retention_hours:g} hours are below the retention of {base.row.full_name}, "
            f"{own / _HOUR_MS:g} hours: readers and time travel within it would break; give more, "
            "or force it (enforce_retention_duration=False, --force)",
            table=base.row.full_name,
        )
    return wanted


def _until(catalog: LightCatalog, row: TableRow, before: int, options: VacuumOptions) -> int:
    """The oldest version that is to stay readable."""
    found = queries.version_before(catalog, row, before)
    [(published,)] = catalog.reader.rows(
        "SELECT published_version FROM dl_mirror WHERE table_key = ?", (row.table_key,)
    ) or [(-1,)]
    kept = [*options.keep_versions, *rollback_versions(catalog, row)]
    return min([-1 if found is None else found, int(published), *map(int, kept)])


def _doomed(
    catalog: LightCatalog, base: Base, until: int, before: int, listed: Sequence[ObjectInfo]
) -> list[str]:
    """`listed`: what was in the folder before nobody could commit any more of it."""
    row = base.row
    since = property_of(catalog, row, VACUUM_DONE)
    names: dict[str, None] = {}
    if until > since:
        paths, vectors, partitions = _ended(catalog, row, since, until)
        kept_paths, kept_vectors = frozenset[str](), frozenset[str]()
        if paths or vectors:
            # A vector's file may serve all partitions, a data file is of one.
            few = None if vectors or len(partitions) > _PARTITIONS else partitions
            kept_paths, kept_vectors = _kept_with_vectors(catalog, row, until, few)
        for path in paths:
            if path not in kept_paths and not is_absolute(path):
                names[decode_path(path)] = None
        for vector in vectors - kept_vectors:
            names[vector] = None
        changes = catalog.reader.rows(
            "SELECT path FROM dl_change_files WHERE load_id = ? AND version > ? AND version <= ?",
            (row.live_load, since, until),
        )
        for (path,) in changes:
            if not is_absolute(path):
                names[decode_path(path)] = None
    if listed:
        # In this order: what is registered first is committed then.
        registered = held(catalog, row)
        known = _known(catalog, row, until) | registered
        others = _others(catalog, row, [found.name for found in listed])
        for found in listed:
            old = found.modified_ms < before and not _is_hidden(found.name)
            if old and found.name not in known and not found.name.startswith(others):
                names[found.name] = None
    return list(names)


def _rows(catalog: LightCatalog, row: TableRow, columns: Sequence[str], where: str) -> pa.Table:
    schema = queries.file_schema(columns)
    picked = ", ".join(f"f.{name}" for name in columns)
    dialect = catalog.reader.dialect
    with dialect.errors():
        batches = dialect.stream(
            f"SELECT {picked} FROM {load_files_name(row.live_load)} f "
            f"WHERE {load_condition(row.live_load, 'f')}{where}",
            schema,
        )
        return pa.Table.from_batches(list(batches), schema)


def _ended(
    catalog: LightCatalog, row: TableRow, since: int, until: int
) -> tuple[list[str], set[str], set[int]]:
    """Paths of lives that ended in (since, until], without those that live on under the same key
    or without a vector; the vectors' files of such lives; and their partitions."""
    again = (
        f"NOT EXISTS (SELECT 1 FROM {load_files_name(row.live_load)} g WHERE "
        f"{load_condition(row.live_load, 'g')}g.path_key = f.path_key AND g.path = f.path "
        f"AND g.removed_version > {until})"
    )
    found = _rows(
        catalog,
        row,
        ("path", "dv", "partition_id"),
        f"f.removed_version > {since} AND f.removed_version <= {until} AND {again}",
    )
    paths = found.column("path").to_pylist()
    vectors = [
        (path, dv) for path, dv in zip(paths, found.column("dv").to_pylist(), strict=True) if dv
    ]
    plain = _of_paths(catalog, row, [path for path, _ in vectors], until)
    names = {name for _, dv in vectors if (name := _vector_name(dv)) is not None}
    partitions = set(found.column("partition_id").to_pylist())
    return [path for path in paths if path not in plain], names, partitions


def _of_paths(
    catalog: LightCatalog, row: TableRow, paths: Sequence[str], until: int = -1
) -> frozenset[str]:
    """Those of the paths that have a life without a vector after `until`."""
    keys = file_keys(list(paths), [None] * len(paths))[0].tolist() if paths else []
    found: set[str] = set()
    for start in range(0, len(keys), _KEYS):
        listed = ", ".join(str(key) for key in keys[start : start + _KEYS])
        rows = _rows(
            catalog, row, ("path",), f"f.path_key IN ({listed}) AND f.removed_version > {until}"
        )
        found.update(rows.column("path").to_pylist())
    return frozenset(found)


def _kept_with_vectors(
    catalog: LightCatalog, row: TableRow, until: int, partitions: Collection[int] | None
) -> tuple[frozenset[str], frozenset[str]]:
    """Paths of lives with vectors that later versions need, and the vectors' files; of some
    partitions."""
    where = f"f.removed_version > {until} AND f.dv_id IS NOT NULL"
    if partitions is not None:
        where += f" AND f.partition_id IN ({', '.join(str(each) for each in partitions)})"
    found = _rows(catalog, row, ("path", "dv"), where)
    names = (_vector_name(dv) for dv in found.column("dv").to_pylist() if dv)
    return (
        frozenset(found.column("path").to_pylist()),
        frozenset(name for name in names if name is not None),
    )


def _vector_name(text: str) -> str | None:
    """A vector's file below the table; None inline and elsewhere."""
    descriptor = orjson.loads(text)
    return None if descriptor["storageType"] == "p" else vector_path(descriptor)


def _known(catalog: LightCatalog, row: TableRow, until: int) -> frozenset[str]:
    """Names of all files that versions after `until` need."""
    found = _rows(catalog, row, ("path",), f"f.removed_version > {until}")
    _, vectors = _kept_with_vectors(catalog, row, until, None)
    changes = catalog.reader.rows(
        "SELECT path FROM dl_change_files WHERE load_id = ? AND version > ?",
        (row.live_load, until),
    )
    paths = [*found.column("path").to_pylist(), *(path for (path,) in changes)]
    own = {decode_path(path) for path in paths if not is_absolute(path)}
    prefix = row.location.rstrip("/") + "/"
    absolute = {decode_path(path) for path in paths if is_absolute(path)}
    own |= {path.removeprefix(prefix) for path in absolute if path.startswith(prefix)}
    return frozenset(own | vectors)


def _others(catalog: LightCatalog, row: TableRow, listed: Sequence[str]) -> tuple[str, ...]:
    """Folders below the table, with their slash, that are other tables': by the catalog, and by
    the logs that were listed."""
    root, own_log = _folder(row.location), _folder(row.log_location)
    found = {
        f"{head}/"
        for name in listed
        if (head := f"/{name}".rpartition(_LOG)[0].lstrip("/")) and f"{root}{head}{_LOG}" != own_log
    }
    for other in queries.all_tables(catalog):
        for place in (_folder(other.location), _folder(other.log_location)):
            if place.startswith(root) and place not in (root, own_log):
                found.add(place.removeprefix(root))
    return tuple(found)


def _folder(place: str) -> str:
    return place.rstrip("/") + "/"


def _is_hidden(name: str) -> bool:
    """Whether a name is none of the table's own: below a folder that begins with `_` or `.`, but
    for change data and partitions (`_column=value`)."""
    parts = name.split("/")
    if parts[0] == _CHANGE_DATA:
        return False
    return any(part.startswith(("_", ".")) and "=" not in part for part in parts)
