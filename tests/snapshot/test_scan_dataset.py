"""Scans as pyarrow datasets."""

from __future__ import annotations

import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest

from deltalakedb.error import DeltaLakeError
from deltalakedb.scan.dataset import scan_dataset
from tests.snapshot.scan_support import (
    column,
    file_row,
    made_scan,
    write_deletion_vector,
    write_parquet,
)

UTC = datetime.UTC


def test_head_opens_no_more_files_than_it_needs(tmp_path: Path) -> None:
    name = write_parquet(tmp_path / "f.parquet", pa.table({"a": list(range(10))}))
    rows = [file_row(name), *(file_row(f"missing-{i}.parquet") for i in range(50))]
    spec = made_scan(tmp_path, [column("a", "long")], rows)
    assert scan_dataset(spec).head(10)["a"].to_pylist() == list(range(10))
    assert scan_dataset(spec).head(2, filter=pc.field("a") > 4)["a"].to_pylist() == [5, 6]
    with pytest.raises(DeltaLakeError, match="missing-0"):
        scan_dataset(spec).head(11)


def test_a_dataset_that_is_not_plain_never_shows_raw_files(tmp_path: Path) -> None:
    name = write_parquet(tmp_path / "f.parquet", pa.table({"a": [1, 2, 3]}))
    vector = write_deletion_vector(tmp_path / "v.bin", [1])
    dataset = scan_dataset(
        made_scan(tmp_path, [column("a", "long")], [file_row(name, None, vector)])
    )
    with pytest.raises(FileNotFoundError, match="to_table, to_batches and scanner alone"):
        ds.Scanner.from_dataset(dataset).to_table()
    with pytest.raises(DeltaLakeError, match="get_fragments"):
        dataset.get_fragments()
    ds.write_dataset(dataset, tmp_path / "out", format="parquet")
    assert ds.dataset(tmp_path / "out").to_table()["a"].to_pylist() == [1, 3]
    doubled = dataset.to_table(columns={"b": pc.field("a") * 2}, filter=pc.field("a") > 1)
    assert doubled.to_pydict() == {"b": [6]}
    joined = dataset.join(pa.table({"a": [3], "n": ["x"]}), "a", join_type="inner")
    assert joined.to_table().to_pylist() == [{"a": 3, "n": "x"}]
    assert dataset.sort_by([("a", "descending")]).to_table()["a"].to_pylist() == [3, 1]
    assert dataset.take([1])["a"].to_pylist() == [3]
