"""Types that grow with the schema of a table (PROTOCOL.md, "Type Widening").

Where a write merges schemas, columns become as wide as the input's, as in Spark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from deltalakedb.engine.expression import compile_expression
from deltalakedb.error import DeltaLakeError
from deltalakedb.log.features import enabled
from deltalakedb.log.metadata import Metadata
from deltalakedb.log.protocol import Protocol
from deltalakedb.log.schema import GENERATION, decimal_parameters
from deltalakedb.write.constraints import check_constraints

Widens = Callable[[str], bool]
"""Whether a top-level column may become wider, or what is in it."""

_WIDER: Mapping[str, tuple[str, ...]] = {
    "byte": ("short", "integer", "long", "double"),
    "short": ("integer", "long", "double"),
    "integer": ("long", "double"),
    "float": ("double",),
    "date": ("timestamp_ntz",),
}
_DIGITS = {"byte": 10, "short": 10, "integer": 10, "long": 20}
"""Digits left of the point that a decimal has to have to take an integer."""


def is_wider(before: str, after: str) -> bool:
    """Whether files with the one type may be read as the other."""
    if after in _WIDER.get(before, ()):
        return True
    wanted = decimal_parameters(after)
    if wanted is None:
        return False
    if before in _DIGITS:
        return wanted[0] - wanted[1] >= _DIGITS[before]
    had = decimal_parameters(before)
    return had is not None and wanted[1] >= had[1] and wanted[0] - had[0] >= wanted[1] - had[1]


def never(name: str) -> bool:
    """No column may."""
    return False


def widening_of(metadata: Metadata, protocol: Protocol) -> Widens:
    """Which columns of a table may: none without `delta.enableTypeWidening` and its feature.

    None of those that a constraint or a generated column uses, whose meaning might change.
    """
    on = enabled(metadata.configuration, "delta.enableTypeWidening") and (
        protocol.supports_writer_feature("typeWidening")
        or protocol.supports_writer_feature("typeWidening-preview")
    )
    if not on:
        return never
    used = _used(metadata)
    return lambda name: used is not None and name.lower() not in used


def noted(metadata: Mapping[str, Any], key: str, notes: list[dict[str, str]]) -> dict[str, Any]:
    """A field's metadata with more changes of types."""
    return {**metadata, key: [*(metadata.get(key) or ()), *notes]}


def _used(metadata: Metadata) -> set[str] | None:
    """The columns that expressions use; None where that isn't known of one."""
    struct = metadata.schema.struct
    generated = (field.metadata.get(GENERATION) for field in struct.fields)
    expressions = [
        *check_constraints(metadata.configuration).values(),
        *(sql for sql in generated if isinstance(sql, str)),
    ]
    try:
        return {
            name.lower() for sql in expressions for name in compile_expression(sql, struct).columns
        }
    except DeltaLakeError:
        return None
