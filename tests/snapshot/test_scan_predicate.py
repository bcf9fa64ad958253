"""What predicates keep, and what they let reading skip."""

from __future__ import annotations

import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.scan.scan import count_rows, scan_table
from tests.snapshot.scan_support import (
    column,
    file_row,
    made_scan,
    write_parquet,
)

UTC = datetime.UTC


def test_predicates_compare_widened_values_and_skip_row_groups_rightly(tmp_path: Path) -> None:
    old = pa.table({"a": pa.array(range(100), pa.int32())})
    new = pa.table({"a": pa.array([5, 2**40])})
    rows = [
        file_row(write_parquet(tmp_path / "old.parquet", old, row_group_size=10)),
        file_row(write_parquet(tmp_path / "new.parquet", new)),
    ]
    spec = made_scan(tmp_path, [column("a", "long")], rows)
    for predicate, count in (
        (pc.field("a") == 5, 2),
        (pc.field("a") > 2**33, 1),
        (pc.field("a") < 20, 21),
        (~(pc.field("a") <= 97), 3),
        (pc.field("a").is_null(), 0),
        (pc.field("a").isin([3, 50, 2**40]), 3),
    ):
        assert (
            scan_table(spec, predicate=predicate).num_rows == count == count_rows(spec, predicate)
        )


def test_a_predicate_that_fails_on_some_row(tmp_path: Path) -> None:
    name = write_parquet(tmp_path / "f.parquet", pa.table({"a": [0, 2]}))
    spec = made_scan(tmp_path, [column("a", "long")], [file_row(name)])
    with pytest.raises(DeltaLakeError, match="divide by zero") as caught:
        scan_table(spec, predicate=pc.field("a") / pc.field("a") > 0)
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_PREDICATE


def test_a_partition_is_pruned_without_opening_its_files(tmp_path: Path) -> None:
    name = write_parquet(tmp_path / "f.parquet", pa.table({"a": [1, 2]}))
    rows = [file_row("missing.parquet", {"p": str(i)}) for i in range(5)] + [
        file_row(name, {"p": "9"})
    ]
    fields = [column("a", "long"), column("p", "integer")]
    spec = made_scan(tmp_path, fields, rows, partition_columns=["p"])
    assert scan_table(spec, predicate=pc.field("p") > 5).num_rows == 2
    assert scan_table(spec, predicate=(pc.field("p") == 9) & (pc.field("a") == 2)).num_rows == 1
    assert scan_table(spec, predicate=pc.field("p") == 77).num_rows == 0
    with pytest.raises(DeltaLakeError, match="does not exist"):
        scan_table(spec, predicate=pc.field("p") >= 4)


def test_row_groups_are_skipped_by_their_statistics(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    table = pa.table({"a": list(range(30)), "s": [f"v{i:02}" for i in range(30)]})
    write_parquet(path, table, row_group_size=10, compression="none", use_dictionary=False)
    first = pq.read_metadata(path).row_group(0)
    data = bytearray(path.read_bytes())
    for index in range(2):  # break the first row group: whoever reads it fails
        chunk = first.column(index)
        data[chunk.data_page_offset : chunk.data_page_offset + 20] = b"\xff" * 20
    path.write_bytes(data)
    fields = [column("a", "long"), column("s", "string"), column("later", "long")]
    spec = made_scan(tmp_path, fields, [file_row(path.name)])
    with pytest.raises(DeltaLakeError):
        scan_table(spec)
    for predicate, count in (
        (pc.field("a") >= 15, 15),
        (pc.field("s") == "v12", 1),
        ((pc.field("a") > 9) & pc.field("later").is_null(), 20),
        (pc.field("later") == 1, 0),
    ):
        assert scan_table(spec, predicate=predicate).num_rows == count


def test_nan_is_outside_the_bounds_of_statistics(tmp_path: Path) -> None:
    stored = pa.table({"x": [1.0, 2.0, float("nan")]})
    spec = made_scan(
        tmp_path, [column("x", "double")], [file_row(write_parquet(tmp_path / "f", stored))]
    )
    assert scan_table(spec, predicate=~(pc.field("x") <= 2.0)).num_rows == 1


def test_bounds_that_arrow_can_not_compare_rule_nothing_out(tmp_path: Path) -> None:
    """Whole numbers that no double is, asked as doubles."""
    name = write_parquet(tmp_path / "a.parquet", pa.table({"n": [1, 2**63 - 1]}))
    spec = made_scan(tmp_path, [column("n", "long")], [file_row(name)])
    asked = pc.field("n").cast(pa.float64(), safe=False) > 1.5
    assert scan_table(spec, predicate=asked)["n"].to_pylist() == [2**63 - 1]
