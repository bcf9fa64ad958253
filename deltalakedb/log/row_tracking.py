"""The names of row tracking: its domain, and the columns in which rows carry their ids along.

PROTOCOL.md, "Row Tracking". A row's id is its file's `baseRowId` plus its place in it, unless the
file has a column that says it: so rows that are written anew keep what they are known by.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from deltalakedb.log.features import enabled

DOMAIN = "delta.rowTracking"
HIGH_WATER_MARK = "rowIdHighWaterMark"
ENABLED = "delta.enableRowTracking"
ROW_ID_COLUMN = "delta.rowTracking.materializedRowIdColumnName"
COMMIT_VERSION_COLUMN = "delta.rowTracking.materializedRowCommitVersionColumnName"


def with_column_names(configuration: Mapping[str, str]) -> dict[str, str]:
    """The properties, with names for the columns where row tracking is enabled."""
    found = dict(configuration)
    if enabled(found, ENABLED):
        found.setdefault(ROW_ID_COLUMN, f"_row-id-col-{uuid.uuid4()}")
        found.setdefault(COMMIT_VERSION_COLUMN, f"_row-commit-version-col-{uuid.uuid4()}")
    return found


@dataclass(frozen=True)
class RowColumns:
    """Names of the columns, in files alone, of rows' ids and of the versions they come from."""

    row_id: str
    commit_version: str

    @classmethod
    def of(cls, configuration: Mapping[str, str]) -> RowColumns | None:
        """Those of a table whose rows keep their ids; None for others."""
        names = (configuration.get(ROW_ID_COLUMN), configuration.get(COMMIT_VERSION_COLUMN))
        if not enabled(configuration, ENABLED) or not names[0] or not names[1]:
            return None
        return cls(names[0], names[1])
