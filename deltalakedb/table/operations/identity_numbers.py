"""Numbers for identity columns, reserved in the catalog before they are written.

Each is given once: a reservation is a transaction of its own, so that writers who are at it at once
get ranges apart, and one that fails leaves a gap. The high-water mark in the table's schema follows
with the commit. PROTOCOL.md, "Identity Columns".
"""

from __future__ import annotations

from collections.abc import Sequence

from deltalakedb.catalog.dialects.writer import Statement, WrongCountError, insert
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.catalog.records import TableRow
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.identity import IdentityColumn

_PROPERTY = "deltalakedb.identity."
_ATTEMPTS = 1_000


class IdentityNumbers:
    """Gives numbers to the rows of one operation.

    Of a table that is yet to be made none are reserved: `before` are the last numbers, by column,
    that operations of the same transaction have given.
    """

    def __init__(
        self, database: DatabaseUrl, row: TableRow, before: Sequence[tuple[str, int]] = ()
    ) -> None:
        self._database = database if row.head_version >= 0 else None
        self._row = row
        self._before = before
        self.marks: list[tuple[str, int]] = []
        """The last numbers that were given, by column."""

    def __call__(self, column: IdentityColumn, count: int) -> int:
        """The first of `count` numbers, each a step from the one before.

        UNSUPPORTED_FEATURE where the log decides: others may give the same numbers there.
        """
        if self._database is not None and self._row.authority == "log":
            raise DeltaLakeError(
                DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
                f"column {column.name} is an identity column (identityColumns), and the log of "
                f"{self._row.full_name} decides, where others may give the same numbers; hand the "
                "table to the catalog first (dl authority), or give values",
                column=column.name,
                feature="identityColumns",
            )
        if self._database is None:
            given = (*self._before, *self.marks)
            known = [mark for name, mark in given if name == column.name]
            first = column.following(column.furthest(known))
        else:
            first = self._reserved(self._database, column, count)
        self.marks.append((column.name, first + (count - 1) * column.step))
        return first

    def _reserved(self, database: DatabaseUrl, column: IdentityColumn, count: int) -> int:
        key = (self._row.table_key, _PROPERTY + column.name)
        for _ in range(_ATTEMPTS):
            with writing(database) as writer:
                found = writer.select(
                    Statement(
                        "SELECT value FROM dl_properties WHERE table_key = ? AND name = ?", key
                    )
                )
                before = found[0][0] if found else None
                mark = column.furthest([None if before is None else int(before)])
                first = column.following(mark)
                last = str(first + (count - 1) * column.step)
                if before is None:
                    change = insert("dl_properties", ("table_key", "name", "value"), [(*key, last)])
                else:
                    change = Statement(
                        "UPDATE dl_properties SET value = ? "
                        "WHERE table_key = ? AND name = ? AND value = ?",
                        (last, *key, before),
                        rows=1,
                    )
                try:
                    writer.transact([change])
                except WrongCountError:
                    continue
                except DeltaLakeError:
                    # Somebody else has put the first one there, or the database is in trouble.
                    again = writer.select(
                        Statement(
                            "SELECT value FROM dl_properties WHERE table_key = ? AND name = ?", key
                        )
                    )
                    if before is None and again:
                        continue
                    raise
                return first
        raise DeltaLakeError(
            DeltaLakeErrorKind.CONCURRENCY_ERROR,
            f"others took the numbers of column {column.name} of {self._row.full_name} each of "
            f"{_ATTEMPTS} times; run this again",
            column=column.name,
        )
