"""A foreign file in a slot of ours: what it is, and what to do."""

from __future__ import annotations

import orjson

from deltalakedb.catalog.dialects.writer import Statement
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.catalog.records import TableRow
from deltalakedb.commit import outbox
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.paths import CheckpointFile, CommitFile, parse_log_name
from deltalakedb.mirror import publish, tend
from deltalakedb.storage.pieces import Held, compare
from deltalakedb.storage.store import ObjectStore

_MOST_COUNTED = 100_000


def examine(database: DatabaseUrl, table: TableRow, log: ObjectStore) -> list[str]:
    """What is in the way, and the ways out, a line each."""
    version = foreign_version(database, table)
    if version is None:
        lines = [f"Nothing foreign is known in the log of {table.full_name}."]
        newest = newest_in(log)
        if newest > table.head_version:
            lines.append(
                f"It goes to version {newest}, the catalog to {table.head_version}: `dl mirror "
                f"repair {table.full_name}` brings the catalog up to it."
            )
        return lines
    name = publish.commit_name(version)
    lines = [f"{log.describe(name)} isn't version {version} of the catalog."]
    there = publish.beginning(log, name) if log.exists(name) else None
    if there is not None:
        lines.append(f"It says: {_said(there)}")
    with writing(database) as writer:
        ours = outbox.waiting(writer, table, version - 1, 1)
        waiting = len(outbox.heads(writer, table, version - 1, _MOST_COUNTED))
    lines += [f"The catalog's: {_said(row.body)}" for row in ours]
    lines.append(f"{waiting} versions of the catalog wait for the log.")
    if publish.gives_back(there or b""):
        lines.append(
            f"The table was given back to its log without the catalog: `dl rollback "
            f"{table.full_name}` takes over what the log says, and keeps copies of what waits."
        )
        return lines
    lines += [
        "Stop who wrote it, move its file away, and run this with --retry: the catalog's versions "
        "are published, and the foreign one never was.",
        f"Or let the log go on with what is there: `dl rollback {table.full_name} "
        "--discard-unpublished` gives the table back to it, and keeps copies of what waits.",
    ]
    return lines


def go_on(database: DatabaseUrl, table: TableRow, log: ObjectStore) -> list[str]:
    """Take the mark away and publish. MIRROR_CONFLICT where the foreign file is there still."""
    version = foreign_version(database, table)
    if version is None:
        return [f"Nothing foreign is known in the log of {table.full_name}."]
    name = publish.commit_name(version)
    with writing(database) as writer:
        ours = outbox.waiting(writer, table, version - 1, 1)
    if log.exists(name) and not (
        ours and compare(log, name, publish.content(log, ours[0])) is Held.SAME
    ):
        raise publish.foreign(table, log, version)
    with writing(database) as writer:
        writer.transact(
            [
                Statement(
                    "UPDATE dl_mirror SET foreign_version = NULL, foreign_size = NULL, "
                    "foreign_digest = NULL, foreign_found_at = NULL "
                    "WHERE table_key = ? AND foreign_version = ?",
                    (table.table_key, version),
                    rows=1,
                )
            ]
        )
    found = tend.tend_now(database, table, log)
    return [f"Version {found.durable_version} is durable in the log, {found.waiting} wait."]


def newest_in(log: ObjectStore) -> int:
    """The newest version that a log has a commit or a checkpoint of; -1 for none."""
    names = [parse_log_name(each.name) for each in log.list("0")]
    return max((n.version for n in names if isinstance(n, CommitFile | CheckpointFile)), default=-1)


def foreign_version(database: DatabaseUrl, table: TableRow) -> int | None:
    """The version that is marked, None for none."""
    with writing(database) as writer:
        rows = writer.select(
            Statement(
                "SELECT foreign_version FROM dl_mirror WHERE table_key = ?", (table.table_key,)
            )
        )
    if not rows:
        raise DeltaLakeError(
            DeltaLakeErrorKind.TABLE_NOT_FOUND, f"table {table.full_name} was dropped meanwhile"
        )
    found: int | None = rows[0][0]
    return found


def _said(data: bytes) -> str:
    """The commitInfo of a commit, cut to what a person looks at."""
    try:
        info = orjson.loads(data.split(b"\n", 1)[0])["commitInfo"]
        names = ("operation", "engineInfo", "timestamp", "txnId")
        return ", ".join(f"{name}={info[name]}" for name in names if name in info)
    except (ValueError, KeyError, TypeError):
        return "no commitInfo in its first line"
