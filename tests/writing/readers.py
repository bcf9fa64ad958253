"""Others that read a table's log and files: delta-rs, Polars, and DuckDB in its own environment."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import deltalake
import polars
import pyarrow as pa

from tests.writing.columns import Row, rows_of


def by_delta_rs(place: Path, version: int | None = None, where: str = "true") -> list[Row]:
    """By the DataFusion of delta-rs, with its data skipping where there is a condition."""
    table = deltalake.DeltaTable(str(place), version=version)
    query = f"SELECT * FROM t WHERE {where}"
    found = deltalake.QueryBuilder().register("t", table).execute(query)
    return rows_of(pa.table(found))


def by_polars(place: Path) -> list[Row] | None:
    """By Polars; None for features that it refuses, and for values too long for a folder's name.

    It doesn't find a table whose own folder has a blank in its name.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "t")
        shutil.copytree(place, copy, copy_function=os.link)
        try:
            return rows_of(polars.scan_delta(str(copy)).collect().to_arrow())
        except polars.exceptions.SchemaFieldNotFoundError as error:
            if "Hive schema" not in str(error):
                raise
        except deltalake.exceptions.DeltaProtocolError as error:
            if "polars does not support" not in str(error):
                raise
    return None
