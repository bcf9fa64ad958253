"""What `dl_tables` and `dl_heads` say of a table, against what it follows from: no proof needed."""

from __future__ import annotations

import json
from collections.abc import Iterator

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.records import TableRow, run_of
from deltalakedb.log.location import location_hash
from deltalakedb.log.protocol import FENCE_FEATURE, Protocol, unreadable_features
from deltalakedb.log.rows import LIVE
from deltalakedb.sweep.findings import Finding


def said_of(row: TableRow) -> str:
    """What isn't to change while neither load nor version do."""
    said = (row.mode, row.unreadable_features, row.changes_since, row.location, row.log_location)
    return json.dumps(said)


def findings(catalog: Catalog, row: TableRow) -> Iterator[Finding]:
    """What can't be so."""
    protocol = _protocol(catalog, row)
    yield from _table(catalog, row, protocol)
    yield from _metadata(catalog, row)
    yield from _head(catalog, row, protocol)


def _protocol(catalog: Catalog, row: TableRow) -> Protocol | None:
    found = catalog.reader.rows(
        f"SELECT body FROM dl_protocols WHERE load_id = ? AND removed_version = {LIVE}",
        (row.live_load,),
    )
    try:
        return Protocol.from_action(json.loads(found[0][0])) if len(found) == 1 else None
    except ValueError:
        return None


def _table(catalog: Catalog, row: TableRow, protocol: Protocol | None) -> Iterator[Finding]:
    made = catalog.reader.rows(
        "SELECT r.mode, r.table_id FROM dl_import_runs r JOIN dl_loads l ON l.run_key = r.run_key "
        "WHERE r.run_key = ? AND l.load_id = ?",
        (run_of(row.live_load), row.live_load),
    )
    if not made:
        yield Finding("table-changed", f"its load {row.live_load} isn't registered with its import")
    elif made[0] != (row.mode, row.table_id):
        yield Finding(
            "table-changed",
            f"it is {row.table_id} in mode {row.mode}, and its load was made for {made[0][1]} in "
            f"{made[0][0]}",
        )
    if protocol is not None:
        expected = ",".join(unreadable_features(protocol))
        if row.unreadable_features != expected:
            yield Finding(
                "table-changed",
                f"features that can't be read are {row.unreadable_features!r}, and "
                f"{expected!r} by its protocol",
            )
    if row.changes_since > row.head_version:
        yield Finding(
            "table-changed",
            f"changes are known since version {row.changes_since}, and the head is "
            f"{row.head_version}",
        )
    [(known,)] = catalog.reader.rows(
        "SELECT location_hash FROM dl_tables WHERE table_key = ?", (row.table_key,)
    )
    if known != location_hash(row.location):
        yield Finding("table-changed", "its location isn't the one that it was registered by")


_TOLD = {"metadata_id": "id", "name": "name", "description": "description",
         "created_time": "createdTime", "schema_string": "schemaString"}  # fmt: skip


def _metadata(catalog: Catalog, row: TableRow) -> Iterator[Finding]:
    """Columns of the metadata, which are asked for, against its body, which is written again."""
    for body, *values in catalog.reader.rows(
        f"SELECT body, {', '.join(_TOLD)} FROM dl_metadata WHERE load_id = ?", (row.live_load,)
    ):
        try:
            said = json.loads(body)
        except ValueError:
            yield Finding("metadata-changed", "its body is no JSON")
            return
        for name, value in zip(_TOLD, values, strict=True):
            if value != said.get(_TOLD[name]):
                yield Finding("metadata-changed", f"{name} isn't what its body says")
                return


def _head(catalog: Catalog, row: TableRow, protocol: Protocol | None) -> Iterator[Finding]:
    """Who ratifies, against the fence in the log and the number of times it was handed over."""
    [(newest,)] = catalog.reader.rows(
        "SELECT max(epoch) FROM dl_commits WHERE table_key = ?", (row.table_key,)
    )
    if newest is not None and int(newest) > row.epoch:
        yield Finding(
            "authority-changed", f"the epoch is {row.epoch}, and there are commits of {newest}"
        )
    if row.epoch < 1:
        yield Finding("authority-changed", f"the epoch is {row.epoch}")
    if row.authority not in ("log", "sql"):
        yield Finding("authority-changed", f"{row.authority!r} can't ratify")
    elif row.authority == "sql" and row.epoch == 1 and row.mode != "created":
        yield Finding(
            "authority-changed", "the catalog ratifies, and the table was never handed over to it"
        )
    elif (
        row.authority == "log"
        and protocol is not None
        and FENCE_FEATURE in (protocol.writer_features or ())
        and not _on_its_way(catalog, row)
    ):
        yield Finding(
            "authority-changed", "the log ratifies, and it is fenced against those who write to it"
        )


def _on_its_way(catalog: Catalog, row: TableRow) -> bool:
    """Whether a fence stands before the catalog ratifies, or after another took the table."""
    moves = catalog.reader.rows(
        "SELECT state FROM dl_migrations WHERE table_id = ?", (row.table_id,)
    )
    others = catalog.reader.rows(
        "SELECT foreign_version FROM dl_mirror WHERE table_key = ?", (row.table_key,)
    )
    return any(state != "sql" for (state,) in moves) or any(v is not None for (v,) in others)
