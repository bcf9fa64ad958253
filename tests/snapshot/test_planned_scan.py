"""What a frame or a dataset is asked for is planned anew: files that can't match aren't opened."""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import deltalakedb as dl
from deltalakedb.planning import plan
from deltalakedb.scan import scan


def test_filters_of_frames_are_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_WORTH_A_PLAN", 2)
    uri = f"deltasql://sqlite:///{tmp_path}/catalog.db?table=t"
    schema = pa.schema([("id", pa.int64()), ("x", pa.float64())])
    table = dl.create_table(uri, schema, location=str(tmp_path / "t"), partition_by=["x"])
    for low in range(0, 60, 20):
        rows = pa.table({"id": range(low, low + 20), "x": [float(low)] * 20}, schema=schema)
        table.append(rows)
    snapshot = table.snapshot()
    wanted = snapshot.plan("id = 42", ["path"]).column("path").to_pylist()
    assert len(wanted) == 1
    # Of many files, SQL is asked for few although a list of all is at hand.
    monkeypatch.setattr(plan, "ROWS_AT_ONCE", 2)
    assert snapshot.to_arrow().num_rows == 3
    assert snapshot.explain("x = 40").steps[1].detail.startswith("SQL, index on (partition_id")
    assert snapshot.explain("id = 42").steps[1].detail.startswith("cached file list")
    frame, dataset = snapshot.to_polars(), snapshot.to_pyarrow_dataset()
    with duckdb.connect() as connection:
        relation = snapshot.to_duckdb(connection)
        for path in (tmp_path / "t").rglob("*.parquet"):
            if not wanted[0].endswith(path.name):
                path.unlink()
        assert frame.filter(pl.col("id") == 42).collect()["x"].to_list() == [40.0]
        assert dataset.to_table(filter=pc.field("id") == 42).num_rows == 1
        assert dataset.count_rows(pc.field("id") > 1000) == 0
        assert relation.filter("id = 42").fetchall() == [(42, 40.0)]
    # Rows are read without the database too: then every file is looked at.
    table.close()
    with pytest.raises(Exception, match="does not exist"):
        frame.filter(pl.col("id") == 42).collect()
