"""OPTIMIZE: fewer, larger files, or rows in the order of several columns; no row changes.

PROTOCOL.md, "Add File and Remove File" (`dataChange` false), "Deletion Vectors". A bin is a set of
files of one partition that are written anew together, and committed alone: who loses against
another writer does that bin again. What is finished is told by size and tags, so that it isn't
read again.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.commit.staged import StagedTable
from deltalakedb.error import DeltaLakeError
from deltalakedb.executor.executor import Executor, executor_of
from deltalakedb.log.few_files import table_of
from deltalakedb.scan.tally import Tally
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.layouts import Bin, Layout, OptimizeOptions
from deltalakedb.table.operations.operation import Staged, run
from deltalakedb.table.operations.parts import AGAIN, Failed, gathered, portable
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
    files_read: int = 0
    bytes_read: int = 0
    planned_at: int = -1
    """The version at which the bins' files are as planned: the base's, or that of our last
    commit if nobody else's lies between."""

    def metrics(self) -> dict[str, Any]:
        """By delta-rs's names; `versions`, `numBinsLost` and what was read are ours.

        `numFilesOpened` counts a data file each time that it is opened, `bytesRead` what was asked
        of it then.
        """
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
            "numFilesOpened": self.files_read,
            "bytesRead": self.bytes_read,
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
    writing = _Writing(base, layout, options)
    waiting: list[tuple[Bin, WrittenFiles | None]] = []
    began = last = time.monotonic()
    try:
        with closing(writing.bins(layout.bins(base, files, size))) as bins:
            for each in bins:
                waiting.append(each)
                if time.monotonic() - last >= options.commit_interval:
                    now, waiting = waiting, []
                    _commit(catalog, base, writing, now, began, done)
                    last = time.monotonic()
    except BaseException:
        base.data.discard(_names(waiting))
        raise
    if waiting:
        _commit(catalog, base, writing, waiting, began, done)
    done.files_read, done.bytes_read = writing.files_read, writing.bytes_read
    return done.metrics()


