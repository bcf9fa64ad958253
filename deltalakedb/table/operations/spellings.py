"""Partitions of the same values, however their texts spell them.

PROTOCOL.md, "Partition Value Serialization": an instant may be written in several ways, and writers
spell numbers and bytes each as it does; a column that was widened has texts of both types.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.error import DeltaLakeError
from deltalakedb.log.partition import parse_partition_value
from deltalakedb.log.schema import (
    TYPE_CHANGES,
    PrimitiveType,
    StructField,
    column_mapping_mode,
    is_string,
)
from deltalakedb.table.operations.base import Base

_ONE_SPELLING = {"byte", "short", "integer", "long", "date"}


def partitions_like(catalog: LightCatalog, base: Base, texts: Iterable[str]) -> set[int]:
    """Ids of the partitions at the base's version whose values are those of canonical texts.

    None where each value has one text: who has the text has the id.
    """
    struct = base.struct
    fields = [struct.field(name) for name in base.metadata.partition_columns]
    columns = [field for field in fields if field is not None]
    if base.is_yet_to_be or all(map(_is_spelled_once, columns)):
        return set()
    mapped = column_mapping_mode(base.metadata.configuration) != "none"
    names = [(f.physical_name if mapped else f.name, f) for f in columns]
    wanted = {_values(text, names) for text in texts}
    there = catalog.partitions(base.row, base.row.head_version)
    return {
        row.partition_id for row in there.rows if _values(row.partition_values, names) in wanted
    }


def _is_spelled_once(field: StructField) -> bool:
    if not isinstance(field.type, PrimitiveType) or TYPE_CHANGES in field.metadata:
        return False
    return is_string(field.type.name) or field.type.name in _ONE_SPELLING


def _values(text: str, columns: list[tuple[str, StructField]]) -> tuple[Any, ...]:
    given = json.loads(text)
    return tuple(_value(given.get(name), field) for name, field in columns)


def _value(text: str | None, field: StructField) -> Any:
    assert isinstance(field.type, PrimitiveType)
    try:
        found = parse_partition_value(text, field.type.name)
    except DeltaLakeError:
        # No value of its column: only the same text is the same.
        return ("", text)
    return "NaN" if isinstance(found, float) and math.isnan(found) else found
