"""OPTIMIZE: fewer, larger files, or rows in the order of several columns; no row changes.

PROTOCOL.md, "Add File and Remove File" (`dataChange` false), "Deletion Vectors". A bin is a set of
files of one partition that are written anew together, and committed alone: who loses against
another writer does that bin again. What is finished is told by size and tags, so that it isn't
read again.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.commit.staged import StagedTable
from deltalakedb.error import DeltaLakeError
from deltalakedb.log.few_files import table_of
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.layouts import Bin, Layout, OptimizeOptions
from deltalakedb.table.operations.operation import Staged, run
from deltalakedb.table.operations.properties import CommitOptions
from deltalakedb.table.operations.provenance import commit_info, now_ms
from deltalakedb.table.operations.row_columns import KeptIds
from deltalakedb.write.files import BUFFERED_BYTES, FileWriter, WrittenFiles
from deltalakedb.write.properties import WriterProperties
from deltalakedb.write.target import FileTarget


@dataclass
class _Done:
    considered: int = 0
    bins: int = 0
    partitions: set[str] = field(default_factory=set)
    added: list[int] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    lost: int = 0
    planned_at: int = -1
    """The version at which the bins' files are as planned: the base's, or that of our last
    commit if nobody else's lies between."""

    def metrics(self) -> dict[str, Any]:
        """By delta-rs's names; `versions` and `numBinsLost` are ours."""
        return {
            "numFilesAdded": len(self.added),
            "numFilesRemoved": len(self.removed),
            "filesAdded": _sizes(self.added),
            "filesRemoved": _sizes(self.removed),
            "partitionsOptimized": len(self.partitions),
            "numBatches": self.bins,
            "totalConsideredFiles": self.considered,
            "totalFilesSkipped": self.considered - len(self.removed),
            "preserveInsertionOrder": True,
            "numBinsLost": self.lost,
            "versions": self.versions,
        }


def _sizes(sizes: Sequence[int]) -> dict[str, Any]:
    total = sum(sizes)
    return {
        "avg": total / len(sizes) if sizes else 0.0,
        "max": max(sizes, default=None),
        "min": min(sizes, default=None),
        "totalFiles": len(sizes),
        "totalSize": total,
    }


def optimize(
    catalog: LightCatalog, base: Base, layout: Layout, options: OptimizeOptions
) -> dict[str, Any]:
    """Write bins anew until all files are as the layout wants them; metrics.

    A bin whose files others go on changing is left for the next time and counted. Raises
    UNSUPPORTED_FEATURE before a file is read, and what reading and writing raise.
    """
    base.check_may_write(removes=False)
    target = FileTarget.of(base.metadata, base.protocol)
    size = options.target_size or target.target_file_size
    files = base.live_files(catalog)
    if options.paths is not None:
        files = _of_paths(files, options.paths)
    done = _Done(considered=files.num_rows, planned_at=base.row.head_version)
    waiting: list[Bin] = []
    last = time.monotonic()
    for each in layout.bins(base, files, size):
        waiting.append(each)
        if time.monotonic() - last >= options.commit_interval:
            _commit(catalog, base, layout, waiting, options, done)
            waiting, last = [], time.monotonic()
    if waiting:
        _commit(catalog, base, layout, waiting, options, done)
    return done.metrics()


def _of_paths(files: pa.Table, paths: Collection[str]) -> pa.Table:
    return files.filter(pc.is_in(files.column("path"), pa.array(list(paths), pa.string())))


