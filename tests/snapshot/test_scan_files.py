"""Where data files are, which of their rows are deleted, and their partition values."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.scan.dataset import DeltaFileDataset, scan_dataset
from deltalakedb.scan.scan import ScanSpec, count_rows, scan_batches, scan_table
from tests.servers.s3 import S3Bucket
from tests.snapshot.scan_support import (
    column,
    file_row,
    made_scan,
    write_deletion_vector,
    write_parquet,
)

UTC = datetime.UTC


def test_damaged_files_are_named(tmp_path: Path) -> None:
    good = tmp_path / "good.parquet"
    write_parquet(good, pa.table({"a": list(range(1000))}))
    data = good.read_bytes()
    fields = [column("a", "long")]
    for number, damaged in enumerate(
        (b"no parquet", data[:-100], data[:4] + b"\0" * 50 + data[54:])
    ):
        (tmp_path / f"{number}.parquet").write_bytes(damaged)
        with pytest.raises(DeltaLakeError, match=rf"{number}\.parquet") as caught:
            scan_table(made_scan(tmp_path, fields, [file_row(f"{number}.parquet")]))
        assert caught.value.kind is DeltaLakeErrorKind.CORRUPT_DATA_FILE


PARTITIONS: list[tuple[str, Any, Any]] = [
    ("byte", "-128", -128),
    ("short", "7", 7),
    ("integer", "7", 7),
    ("long", str(2**53 + 1), 2**53 + 1),
    ("float", "0.5", 0.5),
    ("double", "Infinity", float("inf")),
    ("double", "NaN", float("nan")),
    ("decimal(10,4)", "1.5", Decimal("1.5000")),
    ("boolean", "false", False),
    ("date", "1969-07-20", datetime.date(1969, 7, 20)),
    (
        "timestamp",
        "2024-02-29T23:59:59.123456Z",
        datetime.datetime(2024, 2, 29, 23, 59, 59, 123456, UTC),
    ),
    ("timestamp", "2024-02-29 01:02:03", datetime.datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC)),
    ("timestamp_ntz", "2024-02-29 01:02:03", datetime.datetime(2024, 2, 29, 1, 2, 3)),
    ("string", "a%20b=/ é\n", "a%20b=/ é\n"),
    ("binary", "\u0001\u0002", b"\1\2"),
]


@pytest.mark.parametrize(("kind", "text", "value"), PARTITIONS)
@pytest.mark.parametrize("mode", ["none", "name"])
def test_partition_values(tmp_path: Path, kind: str, text: str, value: Any, mode: str) -> None:
    # The file holds a column of the partition's name, as some writers do: the log decides.
    stored = pa.table({"p": ["in the file"], "pp": ["in the file"], "before": [1], "after": [2]})
    name = write_parquet(tmp_path / "f.parquet", stored)
    key = "pp" if mode == "name" else "p"
    fields = [
        column("before", "long", id=1, physical="before"),
        column("p", kind, id=2, physical="pp"),
        column("after", "long", id=3, physical="after"),
    ]
    rows = [file_row(name, {key: text}), file_row(name, {key: ""}), file_row(name, {})]
    spec = made_scan(tmp_path, fields, rows, partition_columns=["p"], mode=mode)
    table = scan_table(spec)
    assert table.schema.names == ["before", "p", "after"]
    [found, empty, absent] = table["p"].to_pylist()
    assert found == value or (found != found and value != value)
    assert type(found) is type(value)
    assert (empty, absent) == (None, None)
    dataset = scan_dataset(spec)
    assert dataset.to_table().equals(table) or value != value
    assert dataset.to_table(filter=pc.field("p").is_null()).num_rows == 2
    same = pa.scalar(value, table.schema.field("p").type)
    assert dataset.count_rows(filter=pc.field("p") == same) == int(value == value)
    assert isinstance(dataset, DeltaFileDataset) == (mode == "none" and value == value)


@pytest.mark.parametrize("batch_size", [7, 1000])
def test_deleted_rows_are_found_by_their_place_in_the_file(tmp_path: Path, batch_size: int) -> None:
    count = 100
    table = pa.table({"a": list(range(count)), "s": [str(i) for i in range(count)]})
    name = write_parquet(tmp_path / "f.parquet", table, row_group_size=10)
    gone = [0, 9, 10, 55, 56, 57, 99, *range(20, 30)]
    vector = write_deletion_vector(tmp_path / "v.bin", gone)
    fields = [column("a", "long"), column("s", "string"), column("p", "long")]
    rows = [file_row(name, {"p": "1"}, vector, count), file_row(name, {"p": "2"})]
    spec = made_scan(tmp_path, fields, rows, partition_columns=["p"])
    live = [i for i in range(count) if i not in gone]
    for predicate, wanted in (
        (None, live),
        (pc.field("a") >= 50, [i for i in live if i >= 50]),
        (pc.field("a").isin([9, 56, 58]), [58]),
        (pc.field("s") == "25", []),
    ):
        batches = scan_batches(
            spec,
            ["a"],
            pc.field("p") == 1 if predicate is None else predicate & (pc.field("p") == 1),
            batch_size=batch_size,
        )
        assert [a for batch in batches for a in batch["a"].to_pylist()] == wanted
    assert scan_table(spec, ["p"])["p"].to_pylist() == [1] * len(live) + [2] * count
    assert count_rows(spec) == len(live) + count
    assert sum(b.num_rows for b in scan_batches(spec, [])) == len(live) + count


def test_a_vector_for_more_rows_than_the_file_has(tmp_path: Path) -> None:
    name = write_parquet(tmp_path / "f.parquet", pa.table({"a": [1, 2]}))
    vector = write_deletion_vector(tmp_path / "v.bin", [2])
    with pytest.raises(DeltaLakeError, match=r"f\.parquet.*deletes row 2 of 2") as caught:
        scan_table(made_scan(tmp_path, [column("a", "long")], [file_row(name, None, vector)]))
    assert caught.value.kind is DeltaLakeErrorKind.CORRUPT_DELETION_VECTOR


def test_paths_are_decoded_once_and_absolute_ones_followed(tmp_path: Path) -> None:
    table, elsewhere = tmp_path / "table", tmp_path / "else where"
    places = {
        "a%20b/f%25.parquet": table / "a b" / "f%.parquet",
        "x%3A/y.parquet": table / "x:" / "y.parquet",
        "c:d.parquet": table / "c:d.parquet",
        (elsewhere / "g.parquet").as_uri(): elsewhere / "g.parquet",
        str(elsewhere / "h.parquet").replace(" ", "%20"): elsewhere / "h.parquet",
        "file:" + str(table / "i.parquet"): table / "i.parquet",
    }
    for number, path in enumerate(places.values()):
        write_parquet(path, pa.table({"a": [number]}))
    spec = made_scan(table, [column("a", "long")], [file_row(raw) for raw in places])
    wanted = list(range(len(places)))
    assert scan_table(spec)["a"].to_pylist() == wanted
    assert ds.Scanner.from_dataset(scan_dataset(spec)).to_table()["a"].to_pylist() == wanted


def s3_scan(s3: S3Bucket, tmp_path: Path) -> ScanSpec:
    vector = write_deletion_vector(tmp_path / "v.bin", [0])
    s3.client.put_object(Bucket=s3.name, Key="t/v.bin", Body=(tmp_path / "v.bin").read_bytes())
    rows = []
    for i in range(4):
        name = write_parquet(tmp_path / f"{i}.parquet", pa.table({"a": [i, i + 10]}))
        body = (tmp_path / name).read_bytes()
        s3.client.put_object(Bucket=s3.name, Key=f"t/p q/{name}", Body=body)
        rows.append(file_row(f"p%20q/{name}", num_records=2))
    rows[2] = file_row(
        f"s3://{s3.name}/t/p%20q/2.parquet",
        None,
        {**vector, "pathOrInlineDv": f"s3://{s3.name}/t/v.bin"},
    )
    return made_scan(f"s3://{s3.name}/t", [column("a", "long")], rows, options=s3.options)


def test_tables_in_s3(s3: S3Bucket, tmp_path: Path) -> None:
    spec = s3_scan(s3, tmp_path)
    wanted = [0, 10, 1, 11, 12, 3, 13]
    assert scan_table(spec)["a"].to_pylist() == wanted
    assert scan_dataset(spec).to_table(filter=pc.field("a") > 10)["a"].to_pylist() == [11, 12, 13]
    s3.client.delete_object(Bucket=s3.name, Key="t/p q/3.parquet")
    with pytest.raises(DeltaLakeError, match=r"3\.parquet.*version 7.*does not exist") as caught:
        scan_table(spec)
    assert caught.value.kind is DeltaLakeErrorKind.NOT_FOUND
