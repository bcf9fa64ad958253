"""The last part of a load: metadata, protocols, transactions, domains, partitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from deltalakedb.catalog import rows
from deltalakedb.catalog.tables import metadata as catalog_metadata
from deltalakedb.importing.tasks import Loaded
from deltalakedb.log.segment import Segment
from deltalakedb.replay.intervals import StateInterval


def state_tables(
    load_id: int, intervals: Sequence[StateInterval], loaded: Sequence[Loaded]
) -> dict[str, pa.Table]:
    """Rows by table name: the state's intervals, and the partitions of all parts together."""
    tables: dict[str, pa.Table] = {}
    if loaded:
        partitions = rows.settled_partitions(rows.sum_partitions([x.partitions for x in loaded]))
        tables["dl_partitions"] = rows.with_load(partitions, load_id)
    for name, values in rows.state_rows(intervals, load_id).items():
        tables[name] = pa.Table.from_pylist(values, arrow_schema(name))
    return tables


def bare_versions(load_id: int, segment: Segment, times: Mapping[int, int]) -> pa.Table:
    """Rows of `dl_versions` for versions that a checkpoint makes and whose commit is gone.

    `times`: of the versions whose commits are there.
    """
    bare = [
        {
            "load_id": load_id,
            "version": run.base.version,
            "readable": True,
            "commit_time": _bare_time(run.base.version, run.base.modified_ms, times),
        }
        for run in segment.runs
        if run.base and run.base.version not in times
    ]
    return pa.Table.from_pylist(bare, arrow_schema("dl_versions"))


def _bare_time(version: int, modified_ms: int, known: Mapping[int, int]) -> int:
    """The time of a version whose commit is gone: its checkpoint's, but before the next commit's,

    as a checkpoint may be written long after its version.
    """
    after = min((v for v in known if v > version), default=None)
    return modified_ms if after is None else min(modified_ms, known[after] - 1)


def arrow_schema(table: str) -> pa.Schema:
    """The Arrow schema in which rows of a catalog table are loaded."""
    import sqlalchemy as sa

    def kind(column: sa.Column[Any]) -> pa.DataType:
        if isinstance(column.type, sa.Boolean):
            return pa.bool_()
        if isinstance(column.type, sa.BigInteger):
            return pa.int64()
        return pa.int32() if isinstance(column.type, sa.Integer) else pa.string()

    return pa.schema([(c.name, kind(c)) for c in catalog_metadata.tables[table].columns])
