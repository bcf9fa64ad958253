"""What of a log a database can't hold, told by version and field.

Databases refuse whole statements, and say neither row nor column. So once one was refused its
rows are looked through for what the protocol allows and the database doesn't.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from deltalakedb.catalog.dialects.base import Dialect
from deltalakedb.catalog.tables import files, metadata
from deltalakedb.error import DeltaLakeErrorKind, PermanentDatabaseError

_ACTIONS = {
    "dl_versions": "commitInfo",
    "dl_metadata": "metaData",
    "dl_protocols": "protocol",
    "dl_txns": "txn",
    "dl_domains": "domainMetadata",
    "dl_change_files": "cdc",
    "dl_other_actions": "the action",
    "dl_partitions": "add",
}


def unstorable(dialect: Dialect, tables: Mapping[str, pa.Table]) -> PermanentDatabaseError | None:
    """The first value of the rows (by catalog table) that the database can't hold; None for none.

    Kind DATABASE_ERROR, facts `version`, `action`, `column`.
    """
    for name, rows in tables.items():
        columns = metadata.tables[name].columns if name in metadata.tables else files.columns
        action = _ACTIONS.get(name, "add")
        for column in rows.column_names:
            values = rows.column(column)
            if not pa.types.is_string(values.type):
                continue
            for why, flags in _faults(dialect, columns[column].type, values):
                row = pc.index(flags, True).as_py()
                if row >= 0:
                    return _refusal(dialect, rows.slice(row, 1), action, column, why)
    return None


def _faults(
    dialect: Dialect, kind: sa.types.TypeEngine[object], values: pa.ChunkedArray
) -> Iterable[tuple[str, pa.ChunkedArray]]:
    if not dialect.holds_nul:
        yield "holds a NUL character", pc.match_substring(values, "\0")
    length = getattr(kind, "length", None)
    if length is not None:
        long = pc.greater(pc.utf8_length(values), length)
        yield f"is longer than {length} characters", long
    elif dialect.text_bytes is not None and type(kind) is sa.Text:
        long = pc.greater(pc.binary_length(values), dialect.text_bytes)
        yield f"is longer than {dialect.text_bytes} bytes", long


def _refusal(
    dialect: Dialect, row: pa.Table, action: str, column: str, why: str
) -> PermanentDatabaseError:
    found = row.to_pylist()[0]
    version = found.get("added_version", found.get("version"))
    path = found.get("path")
    place = "" if version is None else f"version {version}: "
    of_file = "" if path is None or column == "path" else f" (path {path[:200]!r})"
    return PermanentDatabaseError(
        DeltaLakeErrorKind.DATABASE_ERROR,
        f"{place}{column} of {action}{of_file} {why}, which {dialect.described} can't store; keep "
        "the catalog in another database (SQLite takes any text), or rewrite the log without it",
        version=version,
        action=action,
        column=column,
    )
