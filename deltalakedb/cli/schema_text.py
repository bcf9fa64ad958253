"""A schema as it is written on a command line."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

_COLUMN = re.compile(
    r"\s*(?:`(?P<quoted>[^`]+)`|(?P<name>[^\s`]+))\s+(?P<type>[A-Za-z_]+(?:\s*\([\d,\s]+\))?)"
    r"\s*(?P<required>NOT\s+NULL)?\s*",
    re.IGNORECASE,
)
_NAMES = {
    "bigint": "long", "int": "integer", "smallint": "short", "tinyint": "byte", "real": "float",
    "bool": "boolean", "text": "string", "dec": "decimal", "numeric": "decimal",
}  # fmt: skip
_TYPES = frozenset(
    {"long", "integer", "short", "byte", "float", "double", "boolean", "string", "binary"}
    | {"date", "timestamp", "timestamp_ntz", "decimal"}
)


def read_schema(text: str) -> Any:
    """A Parquet file's schema, a Delta schema's JSON, or `name type [NOT NULL], …`.

    Raises INVALID_ARGUMENT naming what isn't understood.
    """
    if text.lstrip().startswith("{"):
        return text
    if os.path.isfile(text):
        import pyarrow.parquet as pq

        return pq.read_schema(text)
    fields: list[dict[str, Any]] = []
    # A comma inside parentheses belongs to a decimal.
    for part in re.split(r",(?![^(]*\))", text):
        found = _COLUMN.fullmatch(part)
        kind = None if found is None else _type(found["type"])
        if found is None or kind is None:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"{part.strip()!r} is no column; write `name type [NOT NULL]` with a type such as "
                "long, double, string, date, timestamp or decimal(10,2), or give JSON",
            )
        fields.append(
            {
                "name": found["quoted"] or found["name"],
                "type": kind,
                "nullable": found["required"] is None,
                "metadata": {},
            }
        )
    return json.dumps({"type": "struct", "fields": fields})


def _type(text: str) -> str | None:
    name, _, rest = text.replace(" ", "").lower().partition("(")
    name = _NAMES.get(name, name)
    if name not in _TYPES or (rest and name != "decimal"):
        return None
    if name == "decimal":
        return f"decimal({rest}" if rest else "decimal(10,0)"
    return name
