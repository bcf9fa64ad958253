"""Tables whose log ratifies: our commits and those of file-based writers make one history."""

from __future__ import annotations

from pathlib import Path

import deltalake
import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind


def test_writers_of_both_kinds(catalog_url: str, tmp_path: Path) -> None:
    place = str(tmp_path / "t")
    deltalake.write_deltalake(place, pa.table({"x": [0]}))
    dl.import_table(log_dir=place, database=catalog_url, table_name="t")
    uri = f"deltasql://{catalog_url}?table=t"
    table = dl.connect_to_table(uri)
    assert table.append(pa.table({"x": [1]})).version == 1
    # Two that the catalog doesn't know of when the next one is committed.
    deltalake.write_deltalake(place, pa.table({"x": [2]}), mode="append")
    deltalake.write_deltalake(place, pa.table({"x": [3]}), mode="append")
    done = table.append(pa.table({"x": [4]}), token="mine")
    assert (done.version, done.published) == (4, True)
    seen = sorted(deltalake.DeltaTable(place).to_pyarrow_table()["x"].to_pylist())
    assert seen == [0, 1, 2, 3, 4]
    assert sorted(table.to_pyarrow_table()["x"].to_pylist()) == seen
    assert table.append(pa.table({"x": [4]}), token="mine").repeated
    deltalake.DeltaTable(place).delete("x = 2")
    assert table.overwrite(pa.table({"x": [9]})).version == 6
    assert deltalake.DeltaTable(place).to_pyarrow_table()["x"].to_pylist() == [9]
    assert dl.diff_table("t", database=catalog_url).parity


def test_a_commit_that_only_the_log_has_is_found_by_its_token(
    catalog_url: str, tmp_path: Path
) -> None:
    place = tmp_path / "t"
    uri = f"deltasql://{catalog_url}?table=t"
    schema = pa.schema([("x", pa.int64())])
    table = dl.create_table(uri, schema, location=str(place), authority="log")
    table.append(pa.table({"x": [1]}), token="first")
    [line, add] = (place / "_delta_log" / f"{1:020d}.json").read_text().splitlines()
    # As if the process had died between its put and its COMMIT.
    (place / "_delta_log" / f"{2:020d}.json").write_text(
        line.replace('"first"', '"lost"') + "\n" + add.replace("part-", "other-") + "\n"
    )
    again = table.append(pa.table({"x": [2]}), token="lost")
    assert (again.version, again.repeated) == (2, True)
    assert table.version == 2


def test_a_log_that_is_ahead_of_a_catalog_that_ratifies(catalog_url: str, tmp_path: Path) -> None:
    place = tmp_path / "t"
    uri = f"deltasql://{catalog_url}?table=t"
    table = dl.create_table(uri, pa.schema([("x", pa.int64())]), location=str(place))
    (place / "_delta_log" / f"{1:020d}.json").write_text('{"commitInfo":{"operation":"foreign"}}\n')
    # It is refused each time, and the foreign file is left as it is.
    for _ in range(2):
        with pytest.raises(DeltaLakeError) as caught:
            table.append(pa.table({"x": [1]}))
        assert caught.value.kind is DeltaLakeErrorKind.MIRROR_CONFLICT
    assert "foreign" in (place / "_delta_log" / f"{1:020d}.json").read_text()


def test_the_fence_keeps_file_based_writers_out(catalog_url: str, tmp_path: Path) -> None:
    place = str(tmp_path / "t")
    deltalake.write_deltalake(place, pa.table({"x": [0]}))
    dl.import_table(log_dir=place, database=catalog_url, table_name="t")
    table = dl.connect_to_table(f"deltasql://{catalog_url}?table=t")
    old = deltalake.DeltaTable(place)
    deltalake.write_deltalake(place, pa.table({"x": [1]}), mode="append")
    state = table.set_authority("fence")
    assert (state.authority, state.fenced, state.version) == ("sql", True, 2)
    for attempt in (
        lambda: deltalake.write_deltalake(old, pa.table({"x": [9]}), mode="append"),
        lambda: deltalake.write_deltalake(place, pa.table({"x": [9]}), mode="append"),
        lambda: deltalake.DeltaTable(place).delete("x = 0"),
    ):
        with pytest.raises(Exception, match=r"(?i)feature|metadata|protocol"):
            attempt()
    table.append(pa.table({"x": [2]}), token="after")
    seen = sorted(deltalake.DeltaTable(place).to_pyarrow_table()["x"].to_pylist())
    assert seen == [0, 1, 2] == sorted(table.to_pyarrow_table()["x"].to_pylist())
    assert dl.diff_table("t", database=catalog_url).parity
    state = table.set_authority("log")
    assert (state.authority, state.fenced) == ("log", False)
    deltalake.write_deltalake(place, pa.table({"x": [3]}), mode="append")
    assert table.append(pa.table({"x": [4]})).version == 6
    assert table.snapshot().count_rows() == 5
    # A handle from before is told, rather than writing under another authority.
    assert table.set_authority("sql").epoch > state.epoch
    assert table.append(pa.table({"x": [5]})).version == 7
