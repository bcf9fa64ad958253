"""Dask collections, written by their workers in one commit."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import dask
import dask.bag
import dask.dataframe as dd
import deltalake
import pandas as pd
import pyarrow as pa
import pytest
from distributed import Client

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from tests.faults.told import wait_until


def data_files(place: Path) -> set[Path]:
    """Without the log, where a checkpoint may appear at any moment."""
    return {file for file in place.rglob("*.parquet") if "_delta_log" not in file.parts}


def test_frames_bags_and_delayed(catalog_url: str, tmp_path: Path) -> None:
    uri, place = f"deltasql://{catalog_url}?table=t", tmp_path / "t"
    frame = pd.DataFrame({"id": range(100), "p": ["a", "b"] * 50})
    first = dl.write_deltalake(
        uri, dd.from_pandas(frame, npartitions=4), partition_by="p", location=str(place)
    )
    assert (first.version, first.metrics["numFiles"]) == (0, 8)
    more = [pa.table({"id": [n], "p": ["c"]}) for n in (200, 201)]
    bag = dask.bag.from_sequence(more, npartitions=2)
    assert dl.write_deltalake(uri, bag, mode="append").version == 1
    parts = [dask.delayed(table) for table in more]
    assert dl.write_deltalake(uri, parts, mode="append").version == 2
    table = dl.connect_to_table(uri)
    expected = sorted([*range(100), 200, 200, 201, 201])
    theirs = deltalake.DeltaTable(str(place)).to_pyarrow_table()
    for read in (table.to_pyarrow_table(), theirs):
        assert sorted(read.column("id").to_pylist()) == expected
    frame = dl.read_deltalake(uri, ["id"], version=0).compute()
    assert dl.to_deltalake(uri, dd.from_pandas(frame, npartitions=2), mode="append").version == 3
    assert sorted(dl.read_deltalake(uri).compute()["id"]) == sorted([*expected, *range(100)])
    before = data_files(place)
    bad = [*parts, dask.delayed(pa.table({"id": ["x"], "p": ["c"]}))]
    with pytest.raises(DeltaLakeError):
        dl.write_deltalake(uri, bad, mode="append")
    assert data_files(place) == before
    assert table.refresh().version == 3


@pytest.mark.system
def test_a_client_that_is_closed_meanwhile(
    dask_client: Client, sqlite_url: str, tmp_path: Path
) -> None:
    place, go = tmp_path / "t", tmp_path / "go"
    schema = pa.schema([("id", pa.int64())])
    table = dl.create_table(f"deltasql://{sqlite_url}?table=t", schema, location=str(place))

    def part(number: int) -> pa.Table:
        deadline = time.monotonic() + 120
        while number == 2 and not go.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        return pa.table({"id": [number]})

    parts = [dask.delayed(part)(number) for number in range(3)]
    other = Client(dask_client.scheduler.address, set_as_default=False)

    def close() -> None:
        wait_until(lambda: len(data_files(place)) == 2)
        other.close()

    closing = threading.Thread(target=close)
    closing.start()
    with other.as_current(), pytest.raises(DeltaLakeError, match="client was closed") as caught:
        table.append(parts)
    closing.join()
    go.touch()
    assert (caught.value.kind, caught.value.outcome) == (DeltaLakeErrorKind.CLUSTER_ERROR, "failed")
    assert table.refresh().version == 0
    with dask_client.as_current():
        assert table.append(parts).version == 1
    assert sorted(table.to_pyarrow_table()["id"].to_pylist()) == [0, 1, 2]
    table.close()


def test_the_errors_of_parts_are_theirs(sqlite_url: str, tmp_path: Path) -> None:
    schema = pa.schema([("id", pa.int64())])
    table = dl.create_table(
        f"deltasql://{sqlite_url}?table=t", schema, location=str(tmp_path / "t")
    )

    def part() -> pa.Table:
        raise TimeoutError("the source was late")

    with pytest.raises(TimeoutError, match="was late"):
        table.append([dask.delayed(pa.table)({"id": [1]}), dask.delayed(part)()])
    assert table.refresh().version == 0
    table.close()
