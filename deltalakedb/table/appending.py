"""Appends one after the other through one table, without looking at the table before each.

Of a blind append everything that may be in its way is asked under the lock: whether the table is
the same one still, and whether its schema or properties have changed. So what the last append knew
does for the next one, and only where that fails the table is read again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from deltalakedb.catalog.dialects.writers import open_ahead
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.write import WriteOptions, write
from deltalakedb.table.transaction import WriteResult

Change = Callable[[LightCatalog, Base], WriteResult]


class Appending:
    """What the last append through a table has left to know of it."""

    def __init__(self, database: DatabaseUrl) -> None:
        self._base: Base | None = None
        # The first write's, while it looks at the table and makes its files.
        open_ahead(database)

    def write(
        self,
        catalog: LightCatalog,
        data: Any,
        options: WriteOptions,
        anew: Callable[[Change], WriteResult],
    ) -> WriteResult:
        """`operations.write.write` on what is known; `anew` calls it with what is there now."""
        base = self._base
        if not _is_plain(options):
            self._base = None
        elif base is not None and _is_kept(data) and catalog.reader.is_current():
            try:
                return self._written(catalog, base, data, options)
            except DeltaLakeError as error:
                self._base = None
                if error.outcome != "failed" or error.kind is DeltaLakeErrorKind.TIMEOUT_ERROR:
                    raise
                # What was known may be the reason; whatever else it is, it comes again.
        return anew(lambda catalog, base: self._written(catalog, base, data, options))

    def _written(
        self, catalog: LightCatalog, base: Base, data: Any, options: WriteOptions
    ) -> WriteResult:
        result = write(catalog, base, data, options)
        if _is_plain(options) and base.row.authority == "sql" and not result.repeated:
            self._base = base.after(result.version)
        return result


def _is_plain(options: WriteOptions) -> bool:
    """Whether nothing of the table is read but its schema and properties."""
    return options.mode == "append" and options.schema_mode is None


def _is_kept(data: Any) -> bool:
    """Whether there are rows, and they can be had a second time.

    Without rows nothing is committed, so nothing would tell that the table has gone on.
    """
    return isinstance(data, pa.Table | pa.RecordBatch) and data.num_rows > 0
