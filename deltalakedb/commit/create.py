"""New tables: registered in the transaction that commits their first versions, or not at all."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from deltalakedb.catalog.dialects.writer import Statement, Writer, insert
from deltalakedb.catalog.records import TableRow, load_of
from deltalakedb.commit.heads import Locked, LockedHead
from deltalakedb.commit.refusal import location_taken, table_exists
from deltalakedb.commit.staged import StagedCommit, StagedTable
from deltalakedb.error import DeltaLakeError
from deltalakedb.log.keys import choose_skipping_columns
from deltalakedb.log.location import location_hash


def make(writer: Writer, staged: StagedCommit, locked: Locked) -> StagedCommit:
    """Within the transaction: the rows of the tables that a commit makes, with heads before their
    first version; the commit with the keys that they got.

    Raises TABLE_EXISTS where a name or a location is another's by now.
    """
    # In one order, so that two who make the same tables wait for each other and never in a circle.
    new = sorted(
        (table for table in staged.tables if table.makes_table),
        key=lambda table: (table.table.namespace, table.table.name),
    )
    if not new:
        return staged
    try:
        loads = _begin_loads(writer, new, locked.now)
        keys = _register(writer, new, locked.now)
    except DeltaLakeError as error:
        raise name_or_place_taken(writer, new) or error from None
    known: dict[str, StagedTable] = {}
    for table in new:
        row = replace(
            table.table,
            table_key=keys[table.table.table_id],
            live_load=loads[table.table.table_id],
            skipping=_skipping(table),
        )
        locked.heads[row.table_key] = _head(row)
        known[row.table_id] = replace(table, table=row)
    _place_heads(writer, list(known.values()), locked.now)
    tables = tuple(known.get(table.table.table_id, table) for table in staged.tables)
    return replace(staged, tables=tables)


def name_or_place_taken(
    writer: Writer, new: Sequence[StagedTable], freed: Collection[str] = ()
) -> DeltaLakeError | None:
    """What is in the way of making tables: a name or a location that another has.

    `freed`: ids of tables that are about to leave their names.
    """
    for table in new:
        row = table.table
        found = writer.select(
            Statement(
                "SELECT namespace, name, table_id FROM dl_tables "
                "WHERE (namespace = ? AND name = ?) OR location_hash = ?",
                (row.namespace, row.name, location_hash(row.location)),
            )
        )
        called = {(each[0], each[1]): each[2] for each in found}
        by_name = called.pop((row.namespace, row.name), None)
        if by_name is not None and by_name not in freed:
            return table_exists(row.full_name)
        if called:
            return location_taken(row, ".".join(filter(None, next(iter(called)))))
    return None


def _begin_loads(writer: Writer, new: Sequence[StagedTable], now: int) -> dict[str, int]:
    """Loads by table id; in the heap: a table that has grown moves to one of its own."""
    runs = {table.table.table_id: str(uuid.uuid4()) for table in new}
    counts = {"from_version": 0, "to_version": 0, "versions": 1, "removes": 0, "workers": 0}
    times = {"started_at": now, "finished_at": now}
    writer.run(
        [
            _inserted(
                "dl_import_runs",
                [
                    {
                        "run_id": runs[table.table.table_id],
                        "table_id": table.table.table_id,
                        "table_name": table.table.full_name,
                        "location": table.table.location,
                        "mode": "created",
                        "status": "succeeded",
                        "adds": table.adds.num_rows,
                        "live_files": table.adds.num_rows,
                        **counts,
                        **times,
                    }
                    for table in new
                ],
            )
        ]
    )
    marks = ", ".join("?" * len(runs))
    asked = f"SELECT table_id, run_key FROM dl_import_runs WHERE run_id IN ({marks})"
    keys = dict(writer.ask(Statement(asked, tuple(runs.values()))))
    loads = {table_id: load_of(int(key), heap=True) for table_id, key in keys.items()}
    writer.run(
        [
            _inserted(
                "dl_loads",
                [
                    {"load_id": loads[table_id], "run_key": key, "created_at": now}
                    for table_id, key in keys.items()
                ],
            ),
            *(
                Statement(
                    "UPDATE dl_import_runs SET load_id = ? WHERE run_key = ?",
                    (loads[table_id], key),
                    rows=1,
                )
                for table_id, key in keys.items()
            ),
        ]
    )
    return loads


def _register(writer: Writer, new: Sequence[StagedTable], now: int) -> dict[str, int]:
    """Keys by table id."""
    writer.run(
        [
            _inserted(
                "dl_tables",
                [
                    {
                        "table_id": table.table.table_id,
                        "namespace": table.table.namespace,
                        "name": table.table.name,
                        "location": table.table.location,
                        "location_hash": location_hash(table.table.location),
                        "log_location": table.table.log_location,
                        "mode": "created",
                        "skipping": _skipping(table),
                        "unreadable_features": "",
                        "created_at": now,
                        "changes_since": -1,
                    }
                    for table in new
                ],
            )
        ]
    )
    marks = ", ".join("?" * len(new))
    found = writer.ask(
        Statement(
            f"SELECT table_id, table_key FROM dl_tables WHERE table_id IN ({marks})",
            tuple(table.table.table_id for table in new),
        )
    )
    return {table_id: int(key) for table_id, key in found}


def _place_heads(writer: Writer, new: Sequence[StagedTable], now: int) -> None:
    rows = [table.table for table in new]
    heads = [
        {
            "table_key": row.table_key,
            "head_version": -1,
            "known_since": 0,
            "epoch": 1,
            "authority": row.authority,
            "live_load": row.live_load,
            "num_files": 0,
            "total_bytes": 0,
            "updated_at": now,
        }
        for row in rows
    ]
    mirrors = [
        {"table_key": row.table_key, "published_version": -1, "durable_version": -1} for row in rows
    ]
    writer.run([_inserted("dl_heads", heads), _inserted("dl_mirror", mirrors)])


def _inserted(table: str, rows: Sequence[Mapping[str, Any]]) -> Statement:
    return insert(table, tuple(rows[0]), [tuple(row.values()) for row in rows])


def _head(row: TableRow) -> LockedHead:
    return LockedHead(
        table_key=row.table_key,
        head_version=-1,
        epoch=1,
        live_load=row.live_load,
        num_files=0,
        total_bytes=0,
        authority=row.authority,
        table_id=row.table_id,
        location=row.location,
        skipping=row.skipping,
        changes_since=-1,
    )


def _skipping(table: StagedTable) -> str:
    assert table.metadata is not None
    configuration = dict(table.metadata.get("configuration") or {})
    columns = choose_skipping_columns(
        str(table.metadata["schemaString"]),
        list(table.metadata.get("partitionColumns") or []),
        configuration,
    )
    return json.dumps(
        [
            {
                **column.to_json(),
                "least": 0,
                "greatest": 0,
                "width": 0,
                "missing": 0,
                "indexed": False,
            }
            for column in columns
        ]
    )
