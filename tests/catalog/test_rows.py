"""Rows of the catalog's tables, as they are made of the log's."""

from __future__ import annotations

from deltalakedb.catalog import rows
from deltalakedb.catalog.records import SLOTS
from deltalakedb.catalog.tables import files
from deltalakedb.log.rows import FILE_SCHEMA


def test_rows_of_files_have_the_columns_of_their_table() -> None:
    made = rows.keyed_files(FILE_SCHEMA.empty_table(), 1, ())
    assert set(made.column_names) == {column.name for column in files.columns}
    few = set(rows.few_keyed_files(FILE_SCHEMA.empty_table(), 1, ()))
    unused = {f"{bound}{slot}" for bound in ("lo", "hi") for slot in range(SLOTS)}
    assert few | unused == set(made.column_names)
    assert not few & unused
