"""Values of SQL literals: numbers, and casts of a literal to a named type."""

from __future__ import annotations

import math
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from deltalakedb.error import DeltaLakeError
from deltalakedb.predicate.literal import as_type, coerce, float32, parse_time
from deltalakedb.predicate.tree import Column

TYPE_NAMES = {
    "TINYINT": "byte",
    "BYTE": "byte",
    "SMALLINT": "short",
    "SHORT": "short",
    "INT": "integer",
    "INTEGER": "integer",
    "BIGINT": "long",
    "LONG": "long",
    "FLOAT": "float",
    "REAL": "float",
    "DOUBLE": "double",
    "DECIMAL": "decimal",
    "NUMERIC": "decimal",
    "STRING": "string",
    "VARCHAR": "string",
    "CHAR": "string",
    "BOOLEAN": "boolean",
    "BINARY": "binary",
    "DATE": "date",
    "TIMESTAMP": "timestamp",
    "TIMESTAMP_LTZ": "timestamp",
    "TIMESTAMP_NTZ": "timestamp_ntz",
}
CONVERSIONS = {name: type for name, type in TYPE_NAMES.items() if type != "decimal"} | {
    "TO_DATE": "date",
    "TO_TIMESTAMP": "timestamp",
    "TO_TIMESTAMP_NTZ": "timestamp_ntz",
}
NUMBERS = frozenset({"byte", "short", "integer", "long", "float", "double", "decimal"})
"""Delta type names, "decimal" standing for all decimals."""


def number_of(text: str) -> int | float | Decimal:
    """An integer, a double where it has an exponent or suffix, else an exact decimal."""
    text = text.upper()
    if text.endswith("BD"):
        return Decimal(text[:-2])
    if text[-1] in "DF":
        return float(text[:-1])
    text = text.rstrip("LSY")
    if text.isdigit():
        return int(text)
    return float(text) if "E" in text else Decimal(text)


def converted(value: Any, type: str) -> Any:
    """A constant cast to a Delta type, or to bytes by "hex"; ValueError when it isn't one of it."""
    if value is None:
        return None
    if type == "string":
        return value if isinstance(value, str) else str(value)
    if type == "hex":
        return bytes.fromhex(value.rjust(len(value) + len(value) % 2, "0"))
    if type in ("timestamp", "timestamp_ntz"):
        return _time(value, local=type == "timestamp_ntz")
    column = Column(("value",), ("value",), "decimal(10,0)" if type == "decimal" else type)
    try:
        number = as_type(value, column)
        if type in ("float", "double") and isinstance(number, float) and math.isnan(number):
            return number
        coerced = coerce(number, column)
    except DeltaLakeError:
        raise ValueError(f"{value!r} is no value of type {type}") from None
    if type == "float" and isinstance(number, int | float | Decimal):
        return float32(float(number))
    if coerced.floor is None or not (coerced.exact or type == "date"):
        raise ValueError(f"{value!r} does not fit type {type}; write a value that does")
    return coerced.floor


def _time(value: object, *, local: bool) -> datetime:
    """Without a zone it is one of a local time, or in UTC, as its column is."""
    found = parse_time(value.isoformat() if isinstance(value, date) else str(value))
    if found is None:
        raise ValueError(f"{value!r} is no date or time")
    return found[0].replace(tzinfo=None) if local else found[0]
