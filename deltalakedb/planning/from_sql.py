"""The files of a group of partitions that the keys leave, asked of the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.reading.proof import proven, proven_batches, proven_rows
from deltalakedb.catalog.reading.queries import file_schema, live_predicate
from deltalakedb.catalog.records import load_files_name
from deltalakedb.log.columns import array_of, numbers_of, table_of
from deltalakedb.planning.pruning.partitions import among
from deltalakedb.planning.request import IDS_IN_SQL, ROWS_AT_ONCE, PartitionGroup, PlanRequest

if TYPE_CHECKING:
    from deltalakedb.planning.key_sql import KeyQuestion

_FEW = 1_000
"""Files that SQL finds in less time than looking through a list of many takes."""


def few_from_sql(
    catalog: LightCatalog,
    request: PlanRequest,
    group: PartitionGroup,
    keys: KeyQuestion | None,
    columns: tuple[str, ...],
) -> tuple[pa.Table, str] | None:
    """As `from_sql`; None where an index doesn't lead to few files, or they turn out to be many."""
    matching = group.partitions
    if matching is not None and len(matching) > IDS_IN_SQL:
        return None
    sql, used, bounded = _statement(request, group, keys, columns)
    if not bounded and (matching is None or sum(p.num_files for p in matching) > _FEW):
        return None
    rows = _rows(catalog, request, sql, columns, _FEW)
    return None if rows is None else (table_of(rows, file_schema(columns)), f"SQL, {used}")


def from_sql(
    catalog: LightCatalog,
    request: PlanRequest,
    group: PartitionGroup,
    keys: KeyQuestion | None,
    columns: tuple[str, ...],
) -> tuple[pa.Table, str]:
    """The rows of `columns` of a group's files that `keys` leave, and how they were found."""
    matching = group.partitions
    total = request.table.num_files
    counted = total if matching is None else sum(p.num_files for p in matching)
    sql, used, _ = _statement(request, group, keys, columns)
    found = _fetch(catalog, request, sql, columns, few=keys is not None, counted=counted)
    if matching is not None and len(matching) > IDS_IN_SQL:
        ids = np.array([p.partition_id for p in matching], dtype=np.int64)
        found = found.filter(array_of(among(numbers_of(found.column("partition_id")), ids)))
    return found, f"SQL, {used}"


def _statement(
    request: PlanRequest,
    group: PartitionGroup,
    keys: KeyQuestion | None,
    columns: tuple[str, ...],
) -> tuple[str, str, bool]:
    """The question, which index answers it, and whether one on keys does.

    It doesn't ask for partitions that are too many to be listed.
    """
    matching = group.partitions
    where = [live_predicate(request.table, request.version)]
    used = "scan"
    if matching is not None and len(matching) <= IDS_IN_SQL:
        listed = ", ".join(str(p.partition_id) for p in matching)
        where.append(f"partition_id IN ({listed})")
        used = "index on (partition_id, removed_version)"
    bounded = False
    if keys is not None:
        where.append(keys.sql)
        bounded = keys.bounded
        if bounded:
            used = f"index on {keys.indexed}" + (" or " + used if matching is not None else "")
    sql = (
        f"SELECT {', '.join(columns)} FROM {load_files_name(request.table.live_load)} "
        f"WHERE {' AND '.join(where)}"
    )
    return sql, used, bounded


def _rows(
    catalog: LightCatalog,
    request: PlanRequest,
    sql: str,
    columns: tuple[str, ...],
    most: int,
) -> list[tuple[Any, ...]] | None:
    """The rows of a question; None when they are more than `most`."""
    some = f"SELECT {', '.join(columns)} FROM ({sql} LIMIT {most + 1}) a"
    key = columns.index("partition_id")
    rows = proven_rows(catalog.reader, request.table, request.version, columns, some, key=key)
    return rows if len(rows) <= most else None


def _fetch(
    catalog: LightCatalog,
    request: PlanRequest,
    sql: str,
    columns: tuple[str, ...],
    *,
    few: bool,
    counted: int,
) -> pa.Table:
    schema = file_schema(columns)
    table, version = request.table, request.version
    if few or counted <= ROWS_AT_ONCE:
        rows = _rows(catalog, request, sql, columns, ROWS_AT_ONCE)
        if rows is not None:
            return table_of(rows, schema)
    dialect = catalog.reader.dialect
    with dialect.errors():
        batches = dialect.stream(proven(table, version, columns, sql), schema)
        proven_ones = proven_batches(batches, table, version, "partition_id")
        return pa.Table.from_batches(list(proven_ones), schema)
