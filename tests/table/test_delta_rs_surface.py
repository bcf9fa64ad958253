"""delta-rs's public names and parameters: each is here, or in a list with its reason."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import deltalake
import pyarrow as pa
import pytest
from deltalake import table as their_tables

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError
from deltalakedb.table.alter import TableAlterer
from deltalakedb.table.merging import TableMerger
from deltalakedb.table.optimize import TableOptimizer

PAIRS = {
    "DeltaTable": (deltalake.DeltaTable, dl.DeltaTable),
    "TableMerger": (their_tables.TableMerger, TableMerger),
    "TableAlterer": (their_tables.TableAlterer, TableAlterer),
    "TableOptimizer": (their_tables.TableOptimizer, TableOptimizer),
}
FUNCTIONS = ("write_deltalake", "convert_to_deltalake", "CommitProperties", "WriterProperties",
             "PostCommitHookProperties", "ColumnProperties", "BloomFilterProperties")  # fmt: skip

_FILES = "files are listed by the catalog: there is nothing to leave out or to buffer"
_ARROW = "rows are read by our scan, over the table's storage options, as the schema says"
_DTYPES = "values are held against their columns' types in any case"
_TEMP = "what waits is bounded by max_spill_size; the directory by its disk (TMPDIR)"
_NO_COMMIT = "a vacuum makes no commit"
_ARROW_TYPES = "schemas are taken from Arrow and from delta-rs's own classes"
MISSING = {
    "DeltaTable.__init__(without_files)": _FILES,
    "DeltaTable.__init__(log_buffer_size)": _FILES,
    "DeltaTable.__init__(skip_stats)": _FILES,
    "DeltaTable.table_config": _FILES,
    "DeltaTable.create(post_commithook_properties)": "version 0 is never due for a checkpoint",
    "DeltaTable.create_write_transaction": "raw actions would go past what a table demands",
    "DeltaTable.merge(error_on_type_mismatch)": _DTYPES,
    "DeltaTable.merge(streamed_exec)": "a source is always read once, as a stream",
    "DeltaTable.update(error_on_type_mismatch)": _DTYPES,
    "DeltaTable.to_pandas(filesystem)": _ARROW,
    "DeltaTable.to_pyarrow_table(filesystem)": _ARROW,
    "DeltaTable.to_pyarrow_dataset(filesystem)": _ARROW,
    "DeltaTable.to_pyarrow_dataset(parquet_read_options)": _ARROW,
    "DeltaTable.to_pyarrow_dataset(schema)": _ARROW,
    "DeltaTable.to_pyarrow_dataset(as_large_types)": _ARROW,
    "DeltaTable.vacuum(commit_properties)": _NO_COMMIT,
    "DeltaTable.vacuum(post_commithook_properties)": _NO_COMMIT,
    "TableOptimizer.compact(max_temp_directory_size)": _TEMP,
    "TableOptimizer.z_order(max_temp_directory_size)": _TEMP,
    "DataType": _ARROW_TYPES,
    "Field": _ARROW_TYPES,
    "Schema": _ARROW_TYPES,
    "VariantType": _ARROW_TYPES,
    "Metadata": "what `DeltaTable.metadata()` gives; it isn't made by callers",
    "TableFeatures": "features are named by their names, delta-rs's enumeration is taken",
    "QueryBuilder": "`Snapshot.scan(…).to_duckdb()` and the like hand rows to engines",
    "enable_nanosecond_timestamps": "Delta's timestamps are of microseconds",
    "init_tracing": "of delta-rs's own runtime",
    "rust_core_version": "of delta-rs's own runtime",
}
_MODULES = {"Optional", "atexit", "exceptions", "query", "schema", "table", "transaction", "writer"}


def parameters(of: Any) -> set[str]:
    found = inspect.signature(of).parameters.values()
    return {p.name for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)} - {
        "self",
        "cls",
    }


def gaps() -> Iterator[str]:
    for name, (theirs, ours) in PAIRS.items():
        members = [m for m in dir(theirs) if not m.startswith("_")]
        for member in ["__init__", *members] if name == "DeltaTable" else members:
            if not hasattr(ours, member):
                yield f"{name}.{member}"
            elif callable(getattr(theirs, member)):
                lacking = parameters(getattr(theirs, member)) - parameters(getattr(ours, member))
                yield from (f"{name}.{member}({parameter})" for parameter in lacking)
    for name in FUNCTIONS:
        if hasattr(dl, name):
            lacking = parameters(getattr(deltalake, name)) - parameters(getattr(dl, name))
            yield from (f"{name}({parameter})" for parameter in lacking)
    for name in dir(deltalake):
        if isinstance(getattr(deltalake, name), ModuleType):
            continue  # what is a module of the package depends on who has imported it
        if not name.startswith("_") and name not in _MODULES and not hasattr(dl, name):
            yield name


def test_no_name_is_missing_without_a_reason() -> None:
    found = set(gaps())
    assert found - MISSING.keys() == set()
    # Nor does a reason outlive its gap.
    assert MISSING.keys() - found == set()


def test_the_call_forms(catalog_url: str, tmp_path: Path) -> None:
    uri, place = f"deltasql://{catalog_url}?table=t", str(tmp_path / "t")
    assert not dl.DeltaTable.is_deltatable(uri)
    on = {"delta.enableDeletionVectors": "true"}
    with pytest.raises(DeltaLakeError, match="no table property"):
        dl.DeltaTable.create(uri, pa.schema([]), configuration={"delta.nothing": "1"})
    schema = deltalake.Schema([deltalake.Field("id", "long"), deltalake.Field("s", "string")])
    table = dl.DeltaTable.create(uri, schema, location=place, configuration=on)
    assert dl.DeltaTable.is_deltatable(uri)
    txn = deltalake.CommitProperties(app_transactions=[deltalake.Transaction("job", 7)])
    rows = pa.table({"id": [1, 2, 3], "s": ["a", "b", "c"]})
    dl.write_deltalake(uri, rows, mode="append", commit_properties=txn)
    assert (table.version(), table.count()) == (0, 0)
    table.update_incremental()
    table.delete("id = 2")
    table.merge(
        pa.table({"id": [3, 4], "s": ["z", "d"]}), "s.id = t.id", "s", "t"
    ).when_matched_update_all().when_not_matched_insert_all().execute()
    table.update_incremental()
    theirs = deltalake.DeltaTable(place)
    assert table.version() == theirs.version() == 3
    assert table.transaction_version("job") == theirs.transaction_version("job") == 7
    assert pa.schema(table.schema()).names == ["id", "s"]
    assert table.schema().to_json() == theirs.schema().to_json()
    assert table.metadata().configuration == theirs.metadata().configuration
    assert table.protocol().min_reader_version == theirs.protocol().min_reader_version
    assert sorted(table.file_uris()) == sorted(theirs.file_uris())
    mine, their = (
        sorted(pa.table(each.deletion_vectors()).to_pylist(), key=str) for each in (table, theirs)
    )
    assert [row["selection_vector"] for row in mine] == [row["selection_vector"] for row in their]
    last, their_last = table.history(1)[0], theirs.history(1)[0]
    assert last["operation"] == their_last["operation"] == "MERGE"
    expected = [(1, "a"), (3, "z"), (4, "d")]
    read = table.to_pyarrow_table().sort_by("id")
    assert list(zip(*read.to_pydict().values(), strict=True)) == expected
    assert pa.table(table.scan(["s"], "id > 3")).to_pydict() == {"s": ["d"]}
    assert table.to_pyarrow_dataset().count_rows() == len(table.to_pandas()) == 3
    table.load_as_version(1)
    assert table.count() == 3
    table.restore(1)
    assert (table.version(), table.count()) == (4, 3)
    table.create_checkpoint()
    assert table.vacuum() == []
