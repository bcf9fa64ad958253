"""Folders of Parquet files become tables, as they lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind


def put(place: Path, **columns: Any) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), place)


def test_files_stay_where_they_are(catalog_url: str, tmp_path: Path) -> None:
    place, uri = tmp_path / "t", f"deltasql://{catalog_url}?table=t"
    put(place / "day=2024-01-01" / "town=a%20b" / "one.parquet", x=[1, 2], s=["é", None])
    put(place / "day=2024-01-02" / "town=c" / "two.parquet", x=[3], y=[0.5])
    put(place / "day=__HIVE_DEFAULT_PARTITION__" / "town=c" / "3.parquet", x=[4])
    put(place / "_hidden" / "day=2024-01-02" / "town=c" / "two.parquet", z=["no"])
    (place / "_SUCCESS").touch()
    by = pa.schema([("day", pa.date32()), ("town", pa.string())])
    done = dl.convert_to_deltalake(uri, location=str(place), partition_by=by, name="told")
    assert done is not None
    assert done.version == 0
    assert dl.convert_to_deltalake(uri, "ignore", location=str(place)) is None
    table = dl.connect_to_table(uri)
    rows = sorted(table.to_pyarrow_table().to_pylist(), key=lambda row: row["x"])
    assert [(str(r["day"]), r["town"], r["x"], r["s"], r["y"]) for r in rows] == [
        ("2024-01-01", "a b", 1, "é", None),
        ("2024-01-01", "a b", 2, None, None),
        ("2024-01-02", "c", 3, None, 0.5),
        ("None", "c", 4, None, None),
    ]
    seen = deltalake.DeltaTable(str(place))
    assert seen.to_pyarrow_table().num_rows == 4
    assert seen.metadata().name == "told"
    [first] = [add for add in adds(place) if "one" in add["path"]]
    assert json.loads(first["stats"])["maxValues"] == {"x": 2, "s": "é"}
    assert [h["operation"] for h in table.history()] == ["CONVERT"]
    table.delete("x = 4")
    table.append(pa.table({"day": [None], "town": ["d"], "x": [9]}, schema=None).cast(
        pa.schema([("day", pa.date32()), ("town", pa.string()), ("x", pa.int64())])
    ))  # fmt: skip
    assert table.snapshot().count_rows() == 4
    assert dl.diff_table("t", database=catalog_url).parity


def adds(place: Path) -> list[dict[str, Any]]:
    text = (place / "_delta_log" / f"{0:020d}.json").read_text()
    return [found["add"] for line in text.splitlines() if "add" in (found := json.loads(line))]


def test_folders_by_their_order_and_no_statistics(sqlite_url: str, tmp_path: Path) -> None:
    place, uri = tmp_path / "t", f"deltasql://{sqlite_url}?table=t"
    put(place / "7" / "one.parquet", x=[1, 2])
    dl.convert_to_deltalake(
        uri,
        location=str(place),
        partition_by=pa.schema([("p", pa.int32())]),
        partition_strategy="directory",
        collect_stats=False,
    )
    assert [json.loads(add["stats"]) for add in adds(place)] == [{"numRecords": 2}]
    assert dl.connect_to_table(uri).to_pyarrow_table("p = 7").num_rows == 2


def test_what_is_no_table_is_refused(sqlite_url: str, tmp_path: Path) -> None:
    uri = f"deltasql://{sqlite_url}?table=t"

    def refused(place: Path, **options: Any) -> DeltaLakeErrorKind:
        with pytest.raises(DeltaLakeError) as caught:
            dl.convert_to_deltalake(uri, location=str(place), **options)
        assert not (place / "_delta_log").exists()
        return caught.value.kind

    empty = tmp_path / "empty"
    empty.mkdir()
    assert refused(empty) is DeltaLakeErrorKind.NOT_FOUND
    put(tmp_path / "a" / "p=x" / "one.parquet", x=[1])
    assert refused(tmp_path / "a") is DeltaLakeErrorKind.INVALID_ARGUMENT
    assert refused(tmp_path / "a", partition_by=pa.schema([("q", pa.string())])) is (
        DeltaLakeErrorKind.INVALID_ARGUMENT
    )
    assert refused(tmp_path / "a", partition_by=pa.schema([("p", pa.int64())])) is not None
    put(tmp_path / "b" / "1.parquet", x=[1])
    put(tmp_path / "b" / "2.parquet", x=["one"])
    assert refused(tmp_path / "b") is DeltaLakeErrorKind.SCHEMA_MISMATCH
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "1.parquet").write_bytes(b"PAR1 and no more")
    assert refused(tmp_path / "c") is DeltaLakeErrorKind.CORRUPT_DATA_FILE
    # Nothing of theirs was taken away.
    assert (tmp_path / "b" / "2.parquet").exists()
    on = {"delta.columnMapping.mode": "name"}
    assert refused(tmp_path / "b", configuration=on) is DeltaLakeErrorKind.INVALID_ARGUMENT


def test_a_table_below_is_no_part_of_another(catalog_url: str, tmp_path: Path) -> None:
    put(tmp_path / "t" / "1.parquet", x=[1])
    deltalake.write_deltalake(str(tmp_path / "t" / "inner"), pa.table({"x": [2]}))
    with pytest.raises(DeltaLakeError, match="of another table below") as caught:
        dl.convert_to_deltalake(f"deltasql://{catalog_url}?table=t", location=str(tmp_path / "t"))
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT
    assert not (tmp_path / "t" / "_delta_log").exists()
