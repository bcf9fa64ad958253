"""Appends one after the other through one table: they look at it again where that is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.table import table as table_module


def test_the_table_is_read_where_it_has_changed(
    catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, place = f"deltasql://{catalog_url}?table=t", tmp_path / "t"
    reads: list[Any] = []
    read = table_module.open_head
    monkeypatch.setattr(
        table_module, "open_head", lambda *given: reads.append(given) or read(*given)
    )
    table = dl.create_table(uri, pa.schema([("x", pa.int64())]), location=str(place))
    other = dl.connect_to_table(uri)
    one = pa.table({"x": [1]})
    table.append(one)
    del reads[:]
    # Other appends aren't in the way, and a stream can't be read twice.
    for _ in range(3):
        table.append(one)
        assert not reads
        other.append(one)
        del reads[:]
    # Without rows nothing is committed: the version is the one that is there.
    assert table.append(one.slice(0, 0)).version == 7
    del reads[:]
    table.append(one.to_reader())
    assert len(reads) == 1
    assert table.snapshot().count_rows() == 8
    # A column that came meanwhile, a rule that came meanwhile, rows that break it.
    other.append(pa.table({"x": [2], "y": [2]}), schema_mode="merge")
    assert table.append(pa.table({"x": [3], "y": [3]})).version == 10
    other.alter.add_constraint({"small": "x < 10"})
    assert table.append(pa.table({"x": [4], "y": [4]})).version == 12
    other.alter.add_constraint({"smaller": "x < 5"})
    with pytest.raises(DeltaLakeError) as caught:
        table.append(pa.table({"x": [6], "y": [6]}))
    assert caught.value.kind is DeltaLakeErrorKind.CONSTRAINT_VIOLATION
    files = {str(path) for path in place.glob("*.parquet")}
    assert len(files) == table.snapshot().num_files
    # Moved away, and another table under its name and at its place.
    dl.drop_table("t", database=catalog_url)
    (tmp_path / "t").rename(tmp_path / "before")
    dl.create_table(uri, pa.schema([("x", pa.int64())]), location=str(place))
    with pytest.raises(DeltaLakeError) as caught:
        table.append(one)
    assert caught.value.kind is DeltaLakeErrorKind.TABLE_NOT_FOUND
