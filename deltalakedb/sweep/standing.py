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
    modes = catalog.reader.rows(
        "SELECT mode FROM dl_import_runs WHERE run_key = ?", (run_of(row.live_load),)
    )
    if modes and modes[0][0] != row.mode:
        yield Finding(
            "table-changed", f"its mode is {row.mode}, and its load was made by {modes[0][0]}"
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
