"""A table whose log was imported from elsewhere is not cut over: the fence would be in a copy."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

import deltalakedb as dl
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.migrate.cut import cutover_table
from deltalakedb.table.operations import authority
from deltalakedb.table.operations.authority import set_authority
from deltalakedb.table.operations.base import Base
from deltalakedb.uri import parse_database


def hand_over(database: str, table: str, wanted: str) -> None:
    """By `dl authority --set`."""
    with closing(LightCatalog(parse_database(database))) as catalog:
        set_authority(catalog, Base.named(catalog, table, None), wanted)  # type: ignore[arg-type]


@pytest.mark.parametrize("wanted", ["sql", "fence"])
def test_what_comes_into_the_log_at_the_last_moment_is_taken_along(
    wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalog ratifies alone only from where it has all that the log has."""
    place, database = str(tmp_path / "sales"), f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    rows = pa.table({"id": [1]})
    write_deltalake(place, rows)
    dl.import_table(place, database=database, table_name="sales")
    adopt = authority.adopt

    def late(*arguments: object) -> int:
        head: int = adopt(*arguments)  # type: ignore[arg-type]
        write_deltalake(place, rows, mode="append")
        return head

    monkeypatch.setattr(authority, "adopt", late)
    if wanted == "fence":
        # It asks for the next slot, finds it taken, and changes nothing.
        with pytest.raises(DeltaLakeError) as caught:
            hand_over(database, "sales", wanted)
        assert caught.value.kind is DeltaLakeErrorKind.CONCURRENCY_ERROR
        monkeypatch.undo()
    hand_over(database, "sales", wanted)
    dl.write_deltalake(f"deltasql://{database}?table=sales", rows, mode="append")
    assert DeltaTable(place).to_pyarrow_table().num_rows == 3
    assert dl.diff_table("sales", database=database).parity


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
    for wanted in ("sql", "fence"):
        with pytest.raises(DeltaLakeError, match="isn't the log in its folder"):
            hand_over(database, "sales", wanted)
    # Nothing has happened to either, and the old writers go on.
    assert sorted(p.name for p in copy.glob("*.json")) == [f"{0:020}.json"]
    write_deltalake(place, rows, mode="append")
    dl.relocate_table("sales", database=database, log_dir=place)
    assert cutover_table("sales", database=database).migration.state == "sql"
    assert DeltaTable(place).version() == 2
    with pytest.raises(Exception, match=r"(?i)feature"):
        write_deltalake(place, rows, mode="append")
