"""What of a commit only the lock of its table's head can tell, beside its first line.

PROTOCOL.md, "Row Tracking" (ids of new files follow the high-water mark at the head) and
"In-Commit Timestamps" (a commit that switches them on says its own version and time).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.catalog.dialects.writer import Statement, Writer
from deltalakedb.commit.staged import StagedTable
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.identity import with_marks
from deltalakedb.log.row_tracking import DOMAIN, HIGH_WATER_MARK
from deltalakedb.log.rows import LIVE
from deltalakedb.log.table_properties import TIMED_SINCE, TIMED_SINCE_VERSION


def completed(
    writer: Writer, table: StagedTable, live_load: int, version: int, timestamp: int
) -> StagedTable:
    """The same commit, as version `version` at `timestamp`."""
    if table.starts_in_commit_timestamps:
        assert table.metadata is not None
        configuration = {
            **table.metadata["configuration"],
            TIMED_SINCE_VERSION: str(version),
            TIMED_SINCE: str(timestamp),
        }
        table = replace(table, metadata={**table.metadata, "configuration": configuration})
    if table.identity_marks:
        table = _with_marks(writer, table, live_load)
    if table.tracks_rows and table.added.num_rows:
        table = _with_row_ids(writer, table, live_load, version)
    return table


def _with_marks(writer: Writer, table: StagedTable, live_load: int) -> StagedTable:
    """The schema says how far identity columns have gone, whoever else has moved them meanwhile."""
    metadata = table.metadata
    if metadata is None:
        [(body,)] = writer.ask(
            Statement(
                f"SELECT body FROM dl_metadata WHERE load_id = ? AND removed_version = {LIVE}",
                (live_load,),
            )
        )
        metadata = orjson.loads(body)
    before = metadata["schemaString"]
    schema = with_marks(before, table.identity_marks)
    return (
        table if schema == before else replace(table, metadata={**metadata, "schemaString": schema})
    )


def _with_row_ids(writer: Writer, table: StagedTable, live_load: int, version: int) -> StagedTable:
    ids = table.adds.column("base_row_id").to_pylist()
    if all(given is not None for given in ids):
        return table
    following = _high_water_mark(writer, table, live_load) + 1
    for place, given in enumerate(ids):
        if given is None:
            records = _num_records(table.adds.slice(place, 1))
            if records is None:
                raise DeltaLakeError(
                    DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
                    f"{table.table.full_name} has rowTracking, and the statistics of "
                    f"{table.adds.column('path')[place]} don't say how many rows it has; write "
                    "that file anew first",
                    features=["rowTracking"],
                )
            ids[place], following = following, following + records
    versions = pc.fill_null(table.adds.column("default_row_commit_version"), version)
    adds = _with(_with(table.adds, "base_row_id", ids), "default_row_commit_version", versions)
    mark: dict[str, Any] = {
        "domain": DOMAIN,
        "configuration": orjson.dumps({HIGH_WATER_MARK: following - 1}).decode(),
        "removed": False,
    }
    others: list[Mapping[str, Any]] = [d for d in table.domains if d["domain"] != DOMAIN]
    return replace(table, added=adds, domains=(*others, mark))


def _num_records(file: pa.Table) -> int | None:
    stored, stats = file.column("num_records")[0].as_py(), file.column("stats")[0].as_py()
    if stored is None and stats:
        stored = orjson.loads(stats).get("numRecords")
    return stored if isinstance(stored, int) else None


def _with(files: pa.Table, name: str, values: Any) -> pa.Table:
    place = files.schema.get_field_index(name)
    column = values if isinstance(values, pa.ChunkedArray) else pa.array(values, pa.int64())
    return files.set_column(place, files.schema.field(place), column)


def _high_water_mark(writer: Writer, table: StagedTable, live_load: int) -> int:
    """The highest row id that was given; -1 where none was."""
    rows = writer.ask(
        Statement(
            "SELECT configuration FROM dl_domains WHERE load_id = ? AND domain = ? "
            f"AND removed_version = {LIVE}",
            (live_load, DOMAIN),
        )
    )
    texts = [text for (text,) in rows]
    try:
        return int(orjson.loads(texts[0])[HIGH_WATER_MARK]) if texts else -1
    except (ValueError, KeyError, TypeError):
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_LOG,
            f"the domain {DOMAIN} of {table.table.full_name} holds {texts[0]!r}, no high-water "
            "mark of row ids; set it right with the engine that wrote it",
        ) from None
