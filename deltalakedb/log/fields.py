"""What type each field of an action has: the one table that commits and checkpoints are held to.

PROTOCOL.md, "Actions" and "Checkpoint Schema". Fields that aren't here are unknown, and kept as
they stand; a null stands for a field that is absent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


class Kind(Enum):
    """A field's type, by the words that errors have for it."""

    TEXT = "a string"
    LONG = "a 64-bit integer"
    COUNT = "a 64-bit integer of zero or more"
    INTEGER = "a 32-bit integer"
    FLAG = "true or false"
    TEXTS = "an array of strings"
    TEXT_MAP = "an object of strings"
    OBJECT = "an object"


Fields = Mapping[str, "Kind | Fields"]

VECTOR: Fields = {
    "storageType": Kind.TEXT,
    "pathOrInlineDv": Kind.TEXT,
    "offset": Kind.COUNT,
    "sizeInBytes": Kind.COUNT,
    "cardinality": Kind.COUNT,
    "maxRowIndex": Kind.LONG,
}
_FILE: Fields = {
    "path": Kind.TEXT,
    "partitionValues": Kind.TEXT_MAP,
    "size": Kind.LONG,
    "dataChange": Kind.FLAG,
    "stats": Kind.TEXT,
    "tags": Kind.OBJECT,
    "deletionVector": VECTOR,
    "baseRowId": Kind.LONG,
    "defaultRowCommitVersion": Kind.LONG,
}
ACTIONS: Mapping[str, Fields] = {
    "add": {**_FILE, "modificationTime": Kind.LONG, "clusteringProvider": Kind.TEXT},
    "remove": {**_FILE, "deletionTimestamp": Kind.LONG, "extendedFileMetadata": Kind.FLAG},
    "metaData": {
        "id": Kind.TEXT,
        "name": Kind.TEXT,
        "description": Kind.TEXT,
        "format": {"provider": Kind.TEXT, "options": Kind.OBJECT},
        "schemaString": Kind.TEXT,
        "partitionColumns": Kind.TEXTS,
        "configuration": Kind.TEXT_MAP,
        "createdTime": Kind.LONG,
    },
    "protocol": {
        "minReaderVersion": Kind.INTEGER,
        "minWriterVersion": Kind.INTEGER,
        "readerFeatures": Kind.TEXTS,
        "writerFeatures": Kind.TEXTS,
    },
    "txn": {"appId": Kind.TEXT, "version": Kind.LONG, "lastUpdated": Kind.LONG},
    "domainMetadata": {
        "domain": Kind.TEXT,
        "configuration": Kind.TEXT,
        "removed": Kind.FLAG,
    },
    "cdc": {
        "path": Kind.TEXT,
        "partitionValues": Kind.TEXT_MAP,
        "size": Kind.LONG,
        "tags": Kind.OBJECT,
    },
    "sidecar": {
        "path": Kind.TEXT,
        "sizeInBytes": Kind.LONG,
        "modificationTime": Kind.LONG,
        "tags": Kind.OBJECT,
    },
    "commitInfo": {},
}
"""commitInfo is free-form. An action of another name is unknown, and kept."""

_REQUIRED: Mapping[str, Sequence[str]] = {
    "add": ("path",),
    "remove": ("path",),
    "txn": ("appId", "version"),
    "domainMetadata": ("domain",),
    "cdc": ("path",),
    "sidecar": ("path",),
    "protocol": ("minReaderVersion", "minWriterVersion"),
    "deletionVector": ("storageType", "pathOrInlineDv"),
}
_NO_VALUE = type(None)


def _in_bits(value: Any, bits: int) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and -(1 << (bits - 1)) <= value < 1 << (bits - 1)


_FITS: Mapping[Kind, Callable[[Any], bool]] = {
    Kind.TEXT: lambda v: isinstance(v, str),
    Kind.LONG: lambda v: _in_bits(v, 64),
    Kind.COUNT: lambda v: _in_bits(v, 64) and v >= 0,
    Kind.INTEGER: lambda v: _in_bits(v, 32),
    Kind.FLAG: lambda v: isinstance(v, bool),
    Kind.TEXTS: lambda v: isinstance(v, list) and all(isinstance(x, str) for x in v),
    Kind.TEXT_MAP: lambda v: (
        isinstance(v, dict) and all(isinstance(x, (str, _NO_VALUE)) for x in v.values())
    ),
    Kind.OBJECT: lambda v: isinstance(v, dict),
}


