"""Every sample table from its catalog: the rows expected of it, and what delta-rs says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from deltalakedb.facade.bridge import DeltaLakeBridge
from deltalakedb.importing.run import import_table
from deltalakedb.snapshot.snapshot import Snapshot
from deltalakedb.table.table import Table
from tests.snapshot.scan_support import sample_facts, sample_versions
from tests.table.opening import open_table
from tests.tables import samples

VALID = [n for n in samples.names("valid") if not samples.expected(n)["alternatives"]]
READABLE = [
    (name, version)
    for name, version in sample_versions("readable", newest_only=True)
    if name in VALID
]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('samples') / 'catalog.sqlite'}"
    for name in VALID:
        import_table(str(samples.path(name)), database=url, mode="full-history")
    return url


@pytest.mark.parametrize(("name", "version"), READABLE)
def test_rows_are_the_expected_ones(catalog: str, name: str, version: int) -> None:
    facts = sample_facts(name, version)
    snapshot = open_table(catalog, name).snapshot(version)
    found = snapshot.to_pyarrow_table()
    assert samples.data_sha256(found, facts["schema"]) == facts["data"]["sha256"]
    assert snapshot.count_rows() == found.num_rows
    assert {f.path for f in snapshot.files} == {file["path"] for file in facts["files"]}


def in_order(table: pa.Table) -> pa.Table:
    return table.sort_by("path")


@pytest.fixture
def both(catalog: str) -> Any:
    def opened(name: str) -> tuple[Table, DeltaTable]:
        ours = open_table(catalog, name)
        try:
            return ours, DeltaTable(samples.path(name), version=ours.version)
        except DeltaError as error:
            pytest.skip(f"delta-rs can't open it: {error}")

    return opened


@pytest.mark.parametrize("name", VALID)
def test_delta_rs_names_give_what_delta_rs_gives(both: Any, name: str) -> None:
    ours, theirs = both(name)
    assert sorted(ours.file_uris()) == sorted(theirs.file_uris())
    if ours.metadata.partition_columns and theirs.file_uris():
        assert canonical(ours.partitions()) == canonical(theirs.partitions())
    found, expected = (in_order(pa.table(t.get_add_actions(flatten=True))) for t in (ours, theirs))
    assert found["path"].to_pylist() == expected["path"].to_pylist() == sorted(ours.files())
    compared = set(found.column_names) & set(expected.column_names)
    assert compared >= {"path", "size_bytes", "modification_time", "num_records"}
    if ours.metadata.configuration.get("delta.columnMapping.mode", "none") == "none":
        # Mapped columns have their physical names there.
        missing = set(expected.column_names) - compared
        assert not missing
    structs = "checkpoint-struct-stats-only" in samples.expected(name)["traits"]
    for column in compared:
        pairs = zip(found[column].to_pylist(), expected[column].to_pylist(), strict=True)
        # delta-rs reads neither statistics that are structs alone, nor "0E-10" as a zero.
        unread = [(a, b) for a, b in pairs if b is None and (structs or a == 0)]
        pairs = zip(found[column].to_pylist(), expected[column].to_pylist(), strict=True)
        assert [(a, b) for a, b in pairs if a != b and (a, b) not in unread] == [], column
    nested = ours.get_add_actions()
    assert {"null_count", "min", "max"} & set(nested.column_names) or nested.num_rows == 0


def canonical(partitions: list[dict[str, Any]]) -> list[list[tuple[str, Any]]]:
    return sorted((sorted(values.items()) for values in partitions), key=repr)


@pytest.mark.parametrize("name", VALID)
def test_the_bridge_finds_the_same_table(both: Any, name: str) -> None:
    ours, theirs = both(name)
    original = DeltaLakeBridge().create_compatible_table(f"file://{samples.path(name)}")
    assert original.version() == ours.version == theirs.version()
    snapshot: Snapshot = ours.snapshot()
    assert {f.path for f in original.files()} == {f.path for f in snapshot.files}
    assert sum(f.size for f in original.files()) == snapshot.total_bytes
    metadata = original.metadata()
    assert metadata["schemaString"] == ours.metadata.schema.schema_string
    assert metadata["partitionColumns"] == ours.metadata.partition_columns
    assert metadata["configuration"] == ours.metadata.configuration
    assert (metadata["id"], metadata["name"]) == (ours.metadata.id, ours.metadata.name)


def test_tables_were_found(catalog: str) -> None:
    assert len(READABLE) > 80
    assert len(VALID) > 95
    assert Path(catalog.removeprefix("sqlite:///")).exists()
