"""RESTORE: the files, schema and properties of an older version, as a new one; and FSCK REPAIR.

PROTOCOL.md, "Add File and Remove File". Files that a vacuum has taken, or is taking, don't come
back: both work under the same lease, and the commit holds only while it is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.catalog.dialects.writer import WrongCountError
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.reading.versions import state_to_read
from deltalakedb.commit.staged import Reads, StagedTable
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.commit_writer import metadata_body
from deltalakedb.log.deletion_vector import vector_path
from deltalakedb.log.features import features_of, protocol_with
from deltalakedb.log.identity import marks_of, with_marks
from deltalakedb.log.metadata import Metadata, TableSchema, protocol_of
from deltalakedb.log.paths import decode_path, is_absolute
from deltalakedb.log.protocol import Protocol
from deltalakedb.log.rows import without
from deltalakedb.mirror.lease import Lease
from deltalakedb.storage.store import ObjectStore
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.fence import fenced_as
from deltalakedb.table.operations.lives import (
    VACUUM_BEGUN,
    files_lease,
    lives_at,
    lost,
    property_of,
    still_held,
)
from deltalakedb.table.operations.operation import Staged, run
from deltalakedb.table.operations.properties import CommitOptions
from deltalakedb.table.operations.provenance import commit_info, now_ms
from deltalakedb.write.schema import MAX_COLUMN_ID

_THREADS = 16


def restore(
    catalog: LightCatalog,
    base: Base,
    version: int,
    options: CommitOptions,
    *,
    ignore_missing_files: bool = False,
    protocol_downgrade_allowed: bool = False,
    asked: Any = None,
) -> dict[str, int]:
    """Make the table what it was at a version; metrics by delta-rs's names, and the version.

    NOT_FOUND for files that are gone, unless they are to be left out. Without
    `protocol_downgrade_allowed` the present protocol stays, with what the restored schema needs.
    `asked` is what the caller named.
    """
    base.check_may_write(removes=True)
    found: dict[str, int] = {}
    with files_lease(catalog, base.row) as lease:

        def staged(catalog: LightCatalog, base: Base) -> Staged:
            table = _restored(
                catalog,
                base,
                version,
                options,
                lease,
                leave_out=ignore_missing_files,
                downgrade=protocol_downgrade_allowed,
                asked=asked,
            )
            found["numRestoredFile"] = table.adds.num_rows
            found["numRemovedFile"] = table.removes.num_rows
            return Staged(table, again=lambda newer: staged(catalog, newer))

        try:
            result = run(catalog, base, staged, options)
        except WrongCountError:
            raise lost(base.row) from None
    return {**found, "version": result.version}


def _restored(
    catalog: LightCatalog,
    base: Base,
    version: int,
    options: CommitOptions,
    lease: Lease,
    *,
    leave_out: bool,
    downgrade: bool,
    asked: Any,
) -> StagedTable:
    row = base.row
    state = state_to_read(catalog, row, version)
    metadata, protocol = _kept(base, Metadata.of(state.metadata), protocol_of(state.protocol))
    if not downgrade:
        # What came back may need a feature that was dropped since.
        needed = features_of(metadata.schema.struct, metadata.configuration)
        protocol = protocol_with(base.protocol, needed)
    wanted = lives_at(catalog, row, version)
    live = base.live_files(catalog)
    adds, removes = without(wanted, live), without(live, wanted)
    gone = _gone(catalog, base, adds)
    if gone.num_rows:
        if not leave_out:
            raise DeltaLakeError(
                DeltaLakeErrorKind.NOT_FOUND,
                f"{gone.num_rows} of the files of version {version} of {row.full_name} are gone, "
                f"such as {gone.column('path')[0]}: they were vacuumed; choose a later version, or "
                "ignore_missing_files=True to do without their rows",
                version=version,
                files=gone.num_rows,
            )
        adds = without(adds, gone)
    adds = _as_data(adds)
    size = _bytes(wanted)
    metrics: dict[str, int | str] = {
        "tableSizeAfterRestore": size,
        "numOfFilesAfterRestore": wanted.num_rows - gone.num_rows,
        "numRemovedFiles": removes.num_rows,
        "numRestoredFiles": adds.num_rows,
        "removedFilesSize": _bytes(removes),
        "restoredFilesSize": _bytes(adds),
    }
    parameters = {"version": version, "timestamp": None if asked is None else str(asked)}
    return StagedTable(
        table=row,
        read_version=row.head_version,
        info=commit_info("RESTORE", parameters, metrics, options, blind=False),
        reads=Reads(whole_table=True),
        added=adds,
        removes=removes,
        metadata=None if metadata == base.metadata else metadata_body(metadata),
        protocol=None if protocol == base.protocol else protocol.action(),
        txns=options.txns,
        if_version=options.if_version,
        in_commit_timestamps=base.in_commit_timestamps,
        tracks_rows=base.tracks_rows,
        deletion_time=now_ms(),
        guards=(still_held(lease),),
        claims=(still_held(lease),),
    )


def _kept(base: Base, metadata: Metadata, protocol: Protocol) -> tuple[Metadata, Protocol]:
    """The fence stays as it is, and how far column ids and numbers of identity columns went."""
    protocol, metadata = fenced_as((base.protocol, base.metadata), protocol, metadata)
    schema = with_marks(metadata.schema.schema_string, marks_of(base.struct))
    if schema != metadata.schema.schema_string:
        metadata = replace(metadata, schema=TableSchema(schema))
    highest = base.metadata.configuration.get(MAX_COLUMN_ID)
    if highest is None or MAX_COLUMN_ID not in metadata.configuration:
        return metadata, protocol
    configuration = {**metadata.configuration, MAX_COLUMN_ID: highest}
    return replace(metadata, configuration=configuration), protocol


def _as_data(files: pa.Table) -> pa.Table:
    place = files.schema.get_field_index("data_change")
    changed = pa.array([True] * files.num_rows, pa.bool_())
    return files.set_column(place, files.schema.field(place), changed)


def _bytes(files: pa.Table) -> int:
    return int(pc.sum(files.column("size")).as_py() or 0)


def _gone(catalog: LightCatalog, base: Base, files: pa.Table) -> pa.Table:
    """Those of the files that aren't there, or that a vacuum is taking."""
    begun = property_of(catalog, base.row, VACUUM_BEGUN)
    taken = [ended <= begun for ended in files.column("removed_version").to_pylist()]
    there = exist(base.data, files)
    return files.filter(
        pa.array([gone or not found for gone, found in zip(taken, there, strict=True)], pa.bool_())
    )


