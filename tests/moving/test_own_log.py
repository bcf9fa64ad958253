"""A table whose log was imported from elsewhere is not cut over: the fence would be in a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.migrate.cut import cutover_table


def test_a_copy_of_a_log_is_not_fenced(tmp_path: Path) -> None:
    place, database = str(tmp_path / "sales"), f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    rows = pa.table({"id": [1]})
    write_deltalake(place, rows)
    copy = tmp_path / "copy" / "_delta_log"
    shutil.copytree(tmp_path / "sales" / "_delta_log", copy)
    dl.import_table(str(copy), database=database, table_location=place, table_name="sales")
    with pytest.raises(DeltaLakeError) as caught:
        cutover_table("sales", database=database)
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT
    assert f"dl relocate sales --log-dir {place}" in caught.value.message
    # Nothing has happened to either, and the old writers go on.
    assert sorted(p.name for p in copy.glob("*.json")) == [f"{0:020}.json"]
    write_deltalake(place, rows, mode="append")
    dl.relocate_table("sales", database=database, log_dir=place)
    assert cutover_table("sales", database=database).migration.state == "sql"
    assert DeltaTable(place).version() == 2
    with pytest.raises(Exception, match=r"(?i)feature"):
        write_deltalake(place, rows, mode="append")
