"""Inputs that no table can be made of are refused by name before a file is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

MAPS = pa.map_(pa.string(), pa.int64())
TWICE = [("a", 1), ("b", 2), ("a", 3)]
NOT_UTF8 = pa.Array.from_buffers(
    pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\x28\0\0\0"), pa.py_buffer(b"x" * 39 + b"\xff")]
)
MISMATCH, VIOLATION = DeltaLakeErrorKind.SCHEMA_MISMATCH, DeltaLakeErrorKind.CONSTRAINT_VIOLATION
FAULTS: dict[str, tuple[Any, DeltaLakeErrorKind, str]] = {
    "two": (pa.table([[1], [2]], names=["a", "a"]), MISMATCH, "columns 'a' and 'a'"),
    "case": (pa.table([[1], [2]], names=["a", "A"]), MISMATCH, "columns 'a' and 'A'"),
    "nul": (pa.table({"a\0b": [1]}), MISMATCH, "has a NUL"),
    "nameless": (pa.table({"": [1]}), MISMATCH, "no name"),
    "text": (pa.table({"s": NOT_UTF8}), MISMATCH, "column s has a value that is no text"),
    "nested text": (
        pa.table({"s": pa.ListArray.from_arrays([0, 1], NOT_UTF8)}),
        MISMATCH,
        "column s has a value that is no text",
    ),
    "map": (pa.table({"m": pa.array([[], None, TWICE], MAPS)}), VIOLATION, "m has a key twice"),
    "sliced map": (
        pa.table({"m": pa.array([[("z", 1)], TWICE, TWICE[:2]], MAPS)}).slice(1),
        VIOLATION,
        "column m has a key twice in the row m=",
    ),
    "nested map": (
        pa.table({"l": pa.array([[{"m": TWICE}]], pa.list_(pa.struct([("m", MAPS)])))}),
        VIOLATION,
        "l.element.m has a key twice",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_inputs_that_no_table_can_be_made_of(tmp_path: Path, fault: str) -> None:
    data, kind, why = FAULTS[fault]
    place = tmp_path / "t"
    uri = f"deltasql://sqlite:///{tmp_path / 'c.sqlite'}?table=t"
    with pytest.raises(DeltaLakeError, match=why) as caught:
        dl.write_deltalake(uri, data, location=str(place))
    assert caught.value.kind is kind
    assert list(tmp_path.rglob("*.parquet")) == []


def test_maps_and_texts_as_they_should_be(tmp_path: Path) -> None:
    table = pa.table(
        {
            "m": pa.array([TWICE[:2], TWICE[1:], None, []], MAPS),
            "k": pa.array(
                [[({"x": 1}, 1), ({"x": 2}, 1)], None, [], [({"x": 1}, 1)]],
                pa.map_(pa.struct([("x", pa.int64())]), pa.int64()),
            ),
            "s": ["é", "\0", None, "\U0001f600"],
        }
    )
    uri = f"deltasql://sqlite:///{tmp_path / 'c.sqlite'}?table=t"
    dl.write_deltalake(uri, table, location=str(tmp_path / "t"))
    with dl.connect_to_table(uri) as found:
        assert found.to_pyarrow_table().to_pylist() == table.to_pylist()


def test_properties_that_delta_does_not_have(tmp_path: Path) -> None:
    uri = f"deltasql://sqlite:///{tmp_path / 'c.sqlite'}?table=t"
    schema, location = pa.schema([("x", pa.int64())]), str(tmp_path / "t")
    wrong = {"delta.apendOnly": "true"}
    with pytest.raises(DeltaLakeError, match="no table property"):
        dl.create_table(uri, schema, location=location, properties=wrong)
    with pytest.raises(DeltaLakeError, match="no table property"):
        dl.write_deltalake(uri, schema.empty_table(), location=location, configuration=wrong)
    assert not (tmp_path / "t").exists()
    given = {"owner": "us", "delta.feature.deletionVectors": "supported", **wrong}
    with dl.create_table(
        uri, schema, location=location, properties=given, raise_if_key_not_exists=False
    ) as table:
        assert table.metadata.configuration["delta.apendOnly"] == "true"