def exist(store: ObjectStore, files: pa.Table) -> list[bool]:
    """Whether each file, and its deletion vector's, is there."""

    def there(raw: str, vector: str | None) -> bool:
        own, name = store, decode_path(raw)
        if is_absolute(raw):
            own, name = store.resolve(name)
        if not own.exists(name):
            return False
        path = None if vector is None else vector_path(orjson.loads(vector))
        if path is None:
            return True
        own, name = store.resolve(path) if is_absolute(path) else (store, path)
        return own.exists(name)

    paths, vectors = files.column("path").to_pylist(), files.column("dv").to_pylist()
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(there, paths, vectors))


def repair(
    catalog: LightCatalog, base: Base, options: CommitOptions, *, dry_run: bool
) -> dict[str, Any]:
    """Take files out of the table that aren't there any more; which, and whether it was done."""
    base.check_may_write(removes=True)
    removed: Sequence[str] = ()

    def staged(catalog: LightCatalog, base: Base) -> Staged:
        nonlocal removed
        live = base.live_files(catalog)
        missing = live.filter(pa.array([not found for found in exist(base.data, live)], pa.bool_()))
        removed = missing.column("path").to_pylist()
        table = StagedTable(
            table=base.row,
            read_version=base.row.head_version,
            info=commit_info(
                "FSCK", {}, {"numRemovedFiles": missing.num_rows}, options, blind=False
            ),
            removes=missing,
            if_version=options.if_version,
            in_commit_timestamps=base.in_commit_timestamps,
            tracks_rows=base.tracks_rows,
            deletion_time=now_ms(),
        )
        return Staged(table, again=lambda newer: staged(catalog, newer))

    if dry_run:
        staged(catalog, base)
    else:
        run(catalog, base, staged, options)
    return {"dry_run": dry_run, "files_removed": [decode_path(path) for path in removed]}
