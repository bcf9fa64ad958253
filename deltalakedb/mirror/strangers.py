"""Commits that came past the fence: adopted like any other, counted, and told of."""

from __future__ import annotations

import json
import logging
from typing import Any

import sqlalchemy as sa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.commit_tables import migrations
from deltalakedb.catalog.records import TableRow
from deltalakedb.catalog.tables import protocols
from deltalakedb.log.protocol import FENCE_FEATURE
from deltalakedb.log.rows import LIVE
from deltalakedb.replay.state import RangeState

_log = logging.getLogger("deltalakedb.mirror")
_OURS = "deltalakedb/"
"""How the engineInfo of a commit of ours begins."""
_MOST = 100


def _fence_stands(catalog: Catalog, table: TableRow) -> bool:
    """Whether the protocol at the catalog's head keeps file-based writers out."""
    query = sa.select(protocols.c.body).where(
        protocols.c.load_id == table.live_load, protocols.c.removed_version == LIVE
    )
    with catalog.read() as connection:
        return any(FENCE_FEATURE in body for (body,) in connection.execute(query))


def strangers_in(catalog: Catalog, table: TableRow, state: RangeState) -> list[dict[str, Any]]:
    """Commits of other engines behind a fence: version, engine, operation and time of each.

    `state`: the commits after the catalog's head.
    """
    names = ("version", "engine_info", "operation", "info_time")
    columns = [state.versions.column(name).to_pylist() for name in names]
    others = [
        {"version": version, "engine": engine, "operation": operation, "time": moment}
        for version, engine, operation, moment in zip(*columns, strict=True)
        if not str(engine or "").startswith(_OURS)
    ]
    if not others:
        return []
    changes = {
        each.version: FENCE_FEATURE in (each.body.get("writerFeatures") or ())
        for each in state.state
        if each.action == "protocol"
    }
    if not any(changes.values()) and not _fence_stands(catalog, table):
        return []
    changes.setdefault(table.head_version, _fence_stands(catalog, table))
    return [each for each in others if changes[max(v for v in changes if v < each["version"])]]


def tell(catalog: Catalog, table: TableRow, found: list[dict[str, Any]]) -> None:
    """Write commits that came past a fence into the table's move, and into the log as warnings."""
    for each in found:
        _log.warning(
            "version %s of %s, by %s, came past the fence and is adopted; find out who writes so",
            each["version"],
            table.full_name,
            each["engine"] or "an unknown engine",
            extra={"table": table.full_name, **each},
        )
    mine = migrations.c.table_id == table.table_id
    with catalog.write() as connection:
        query = sa.select(migrations.c.details).where(mine)
        row = connection.execute(catalog.dialect.for_update(query)).first()
        if row is None:
            return
        details = json.loads(row[0] or "{}")
        details["foreign"] = [*details.get("foreign", []), *found][-_MOST:]
        details["foreign_commits"] = details.get("foreign_commits", 0) + len(found)
        connection.execute(migrations.update().where(mine).values(details=json.dumps(details)))