def _commit(
    catalog: LightCatalog,
    base: Base,
    layout: Layout,
    bins: Sequence[Bin],
    options: OptimizeOptions,
    done: _Done,
) -> None:
    newest = Base.read(catalog, None, base.row.table_id, base.storage_options)
    if newest is None or newest.metadata != base.metadata:
        # Another schema or other properties: what was planned may be wrong by now.
        done.lost += len(bins)
        return
    job = _Job(layout, bins, options, done.planned_at)
    # Each commit has a token of its own: one given twice would find the first.
    commit = CommitOptions(
        properties=options.commit.properties,
        mirror=options.commit.mirror,
        wait=options.commit.wait,
        publish_wait=options.commit.publish_wait,
        hooks=options.commit.hooks,
    )
    try:
        result = run(catalog, newest, job.stage, commit)
    except DeltaLakeError as error:
        if error.facts.get("rule") is None:
            raise
        done.lost += len(bins)
        return
    if result.version == done.planned_at + 1:
        done.planned_at = result.version
    if job.removed.num_rows:
        done.versions.append(result.version)
        done.bins += len(bins)
        done.partitions.update(job.removed.column("partition_values").to_pylist())
        done.added += [int(add["size"]) for add in job.added]
        done.removed += job.removed.column("size").to_pylist()


class _Job:
    """Bins that are committed together, and again on a newer version where others won."""

    def __init__(
        self, layout: Layout, bins: Sequence[Bin], options: OptimizeOptions, planned_at: int
    ) -> None:
        self._layout = layout
        self._bins = bins
        self._options = options
        self._planned_at = planned_at
        self._kept: dict[int, tuple[pa.Table, WrittenFiles]] = {}
        self.added: list[dict[str, Any]] = []
        self.removed = pa.table({})

    def stage(self, catalog: LightCatalog, base: Base) -> Staged:
        """Read and write what isn't written yet of the files as they are now."""
        known = base.row.head_version == self._planned_at
        live = None if known else base.live_files(catalog)
        names: list[str] = []
        adds, removes = [], []
        self.added = []
        for number, each in enumerate(self._bins):
            files = each.files
            if live is not None:
                files = _of_paths(live, files.column("path").to_pylist())
            kept = self._kept.get(number)
            if kept is None or not kept[0].equals(files):
                written = self._written(base, files, each) if files.num_rows else WrittenFiles()
                kept = self._kept[number] = (files, written)
            removes.append(kept[0])
            adds.append(table_of(kept[1].rows()))
            self.added += kept[1].adds
            names += kept[1].names
        self.removed = pa.concat_tables(removes)
        return Staged(
            self._staged(base, pa.concat_tables(adds)),
            tuple(names),
            lambda newer: self.stage(catalog, newer),
        )

    def _written(self, base: Base, files: pa.Table, each: Bin) -> WrittenFiles:
        options = self._options
        kept = KeptIds.of(base)
        target = FileTarget.of(base.metadata, base.protocol)
        writer = FileWriter(
            base.data,
            target if kept is None else kept.target(target),
            str(uuid.uuid4()),
            target_file_size=options.target_size,
            properties=WriterProperties.of(options.writer_properties),
            data_change=False,
            tags=each.tags or None,
            buffered_bytes=options.memory or BUFFERED_BYTES,
        )
        with writer:
            self._layout.write(base, files, writer, options)
            return writer.finish()

    def _staged(self, base: Base, adds: pa.Table) -> StagedTable:
        removed = self.removed
        sizes = adds.column("size")
        metrics: dict[str, int | str] = {
            "numAddedFiles": adds.num_rows,
            "numRemovedFiles": removed.num_rows,
            "numAddedBytes": pc.sum(sizes).as_py() or 0,
            "numRemovedBytes": pc.sum(removed.column("size")).as_py() or 0,
            "numDeletionVectorsRemoved": removed.num_rows - removed.column("dv").null_count,
        }
        if adds.num_rows:
            metrics |= {
                "minFileSize": pc.min(sizes).as_py(),
                "maxFileSize": pc.max(sizes).as_py(),
            }
        return StagedTable(
            table=base.row,
            read_version=base.row.head_version,
            info=commit_info(
                "OPTIMIZE",
                {"auto": False, **self._layout.parameters()},
                metrics,
                self._options.commit,
                blind=False,
            ),
            added=adds,
            removes=removed,
            removes_change_data=False,
            in_commit_timestamps=base.in_commit_timestamps,
            tracks_rows=base.tracks_rows,
            deletion_time=now_ms(),
        )
