"""Changes of tables, ours and delta-rs's, each in a fresh process (`benchmarks.probe`)."""

from __future__ import annotations

import time
from typing import Any

# What a first call would wait for.
import duckdb as duckdb
import numpy as np
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

import deltalakedb
from benchmarks.ours_write import bulk_rows
from deltalakedb.catalog.catalog import Catalog as Catalog
from deltalakedb.table.operations import delete as delete
from deltalakedb.table.operations import merge as merge
from deltalakedb.table.operations import optimize as optimize
from deltalakedb.table.operations import vacuum as vacuum

Answer = dict[str, Any]


def made_ours(uri: str, folder: str, files: str, rows: str) -> Answer:
    """A table of so many files, each of so many rows with ids of its own."""
    count = int(rows)
    data = bulk_rows(count)
    table = deltalakedb.create_table(
        uri, data.schema, location=folder, properties={"delta.enableDeletionVectors": "true"}
    )
    began = time.perf_counter()
    size = 0
    for number in range(int(files)):
        size += table.append(shifted(data, number * count)).metrics.get("numOutputBytes", 0)
    return {"seconds": time.perf_counter() - began, "bytes": size}


def made_delta_rs(folder: str, files: str, rows: str) -> Answer:
    """The same by delta-rs."""
    count = int(rows)
    data = bulk_rows(count)
    began = time.perf_counter()
    for number in range(int(files)):
        write_deltalake(folder, shifted(data, number * count), mode="append")
    return {"seconds": time.perf_counter() - began}


def shifted(data: pa.Table, by: int) -> pa.Table:
    """The rows with other ids."""
    ids = pa.array(data.column("id").to_numpy() + by)
    return data.set_column(0, "id", ids)


def _bytes_written(before: set[str], after: dict[str, int]) -> int:
    return sum(size for name, size in after.items() if name not in before)


def _folder(place: str) -> dict[str, int]:
    from pathlib import Path

    return {
        str(file): file.stat().st_size
        for file in Path(place).rglob("*")
        if file.is_file() and "_delta_log" not in file.parts
    }


def _timed(change: Any, place: str) -> Answer:
    before = set(_folder(place))
    began = time.perf_counter()
    said = change()
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "bytes": _bytes_written(before, _folder(place)), "said": str(said)}


def _scattered(files: str, rows: str) -> str:
    """A condition that one row of each file meets."""
    count = int(rows)
    return f"id IN ({', '.join(str(n * count + 7) for n in range(int(files)))})"


def ours_scattered(uri: str, place: str, files: str, rows: str) -> Answer:
    """Delete a row of each file."""
    table = deltalakedb.connect_to_table(uri, cache=False)
    return _timed(lambda: table.delete(_scattered(files, rows)), place)


def delta_rs_scattered(place: str, files: str, rows: str) -> Answer:
    """The same by delta-rs."""
    table = DeltaTable(place)
    return _timed(lambda: table.delete(_scattered(files, rows)), place)


def _source(total: str, changed: str) -> pa.Table:
    """Rows of a narrow range of ids, half of them new; all of them where as many are asked for."""
    rows, count = int(total), int(changed)
    found = bulk_rows(count)
    return found if count == rows else shifted(found, rows - count // 2)


_ON = "t.id = s.id"


def ours_merge(uri: str, place: str, total: str, changed: str) -> Answer:
    """MERGE, update or insert."""
    source = _source(total, changed)
    table = deltalakedb.connect_to_table(uri, cache=False)
    merger = table.merge(source, _ON, source_alias="s", target_alias="t")
    return _timed(merger.when_matched_update_all().when_not_matched_insert_all().execute, place)


def delta_rs_merge(place: str, total: str, changed: str) -> Answer:
    """The same by delta-rs."""
    source = _source(total, changed)
    merger = DeltaTable(place).merge(source, _ON, source_alias="s", target_alias="t")
    return _timed(merger.when_matched_update_all().when_not_matched_insert_all().execute, place)


def ours_compact(uri: str, place: str, *columns: str) -> Answer:
    """Compaction, or z-order by columns."""
    optimizer = deltalakedb.connect_to_table(uri, cache=False).optimize
    told: dict[str, Any] = {}

    def change() -> dict[str, Any]:
        told.update(optimizer.z_order(columns) if columns else optimizer.compact())
        return told

    return _timed(change, place) | {"files_opened": told["numFilesOpened"]}


def delta_rs_compact(place: str, *columns: str) -> Answer:
    """The same by delta-rs."""
    optimizer = DeltaTable(place).optimize
    return _timed(
        lambda: optimizer.z_order(list(columns)) if columns else optimizer.compact(), place
    )


def ours_vacuum(uri: str) -> Answer:
    """A dry run."""
    began = time.perf_counter()
    table = deltalakedb.connect_to_table(uri, cache=False)
    found = table.vacuum(dry_run=True)
    return {"seconds": time.perf_counter() - began, "files": len(found)}


def delta_rs_vacuum(place: str) -> Answer:
    """A dry run by delta-rs."""
    began = time.perf_counter()
    table = DeltaTable(place)
    found = table.vacuum(dry_run=True)
    return {"seconds": time.perf_counter() - began, "files": len(found)}


def ten_winners(database: str, name: str) -> Answer:
    """The COMMIT of a transaction that ten others came before."""
    uri = f"deltasql://{database}?table={name}"
    other = deltalakedb.connect_to_table(uri, cache=False)
    rows = _one_row(other)
    taken = []
    for _ in range(4):
        tx = deltalakedb.begin(database, isolation="Serializable")
        tx.snapshot(name).to_pyarrow_table("date = DATE '1999-01-01'")
        tx.append(name, rows)
        for _ in range(10):
            other.append(rows)
        began = time.perf_counter()
        tx.commit()
        taken.append(time.perf_counter() - began)
    return {"seconds": float(np.median(taken[1:]))}


def _one_row(table: deltalakedb.Table) -> pa.Table:
    from benchmarks.ours_write import one_row

    return one_row(table.snapshot().schema, table.metadata.partition_columns)


def checkpoints(uri: str, place: str, condition: str) -> Answer:
    """A whole V2 checkpoint, and one upon it after a change."""
    from pathlib import Path

    log = Path(place) / "_delta_log"
    table = deltalakedb.connect_to_table(uri, cache=False)
    table.alter.set_table_properties({"delta.checkpointPolicy": "v2"})
    (log / "_last_checkpoint").unlink(missing_ok=True)

    def made() -> tuple[float, int]:
        before = {file.name for file in log.rglob("*.parquet")}
        began = time.perf_counter()
        table.create_checkpoint()
        seconds = time.perf_counter() - began
        new = [f for f in log.rglob("*.parquet") if f.name not in before]
        return seconds, sum(file.stat().st_size for file in new)

    whole = made()
    gone = table.delete(condition)["num_removed_files"]
    later = made()
    return {
        "seconds": later[0],
        "bytes": later[1],
        "whole_seconds": whole[0],
        "whole_bytes": whole[1],
        "files": gone,
    }


def ours_dask(uri: str, rows: str, parts: str) -> Answer:
    """A Dask DataFrame written by two workers."""
    import dask.dataframe as dd
    from distributed import Client, LocalCluster, wait

    data = bulk_rows(int(rows)).to_pandas()
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        frame = client.persist(dd.from_pandas(data, npartitions=int(parts)))
        # Until the workers have the rows, it would be their way there that is measured.
        wait(frame)
        began = time.perf_counter()
        deltalakedb.write_deltalake(uri, frame, mode="append")
        return {"seconds": time.perf_counter() - began}
