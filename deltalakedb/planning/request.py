"""What may be asked of a version's files."""

from __future__ import annotations

FILE_COLUMNS = (
    "path",
    "size",
    "modification_time",
    "num_records",
    "partition_values",
    "dv_id",
    "stats",
)
"""The columns of a listing, in their order."""