def body_fault(kind: str, body: Any) -> str | None:
    """What is wrong with the body of an action of that kind, as JSON has it; None for nothing."""
    if not isinstance(body, dict):
        return f"action {kind} is not an object"
    return _fault(kind, body, ACTIONS.get(kind, {}), f"action {kind}")


def _fault(kind: str, body: Mapping[str, Any], fields: Fields, owner: str) -> str | None:
    for name in _REQUIRED.get(kind, ()):
        if body.get(name) is None:
            return f"{owner} has no {name}"
    for name, expected in fields.items():
        value = body.get(name)
        if value is None:
            continue
        if isinstance(expected, Kind):
            if not _FITS[expected](value):
                return f"field {name} of {owner} is not {expected.value}"
        elif not isinstance(value, dict):
            return f"field {name} of {owner} is not an object"
        elif why := _fault(name, value, expected, f"{name} of {owner}"):
            return why
    return None


_TYPES: Mapping[Kind, frozenset[type]] = {
    Kind.TEXT: frozenset({str, _NO_VALUE}),
    Kind.LONG: frozenset({int, _NO_VALUE}),
    Kind.COUNT: frozenset({int, _NO_VALUE}),
    Kind.FLAG: frozenset({bool, _NO_VALUE}),
    Kind.TEXT_MAP: frozenset({dict, _NO_VALUE}),
    Kind.OBJECT: frozenset({dict, _NO_VALUE}),
}


def check_all(values: Sequence[Any], kind: Kind) -> None:
    """Raise TypeError or OverflowError unless each value is of that kind, or None.

    In C, for the many: 64 bits and what an object holds are left to whoever makes columns of them.
    """
    types = set(map(type, values))
    if not types <= _TYPES[kind]:
        raise TypeError(f"not {kind.value}")
    if kind is Kind.COUNT:
        numbers = [v for v in values if v is not None] if _NO_VALUE in types else values
        if numbers and (min(numbers) < 0 or max(numbers) >= 1 << 63):
            raise OverflowError(f"not {kind.value}")


def check_vectors(vectors: Sequence[Mapping[str, Any]]) -> None:
    """Raise LookupError, TypeError or OverflowError unless each is a deletionVector."""
    check_all(vectors, Kind.OBJECT)
    for name, expected in VECTOR.items():
        assert isinstance(expected, Kind)
        if name in _REQUIRED["deletionVector"]:
            values = [v[name] for v in vectors]
            if None in values:
                raise LookupError(name)
        else:
            values = [v.get(name) for v in vectors]
        check_all(values, expected)


def column_fault(kind: str, column: pa.DataType) -> str | None:
    """What is wrong with the type of an action's Parquet column, views and dictionaries aside."""
    return _column_fault(kind, column, ACTIONS.get(kind, {}), f"column {kind}")


def _column_fault(kind: str, column: pa.DataType, fields: Fields, owner: str) -> str | None:
    import pyarrow as pa

    if not pa.types.is_struct(column):
        return f"{owner} is not a struct"
    for child in column:
        expected = fields.get(child.name)
        if expected is None or pa.types.is_null(child.type):
            continue
        if not isinstance(expected, Kind):
            if why := _column_fault(child.name, child.type, expected, f"{kind}.{child.name}"):
                return why
        elif not _stored_as(expected, child.type):
            return f"{owner} has {child.name} as {child.type}, which is not {expected.value}"
    return None


def _stored_as(kind: Kind, column: pa.DataType) -> bool:
    import pyarrow as pa

    types = pa.types
    if kind is Kind.TEXT:
        return bool(types.is_string(column) or types.is_binary(column))
    if kind is Kind.TEXTS:
        return bool(types.is_list(column) and _stored_as(Kind.TEXT, column.value_type))
    if kind is Kind.FLAG:
        return bool(types.is_boolean(column))
    if kind in (Kind.TEXT_MAP, Kind.OBJECT):
        return bool(
            types.is_map(column)
            and _stored_as(Kind.TEXT, column.key_type)
            and (kind is Kind.OBJECT or _stored_as(Kind.TEXT, column.item_type))
        )
    return bool(types.is_integer(column))
