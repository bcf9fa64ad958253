"""What a commit changes of the catalog alone: tables that get other names, and tables that go.

No version tells of it. It happens in the commit's transaction, in the order in which it was asked
for, so that a name can be given away and taken again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deltalakedb.catalog.dialects.writer import Statement, Writer
from deltalakedb.catalog.records import TableRow
from deltalakedb.catalog.table_name import full_name
from deltalakedb.commit.refusal import table_exists
from deltalakedb.error import DeltaLakeError

_OF_A_TABLE = (
    "dl_properties",
    "dl_mirror",
    "dl_commits",
    "dl_changes",
    "dl_waiting",
    "dl_rollback_points",
    "dl_heads",
    "dl_tables",
)


@dataclass(frozen=True)
class Renamed:
    """A table gets another name."""

    table: TableRow
    namespace: str
    name: str


@dataclass(frozen=True)
class Dropped:
    """A table goes from the catalog; its log has to have all that the catalog has."""

    table: TableRow


NameChange = Renamed | Dropped


def forgetting(table_key: int) -> list[Statement]:
    """Removes what the catalog says of a table, but for its load and the records of what was done.

    Nothing may keep the key, as SQLite gives it to the next table. Files that a write has left
    behind are still to be reaped.
    """
    return [
        Statement("UPDATE dl_staged_files SET table_key = NULL WHERE table_key = ?", (table_key,)),
        *(
            Statement(f"DELETE FROM {name} WHERE table_key = ?", (table_key,))
            for name in _OF_A_TABLE
        ),
    ]


def unpublished(writer: Writer, changes: Sequence[NameChange]) -> list[TableRow]:
    """Within the transaction: the tables that are to go, and whose logs lack commits."""
    found = []
    for change in changes:
        if isinstance(change, Dropped):
            waiting = "SELECT count(*) FROM dl_outbox WHERE table_key = ?"
            if writer.ask(Statement(waiting, (change.table.table_key,)))[0][0]:
                found.append(change.table)
    return found


def change_names(writer: Writer, changes: Sequence[NameChange]) -> None:
    """Within the transaction, the heads being locked. Raises TABLE_EXISTS for a name in use."""
    for change in changes:
        if isinstance(change, Dropped):
            writer.run(forgetting(change.table.table_key))
            continue
        renaming = Statement(
            "UPDATE dl_tables SET namespace = ?, name = ? WHERE table_key = ?",
            (change.namespace, change.name, change.table.table_key),
        )
        try:
            writer.run([renaming])
        except DeltaLakeError as error:
            raise name_taken(writer, changes) or error from None


def name_taken(writer: Writer, changes: Sequence[NameChange]) -> DeltaLakeError | None:
    """TABLE_EXISTS for a name that a table has which isn't one of those that change."""
    ours = {change.table.table_id for change in changes}
    for change in changes:
        if isinstance(change, Renamed):
            asked = "SELECT table_id FROM dl_tables WHERE namespace = ? AND name = ?"
            found = writer.select(Statement(asked, (change.namespace, change.name)))
            if {str(each[0]) for each in found} - ours:
                return table_exists(full_name(change.namespace, change.name))
    return None
