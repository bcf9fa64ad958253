"""Columns of data files that differ from the table's: types, names, places, encodings."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.scan.dataset import DeltaDataset, scan_dataset
from deltalakedb.scan.scan import scan_batches, scan_table
from tests.snapshot.scan_support import (
    column,
    file_row,
    made_scan,
    struct_of,
    with_ids,
    write_parquet,
)

UTC = datetime.UTC


def list_of(kind: Any) -> dict[str, Any]:
    return {"type": "array", "elementType": kind, "containsNull": True}


def map_of(key: Any, value: Any) -> dict[str, Any]:
    return {"type": "map", "keyType": key, "valueType": value, "valueContainsNull": True}


def read_one(folder: Path, stored: pa.Table, *fields: dict[str, Any], **options: Any) -> pa.Table:
    row = file_row(write_parquet(folder / "f.parquet", stored))
    table = scan_table(made_scan(folder, fields, [row], **options))
    table.validate(full=True)
    return table


@pytest.mark.parametrize(
    ("before", "kind", "after"),
    [
        (pa.array([1, None, -2], pa.int8()), "short", [1, None, -2]),
        (pa.array([1, None, -2], pa.int16()), "integer", [1, None, -2]),
        (pa.array([2**31 - 1, None], pa.int32()), "long", [2**31 - 1, None]),
        (pa.array([0.1, None], pa.float32()), "double", [float(np.float32(0.1)), None]),
        (pa.array([7, None], pa.int32()), "double", [7.0, None]),
        (pa.array([7, None], pa.int32()), "decimal(12,2)", [Decimal("7.00"), None]),
        (pa.array([-7, None], pa.int64()), "decimal(20,0)", [Decimal(-7), None]),
        (
            pa.array([Decimal("1.20"), None], pa.decimal128(6, 2)),
            "decimal(38,10)",
            [Decimal("1.2000000000"), None],
        ),
        (
            pa.array([datetime.date(1969, 12, 31), None], pa.date32()),
            "timestamp_ntz",
            [datetime.datetime(1969, 12, 31), None],
        ),
    ],
)
def test_files_of_a_narrower_type(
    tmp_path: Path, before: pa.Array, kind: str, after: list[Any]
) -> None:
    nested = pa.StructArray.from_arrays([before], ["x"])
    listed = pa.array([before.to_pylist(), None], pa.list_(before.type))
    table = read_one(
        tmp_path,
        pa.table({"a": before, "s": nested}).append_column(
            "l", pa.chunked_array([pa.concat_arrays([listed] * 2).slice(0, len(before))])
        ),
        column("a", kind),
        column("s", struct_of(column("x", kind))),
        column("l", list_of(kind)),
    )
    assert table["a"].to_pylist() == after
    assert table["s"].to_pylist() == [{"x": value} for value in after]
    assert table["l"].to_pylist()[:2] == [after, None]


def test_a_change_of_type_that_is_no_widening_is_refused(tmp_path: Path) -> None:
    changes = [{"fromType": "long", "toType": "integer"}]
    field = column("a", "integer", **{"delta.typeChanges": changes})
    with pytest.raises(DeltaLakeError, match=r"typeWidening.*'long' to 'integer'") as caught:
        scan_table(made_scan(tmp_path, [field], []))
    assert caught.value.kind is DeltaLakeErrorKind.UNSUPPORTED_FEATURE
    widened = [{"fromType": "byte", "toType": "decimal(10,0)"}]
    spec = made_scan(tmp_path, [column("a", "decimal(10,0)", **{"delta.typeChanges": widened})], [])
    assert isinstance(scan_dataset(spec), DeltaDataset)


def test_missing_moved_and_foreign_columns(tmp_path: Path) -> None:
    stored = pa.table({"extra": ["?"], "B": [1], "a.b": [2], "a": [{"b": 3}], "S": [{"Y": 4}]})
    table = read_one(
        tmp_path,
        stored,
        column("a", struct_of(column("c", "string"), column("b", "long"))),
        column("gone", map_of("string", struct_of(column("x", "date")))),
        column("b", "long"),
        column("a.b", "integer"),
        column("s", struct_of(column("y", "long"))),
    )
    assert table.to_pylist() == [
        {"a": {"c": None, "b": 3}, "gone": None, "b": 1, "a.b": 2, "s": {"y": 4}}
    ]
    spec = made_scan(tmp_path, [column("a.b", "long")], [file_row("f.parquet")])
    assert scan_table(spec, predicate=pc.field("a.b") == 2).to_pylist() == [{"a.b": 2}]


def test_fields_that_are_missing_deep_inside(tmp_path: Path) -> None:
    inner = pa.struct([("y", pa.int32()), ("x", pa.string())])
    stored = pa.table(
        {
            "l": pa.array([[{"y": 1, "x": "a"}, None], None, []], pa.list_(inner)),
            "m": pa.array([[("k", {"y": 2, "x": "b"})], [], None], pa.map_(pa.string(), inner)),
            "s": pa.array([{"t": {"y": 3}}, {"t": None}, None], pa.struct([("t", inner)])),
        }
    )
    new = struct_of(column("x", "string"), column("z", "long"), column("y", "long"))
    fields = (
        column("l", list_of(new)),
        column("m", map_of("string", new)),
        column("s", struct_of(column("t", new), column("u", "boolean"))),
    )
    expected = {
        "l": [[{"x": "a", "z": None, "y": 1}, None], None, []],
        "m": [[("k", {"x": "b", "z": None, "y": 2})], [], None],
        "s": [
            {"t": {"x": None, "z": None, "y": 3}, "u": None},
            {"t": None, "u": None},
            None,
        ],
    }
    assert read_one(tmp_path, stored, *fields).to_pydict() == expected
    # Batches that begin in the middle of the file's arrays.
    spec = made_scan(tmp_path, fields, [file_row("f.parquet")])
    singles = list(scan_batches(spec, batch_size=1))
    assert len(singles) == 3
    assert pa.Table.from_batches(singles).to_pydict() == expected


def test_structs_without_fields(tmp_path: Path) -> None:
    stored = pa.table({"s": [{"gone": 1}, None, {"gone": 2}]})
    assert read_one(tmp_path, stored, column("s", struct_of()))["s"].to_pylist() == [{}, None, {}]


@pytest.mark.parametrize(
    ("stored", "options", "micros"),
    [
        (pa.array([-1, None, 1999], pa.timestamp("ns")), {}, [-1, None, 1]),
        (pa.array([-1, None, 1], pa.timestamp("ms")), {}, [-1000, None, 1000]),
        (pa.array([-1, None, 1], pa.timestamp("us", "Europe/Paris")), {}, [-1, None, 1]),
        (
            pa.array([-1, None, 253402300799], pa.timestamp("s")),
            {"use_deprecated_int96_timestamps": True},
            [-1_000_000, None, 253402300799000000],
        ),
    ],
)
@pytest.mark.parametrize("kind", ["timestamp", "timestamp_ntz"])
def test_timestamps_of_every_unit_and_zone(
    tmp_path: Path, stored: pa.Array, options: dict[str, Any], micros: list[Any], kind: str
) -> None:
    name = write_parquet(tmp_path / "f.parquet", pa.table({"t": stored}), **options)
    spec = made_scan(tmp_path, [column("t", kind)], [file_row(name)])
    table = scan_table(spec)
    zone = "UTC" if kind == "timestamp" else None
    assert table.schema.field("t").type == pa.timestamp("us", zone)
    assert table["t"].cast(pa.int64()).to_pylist() == micros
    literal = pa.scalar(micros[2], pa.timestamp("us", zone))
    found = scan_dataset(spec).to_table(filter=pc.field("t") >= literal)
    assert found["t"].cast(pa.int64()).to_pylist() == micros[2:]


def test_other_encodings_of_text_and_numbers(tmp_path: Path) -> None:
    stored = pa.table(
        {
            "d": pa.array(["x", None, "x"]).dictionary_encode(),
            "l": pa.array(["x", None, "é"], pa.large_string()),
            "b": pa.array([b"x", None, "é".encode()]),
            "f": pa.array([b"ab", None, b"cd"], pa.binary(2)),
            "n": pa.array([Decimal("1.5"), None, Decimal("-2.0")], pa.decimal128(5, 1)),
            "v": pa.array([[1], None, []], pa.large_list(pa.int64())),
        }
    )
    path = tmp_path / "f.parquet"
    pq.write_table(stored, path, store_decimal_as_integer=True)
    fields = [
        column("d", "string"),
        column("l", "varchar(10)"),
        column("b", "string"),
        column("f", "binary"),
        column("n", "decimal(5,1)"),
        column("v", list_of("long")),
    ]
    table = scan_table(made_scan(tmp_path, fields, [file_row(path.name)]))
    assert table.schema.types[:5] == [*[pa.string()] * 3, pa.binary(), pa.decimal128(5, 1)]
    assert table.to_pydict() == {
        "d": ["x", None, "x"],
        "l": ["x", None, "é"],
        "b": ["x", None, "é"],
        "f": [b"ab", None, b"cd"],
        "n": [Decimal("1.5"), None, Decimal("-2.0")],
        "v": [[1], None, []],
    }


@pytest.mark.parametrize(
    ("stored", "kind"),
    [
        (pa.array(["1"]), "long"),
        (pa.array([1]), "string"),
        (pa.array([2**40]), "integer"),
        (pa.array([1.5]), "float"),
        (pa.array([1.5]), "decimal(5,1)"),
        (pa.array([1], pa.timestamp("us")), "date"),
        (pa.array([{"x": 1}]), "long"),
        (pa.array([[1]]), struct_of(column("x", "long"))),
        (pa.array([b"\xff"]), "string"),
    ],
)
def test_columns_that_do_not_fit_are_named(tmp_path: Path, stored: pa.Array, kind: Any) -> None:
    spec_file = write_parquet(tmp_path / "f.parquet", pa.table({"ok": [1], "bad": stored}))
    spec = made_scan(tmp_path, [column("ok", "long"), column("bad", kind)], [file_row(spec_file)])
    with pytest.raises(DeltaLakeError, match=r"f\.parquet of version 7") as caught:
        scan_table(spec)
    assert caught.value.kind is DeltaLakeErrorKind.CORRUPT_DATA_FILE
    assert scan_table(spec, ["ok"]).to_pydict() == {"ok": [1]}


def mapped_fields() -> list[dict[str, Any]]:
    inside = struct_of(column("y", "long", id=4, physical="p4"))
    return [
        column("one", "long", id=1, physical="p1"),
        column("two", "string", id=2, physical="p2"),
        column("s", inside, id=3, physical="p3"),
        column("l", list_of(inside), id=5, physical="p5"),
        column("added", "date", id=6, physical="p6"),
    ]


MAPPED_ROWS = [
    {"one": 1, "two": "a", "s": {"y": 10}, "l": [{"y": 5}], "added": None},
    {"one": 2, "two": None, "s": None, "l": None, "added": None},
]


def test_columns_mapped_by_name(tmp_path: Path) -> None:
    stored = pa.table(
        {
            "two": ["wrong", "wrong"],  # a dropped column whose name was given again
            "p1": [1, 2],
            "p2": ["a", None],
            "p3": pa.array([{"p4": 10}, None]),
            "p5": pa.array([[{"p4": 5}], None]),
        }
    )
    table = read_one(tmp_path, stored, *mapped_fields(), mode="name")
    assert table.to_pylist() == MAPPED_ROWS


def test_columns_mapped_by_id(tmp_path: Path) -> None:
    stored = pa.table(
        {
            "p2": [1, 2],  # the names lie: ids decide
            "p1": ["a", None],
            "x": pa.array([{"z": 10}, None]),
            "p5": pa.array([[{"p9": 5}], None]),
        }
    )
    ids = {"p2": 1, "p1": 2, "x": 3, "x.z": 4, "p5": 5, "p5[].p9": 4}
    stored = stored.cast(with_ids(stored.schema, ids))
    spec = made_scan(
        tmp_path,
        mapped_fields(),
        [file_row(write_parquet(tmp_path / "f.parquet", stored))],
        mode="id",
    )
    assert scan_table(spec).to_pylist() == MAPPED_ROWS
    dataset = scan_dataset(spec)
    assert isinstance(dataset, DeltaDataset)
    assert dataset.to_table(columns=["two"], filter=pc.field("one") == 1).to_pylist() == [
        {"two": "a"}
    ]


def test_files_without_ids_are_refused_when_columns_are_mapped_by_id(tmp_path: Path) -> None:
    with pytest.raises(DeltaLakeError, match="no Parquet field ids") as caught:
        read_one(tmp_path, pa.table({"p1": [1]}), *mapped_fields(), mode="id")
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_LOG


def test_mapping_counts_only_where_the_protocol_has_it(tmp_path: Path) -> None:
    field = column("one", "long", id=1, physical="p1")
    table = read_one(tmp_path, pa.table({"one": [1]}), field, mode="name", features=())
    assert table.to_pylist() == [{"one": 1}]
