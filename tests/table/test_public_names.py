"""What Snapshot and Table answer to: names that were published once go on working."""

from __future__ import annotations

import inspect

import pytest

import deltalakedb
from deltalakedb import DeltaLakeError, Snapshot, Table
from tests.table.opening import open_table

SNAPSHOT = """
    count_rows domains explain file_pages file_uris files get_add_actions location metadata name
    num_files partition_names partition_summary partitions plan protocol scan_spec schema
    size_classes to_arrow to_batches to_dask to_duckdb to_pandas to_polars to_pyarrow_dataset
    to_pyarrow_table total_bytes transactions version where
"""
TABLE = """
    close count file_uris files get_add_actions get_cache_stats history known_since location
    metadata name partitions protocol schema snapshot table_id to_pandas to_pyarrow_dataset
    to_pyarrow_table update uri version
"""
MODULE = """
    CacheConfig ConfigFactory ConfigLoader DeltaLakeBridge DeltaLakeError DeltaLakeErrorKind
    DiffReport EvictionPolicy ImportResult LazyLoadingConfig LazyLoadingManager LoadingStrategy
    Snapshot SqlConfig SqlConnection Table connect_to_table diff_table import_table
"""


@pytest.mark.parametrize(
    ("owner", "names"), [(Snapshot, SNAPSHOT), (Table, TABLE), (deltalakedb, MODULE)]
)
def test_published_names_are_there(owner: object, names: str) -> None:
    assert [name for name in names.split() if not hasattr(owner, name)] == []


@pytest.mark.parametrize("owner", [Snapshot, Table])
@pytest.mark.parametrize("name", ["file_uris", "partitions", "to_pyarrow_dataset"])
def test_published_arguments_are_taken(owner: type, name: str) -> None:
    assert "file_pruning_predicate" in inspect.signature(getattr(owner, name)).parameters


def test_old_names_answer_as_the_new_ones(shared: str) -> None:
    table = open_table(shared)
    snapshot = table.snapshot()
    us = "region = 'us'"
    assert snapshot.partitions(us) == snapshot.partition_values(us) == table.partitions(us) != []
    uris = snapshot.file_uris(file_pruning_predicate=us)
    assert uris == snapshot.file_uris(us) == table.file_uris(us)
    assert 0 < len(uris) < snapshot.num_files
    assert table.update() is table
    # What only chooses files leaves their rows; the predicate chooses rows.
    low = "qty < 3"
    every = snapshot.to_pyarrow_dataset(partitions=us).count_rows()
    assert every == snapshot.count_rows(us)
    some = snapshot.to_pyarrow_dataset(low, file_pruning_predicate=us).count_rows()
    assert some == snapshot.count_rows(snapshot.where(us, low)) < every
    with pytest.raises(DeltaLakeError, match="two predicates"):
        snapshot.to_pyarrow_dataset(partitions=us, file_pruning_predicate=us)
