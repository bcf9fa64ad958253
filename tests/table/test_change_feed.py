"""The change data feed by versions, and what is made of the log besides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError


def feed(table: Any, **options: Any) -> list[tuple[Any, ...]]:
    rows = pa.table(table.load_cdf(**options)).to_pylist()
    return sorted((r["_commit_version"], r["_change_type"], r["id"], r["s"]) for r in rows)


@pytest.mark.parametrize("vectors", ["true", "false"])
def test_changes_by_version(catalog_url: str, tmp_path: Path, vectors: str) -> None:
    uri, place = f"deltasql://{catalog_url}?table=t", tmp_path / "t"
    on = {"delta.enableChangeDataFeed": "true", "delta.enableDeletionVectors": vectors}
    rows = pa.table({"id": [1, 2, 3], "s": ["a", "b", "c"]})
    dl.write_deltalake(uri, rows, location=str(place), configuration=on, partition_by="s")
    table = dl.connect_to_table(uri)
    table.append(pa.table({"id": [4, 5], "s": ["c", "c"]}))
    table.update({"id": "id + 10"}, predicate="s = 'c' AND id > 3")
    table.optimize.compact()
    table.delete("id = 1")
    table.restore(3)
    expected = [
        (0, "insert", 1, "a"), (0, "insert", 2, "b"), (0, "insert", 3, "c"),
        (1, "insert", 4, "c"), (1, "insert", 5, "c"),
        (2, "update_postimage", 14, "c"), (2, "update_postimage", 15, "c"),
        (2, "update_preimage", 4, "c"), (2, "update_preimage", 5, "c"),
        (4, "delete", 1, "a"), (5, "insert", 1, "a"),
    ]  # fmt: skip
    assert feed(table) == expected
    assert feed(table, starting_version=2, ending_version=4) == expected[5:10]
    assert feed(table, predicate="_change_type = 'delete'") == expected[9:10]
    found = pa.table(table.load_cdf(columns=["id", "_commit_timestamp"]))
    assert found.column_names == ["id", "_commit_timestamp"]
    if vectors == "false":
        assert feed(deltalake.DeltaTable(str(place))) == expected
    with pytest.raises(DeltaLakeError, match="its newest is 5"):
        table.load_cdf(starting_version=6)
    assert feed(table, starting_version=6, allow_out_of_range=True) == []
    table.alter.set_table_properties({"delta.enableChangeDataFeed": "false"})
    with pytest.raises(DeltaLakeError, match="no change data feed at version 6"):
        table.load_cdf()


def test_vectors_alone_tell_changes(catalog_url: str, tmp_path: Path) -> None:
    """A restore has no change data files: its rows are those between two vectors."""
    uri = f"deltasql://{catalog_url}?table=t"
    on = {"delta.enableChangeDataFeed": "true", "delta.enableDeletionVectors": "true"}
    rows = pa.table({"id": list(range(6)), "s": ["x"] * 6})
    dl.write_deltalake(uri, rows, location=str(tmp_path / "t"), configuration=on)
    table = dl.connect_to_table(uri)
    table.delete("id IN (1, 2)")
    table.delete("id = 4")
    table.restore(1)
    assert feed(table, starting_version=3) == [(3, "insert", 4, "x")]


def test_columns_that_only_files_have_are_found_by_name(sqlite_url: str, tmp_path: Path) -> None:
    """Mapping by id gives the table's columns ids: what a change is, and a row's id, have none."""
    place = tmp_path / "t"
    on = {
        "delta.enableChangeDataFeed": "true",
        "delta.enableRowTracking": "true",
        "delta.columnMapping.mode": "id",
    }
    table = dl.create_table(
        f"deltasql://{sqlite_url}?table=t",
        pa.schema([("id", pa.int64()), ("s", pa.string())]),
        location=str(place),
        properties=on,
    )
    table.append(pa.table({"id": [1, 2, 3], "s": ["a", "b", "c"]}))
    table.update({"s": "'B'"}, predicate="id = 2")
    assert feed(table, starting_version=2) == [
        (2, "update_postimage", 2, "B"),
        (2, "update_preimage", 2, "b"),
    ]
    table.delete("id = 1")
    hidden = table.metadata.configuration["delta.rowTracking.materializedRowIdColumnName"]
    [add] = table.get_add_actions().to_pylist()
    written = pq.read_table(place / add["path"])
    assert sorted(written.column(hidden).to_pylist()) == [1, 2]


def test_manifests_and_compacted_logs(catalog_url: str, tmp_path: Path) -> None:
    uri, place = f"deltasql://{catalog_url}?table=t", tmp_path / "t"
    for name in ("a", "b", "a"):
        rows = pa.table({"id": [1], "s": [name]})
        dl.write_deltalake(uri, rows, mode="append", partition_by="s", location=str(place))
    table = dl.connect_to_table(uri)
    assert table.generate() == [f"_symlink_format_manifest/s={n}/manifest" for n in "ab"]
    listed = (place / "_symlink_format_manifest" / "s=a" / "manifest").read_text().splitlines()
    assert len(listed) == 2
    assert all(Path(line.removeprefix("file://")).exists() for line in listed)
    table.overwrite(pa.table({"id": [2], "s": ["c"]}))
    assert table.generate() == ["_symlink_format_manifest/s=c/manifest"]
    assert not (place / "_symlink_format_manifest" / "s=a" / "manifest").exists()
    name = table.compact_logs(1, 3)
    assert name == f"{1:020d}.{3:020d}.compacted.json"
    # Readers may take the range instead of its commits.
    (place / "_delta_log" / f"{2:020d}.json").rename(tmp_path / "aside")
    assert len(deltalake.DeltaTable(str(place)).file_uris()) == 1
    assert table.cleanup_metadata() == []