class _Writing:
    """How bins are written before they are committed: by threads of this process, or workers."""

    def __init__(self, base: Base, layout: Layout, options: OptimizeOptions) -> None:
        self.layout, self.options = layout, options
        self.files_read = self.bytes_read = 0
        self._base = base
        self._executor: Executor | None = None
        self._cores = options.workers or pa.cpu_count()
        if options.client is not None:
            secrets = base.data.spec.secrets()
            self._executor = executor_of(options.client, secrets, again=AGAIN)

    def bins(self, bins: Sequence[Bin]) -> Generator[tuple[Bin, WrittenFiles | None]]:
        """Each bin, and its files once they are written; None of what isn't written ahead."""
        if self._executor is None:
            for number, written in self._here(bins):
                yield bins[number], written
            return
        handles = [self._submitted(self._executor, self._base, each.files, each) for each in bins]
        for number, written in gathered(self._executor, handles):
            yield bins[number], self._noted(written)

    def _here(self, bins: Sequence[Bin]) -> Iterator[tuple[int, WrittenFiles | None]]:
        """Bins side by side in threads, in their order; one alone when it is committed."""
        at_once = min(len(bins), self._cores)
        if at_once <= 1:
            yield from ((number, None) for number in range(len(bins)))
            return
        options = replace(
            self.options,
            workers=max(1, self._cores // at_once),
            memory=(self.options.memory or BUFFERED_BYTES) // at_once,
            encoders=1,
        )
        coming = iter(enumerate(bins))
        under_way: dict[Future[WrittenFiles], int] = {}
        with ThreadPoolExecutor(at_once, thread_name_prefix="deltalakedb-optimize") as pool:

            def start() -> None:
                for number, each in islice(coming, at_once - len(under_way)):
                    task = (self._base, each.files, each.tags, self.layout, options)
                    under_way[pool.submit(write_bin, *task)] = number

            try:
                start()
                while under_way:
                    done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                    first = min(done, key=under_way.__getitem__)
                    written = self._noted(first.result())
                    number = under_way.pop(first)
                    start()
                    yield number, written
            except BaseException:
                # What they have written by then is nobody's.
                for future in wait(under_way).done:
                    if future.exception() is None:
                        self._base.data.discard(future.result().names)
                raise

    def write(self, base: Base, files: pa.Table, each: Bin) -> WrittenFiles:
        """Write a bin whose files are now these."""
        if self._executor is None:
            return self._noted(write_bin(base, files, each.tags, self.layout, self.options))
        handle = self._submitted(self._executor, base, files, each)
        [(_, written)] = gathered(self._executor, [handle])
        return self._noted(written)

    def _noted(self, written: WrittenFiles) -> WrittenFiles:
        self.files_read += written.files_read
        self.bytes_read += written.bytes_read
        return written

    def _submitted(self, executor: Executor, base: Base, files: pa.Table, each: Bin) -> Any:
        options = replace(
            self.options,
            paths=None,
            client=None,
            commit=CommitOptions(),
            encoders=1,
            writer_properties=WriterProperties.of(self.options.writer_properties),
        )
        return executor.submit(
            _in_worker,
            portable(base),
            files,
            dict(each.tags),
            self.layout,
            options,
            str(uuid.uuid4()),
        )


def write_bin(
    base: Base,
    files: pa.Table,
    tags: Mapping[str, str],
    layout: Layout,
    options: OptimizeOptions,
    write_id: str | None = None,
) -> WrittenFiles:
    """The rows of files (FILE_SCHEMA) as a layout has them, in new files with these tags."""
    kept = KeptIds.of(base)
    target = FileTarget.of(base.metadata, base.protocol)
    writer = FileWriter(
        base.data,
        target if kept is None else kept.target(target),
        write_id or str(uuid.uuid4()),
        target_file_size=options.target_size,
        properties=WriterProperties.of(options.writer_properties),
        data_change=False,
        tags=tags or None,
        buffered_bytes=options.memory or BUFFERED_BYTES,
        encoders=options.encoders,
    )
    tally = Tally()
    with writer:
        layout.write(base, files, writer, replace(options, tally=tally))
        written = writer.finish()
    written.files_read, written.bytes_read = tally.files, tally.num_bytes
    return written


def _in_worker(*what: Any) -> WrittenFiles | Failed:
    """`write_bin`, in a worker."""
    try:
        return write_bin(*what)
    except (DeltaLakeError, OSError, pa.ArrowException) as error:
        return Failed(error)


def _same(some: pa.Table, others: pa.Table) -> bool:
    """Whether both have the same lives of files, in whatever order."""

    return bool(some.sort_by("path").equals(others.sort_by("path")))


def _names(bins: Sequence[tuple[Bin, WrittenFiles | None]]) -> list[str]:
    """The objects that were written for bins."""
    return [name for _, files in bins if files is not None for name in files.names]


def _of_paths(files: pa.Table, paths: Collection[str]) -> pa.Table:
    return files.filter(pc.is_in(files.column("path"), pa.array(list(paths), pa.string())))


def _commit(
    catalog: LightCatalog,
    base: Base,
    writing: _Writing,
    bins: Sequence[tuple[Bin, WrittenFiles | None]],
    began: float,
    done: _Done,
) -> None:
    options = writing.options
    newest = Base.read(catalog, None, base.row.table_id, base.storage_options)
    if newest is None or newest.metadata != base.metadata:
        # Another schema or other properties: what was planned may be wrong by now.
        done.lost += len(bins)
        base.data.discard(_names(bins))
        return
    job = _Job(writing, bins, done.planned_at)
    # Each commit has a token of its own: one given twice would find the first.
    commit = CommitOptions(
        properties=options.commit.properties,
        mirror=options.commit.mirror,
        wait=options.commit.wait,
        publish_wait=options.commit.publish_wait,
        hooks=options.commit.hooks,
    )
    try:
        result = run(catalog, newest, job.stage, commit, began=began)
    except DeltaLakeError as error:
        if error.outcome == "failed":
            job.discard(base)
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
        self,
        writing: _Writing,
        bins: Sequence[tuple[Bin, WrittenFiles | None]],
        planned_at: int,
    ) -> None:
        self._writing = writing
        self._layout, self._options = writing.layout, writing.options
        self._bins = [each for each, _ in bins]
        self._planned_at = planned_at
        self._kept: dict[int, tuple[pa.Table, WrittenFiles]] = {
            number: (each.files, files)
            for number, (each, files) in enumerate(bins)
            if files is not None
        }
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
            if kept is None or not _same(kept[0], files):
                if kept is not None:
                    base.data.discard(kept[1].names)
                written = self._written(base, files, each) if files.num_rows else WrittenFiles()
                kept = self._kept[number] = (files, written)
            removes.append(files)
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
        return self._writing.write(base, files, each)

    def discard(self, base: Base) -> None:
        """Remove what was written; nothing of it is committed."""
        base.data.discard([name for _, files in self._kept.values() for name in files.names])

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
