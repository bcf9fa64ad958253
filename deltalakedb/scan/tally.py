"""What is read of data files, counted where they are opened."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import pyarrow.parquet as pq


@dataclass
class Tally:
    """Files that were opened, and the bytes of footers and column chunks that were asked of them.

    A file counts each time that it is opened. Several threads may note at once.
    """

    each: list[int] = field(default_factory=list)

    @property
    def files(self) -> int:
        return len(self.each)

    @property
    def num_bytes(self) -> int:
        return sum(self.each)

    def note(
        self,
        footer: bytes,
        metadata: pq.FileMetaData,
        groups: Iterable[int],
        names: Collection[str],
    ) -> None:
        """A file was opened, for the top-level columns `names` of some row groups."""
        size = len(footer)
        for group in groups:
            row_group = metadata.row_group(group)
            for place in range(row_group.num_columns):
                column = row_group.column(place)
                if column.path_in_schema.split(".", 1)[0] in names:
                    size += column.total_compressed_size
        self.each.append(size)
