"""What is due for a table, why, and doing it: the log, files, and what the catalog remembers."""

from __future__ import annotations

from dataclasses import dataclass

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.display.text import count_text
from deltalakedb.log.table_properties import CHECKPOINT_INTERVAL
from deltalakedb.mirror import checkpoint, publish, tend
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.forget import forget
from deltalakedb.table.operations.layouts import Compaction, OptimizeOptions
from deltalakedb.table.operations.lives import VACUUM_DONE, property_of
from deltalakedb.table.operations.optimize import optimize
from deltalakedb.table.operations.vacuum import VacuumOptions, vacuum
from deltalakedb.write.target import FileTarget

_INTERVAL = 10
"""Delta's default of `delta.checkpointInterval`."""


@dataclass(frozen=True)
class Upkept:
    """One piece of maintenance: what, why it was due or wasn't, and what came of it."""

    what: str
    due: bool
    why: str
    done: str = ""


def maintain(catalog: LightCatalog, base: Base, *, dry_run: bool = False) -> list[Upkept]:
    """Do what is due, in the order in which one makes room for the next; `dry_run` only tells."""
    found = [_compacted(catalog, base, dry_run)]
    base = _newest(catalog, base)
    found.append(_checkpointed(catalog, base, dry_run))
    found.append(_vacuumed(catalog, base, dry_run))
    found.append(_forgotten(catalog, _newest(catalog, base), dry_run))
    return found


def _newest(catalog: LightCatalog, base: Base) -> Base:
    return Base.read(catalog, None, base.row.table_id, base.storage_options) or base


def _compacted(catalog: LightCatalog, base: Base, dry_run: bool) -> Upkept:
    layout = Compaction()
    size = FileTarget.of(base.metadata, base.protocol).target_file_size
    bins = layout.bins(base, base.live_files(catalog), size)
    if not bins:
        return Upkept("optimize", False, "no files that would be better together")
    files = sum(each.files.num_rows for each in bins)
    why = (
        f"{count_text(files, 'file')} in {count_text(len(bins), 'bin')} are small, or have many "
        "deleted rows"
    )
    if dry_run:
        return Upkept("optimize", True, why)
    done = optimize(catalog, base, layout, OptimizeOptions())
    return Upkept(
        "optimize",
        True,
        why,
        f"{done['numFilesRemoved']:,} files became {done['numFilesAdded']:,}",
    )


def _checkpointed(catalog: LightCatalog, base: Base, dry_run: bool) -> Upkept:
    row = base.row
    url, log = catalog.reader.url, publish.log_of(row, base.storage_options)
    now = tend.tend_now(url, row, log, checkpoint=False)
    text = base.metadata.configuration.get(CHECKPOINT_INTERVAL) or ""
    interval = int(text) if text.isdigit() and int(text) else _INTERVAL
    last = -1 if now.checkpoint_version is None else now.checkpoint_version
    behind = now.durable_version - last
    why = f"{behind:,} versions since the last checkpoint, of {interval:,}"
    if behind < interval:
        return Upkept("checkpoint", False, why)
    if dry_run:
        return Upkept("checkpoint", True, why)
    name = checkpoint.checkpoint_now(url, row, log, now.durable_version)
    return Upkept("checkpoint", True, why, name or "left to the table's protection")


def _vacuumed(catalog: LightCatalog, base: Base, dry_run: bool) -> Upkept:
    names = vacuum(catalog, base, VacuumOptions(dry_run=True))
    if not names:
        # So that what the catalog may forget grows, though no file has to go.
        if not dry_run and property_of(catalog, base.row, VACUUM_DONE) < base.row.head_version:
            vacuum(catalog, base, VacuumOptions(dry_run=False))
        return Upkept("vacuum", False, "no files that no version within the retention needs")
    why = f"{len(names):,} files are needed by no version within the retention"
    if dry_run:
        return Upkept("vacuum", True, why)
    gone = vacuum(catalog, base, VacuumOptions(dry_run=False))
    return Upkept("vacuum", True, why, f"{len(gone):,} files deleted")


def _forgotten(catalog: LightCatalog, base: Base, dry_run: bool) -> Upkept:
    since = base.row.known_since
    until = forget(catalog, base, dry_run=dry_run)
    if until <= since:
        return Upkept("forget", False, f"versions from {since:,} on are within the log's retention")
    why = f"versions before {until:,} are past the log's retention, and their files are gone"
    return Upkept("forget", True, why, "" if dry_run else f"known since version {until:,}")
