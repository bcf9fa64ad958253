"""How far logs follow the catalog, as the catalog knows it: no store is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deltalakedb.catalog.reading.queries import Readable
from deltalakedb.catalog.records import TableRow

_MILLISECOND = 1e-3


@dataclass(frozen=True)
class MirrorStatus:
    """Of one table. None where nothing was published by us (a table that was imported).

    `waiting`: versions that aren't known to be durable in the log. `oldest_at`: when the oldest of
    them was committed, milliseconds since 1970 by the database's clock; None without any.
    `foreign_version`: a file in our slot that others wrote.
    """

    published_version: int | None = None
    durable_version: int | None = None
    checkpoint_version: int | None = None
    foreign_version: int | None = None
    waiting: int | None = None
    oldest_at: int | None = None

    def lag_seconds(self, now_ms: int) -> float:
        """How long the oldest commit has waited; 0 where none does."""
        if self.oldest_at is None:
            return 0.0
        return max(now_ms - self.oldest_at, 0) * _MILLISECOND

    @property
    def marks(self) -> list[str]:
        """What somebody should look at, in words."""
        found = []
        if self.foreign_version is not None:
            found.append(f"foreign {self.foreign_version}")
        if self.waiting:
            found.append("behind")
        return found


def mirror_status(catalog: Readable, tables: Sequence[TableRow]) -> list[MirrorStatus]:
    """In the order of the tables, in one question."""
    where = f" WHERE m.table_key = {int(tables[0].table_key)}" if len(tables) == 1 else ""
    rows = catalog.reader.rows(
        "SELECT m.table_key, m.published_version, m.durable_version, m.checkpoint_version, "
        "m.foreign_version, "
        "(SELECT count(*) FROM dl_outbox o WHERE o.table_key = m.table_key), "
        "(SELECT min(o.created_at) FROM dl_outbox o WHERE o.table_key = m.table_key) "
        f"FROM dl_mirror m{where}"
    )
    found = {key: MirrorStatus(*values) for key, *values in rows}
    return [found.get(table.table_key, MirrorStatus()) for table in tables]
