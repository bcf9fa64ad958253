"""dask-deltatable's two names over `deltasql://` URIs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deltalakedb.table.connect import connect_to_table
from deltalakedb.table.moment import Timestamp
from deltalakedb.table.table import Table
from deltalakedb.table.transaction import WriteResult
from deltalakedb.table.writing import write_deltalake


def to_deltalake(table_or_uri: str | Table, df: Any, **options: Any) -> WriteResult:
    """`write_deltalake` of a Dask DataFrame: its workers write, in one commit."""
    return write_deltalake(table_or_uri, df, **options)


def read_deltalake(
    path: str,
    columns: Sequence[str] | None = None,
    version: int | None = None,
    datetime: Timestamp | None = None,
    storage_options: Mapping[str, Any] | None = None,
    predicate: Any = None,
) -> Any:
    """A version of a table as a Dask DataFrame, read by its workers."""
    table = connect_to_table(path, storage_options=storage_options)
    return table.snapshot(version, datetime).to_dask(predicate, columns)
