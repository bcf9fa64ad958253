"""What a table demands of its rows, filled in or checked before they are written.

PROTOCOL.md, "Column Invariants", "CHECK Constraints", "Generated Columns", "Default Columns",
"Identity Columns", "Append-only Tables" and "Schema Serialization Format" (nullability).
Expressions are Spark SQL, evaluated by the engine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.engine.expression import Expression, compile_expression
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.features import CONSTRAINT_PREFIX, enabled
from deltalakedb.log.identity import IdentityColumn, identity_columns
from deltalakedb.log.schema import (
    CURRENT_DEFAULT,
    GENERATION,
    IDENTITY_PREFIX,
    INVARIANTS,
    DataType,
    PrimitiveType,
    StructField,
    StructType,
    decimal_parameters,
)
from deltalakedb.write.casts import converted, mismatches
from deltalakedb.write.nulls import Violation, first_violation, has_demands

CHAR_VARCHAR = "__CHAR_VARCHAR_TYPE_STRING"
_LENGTH = re.compile(r"(char|varchar)\((\d+)\)")
_SHOWN = 100
_CONDITION = PrimitiveType("boolean")
_NUMBERS = {"byte", "short", "integer", "long", "float", "double"}


@dataclass(frozen=True)
class _Check:
    """A condition that has to be true of each row; neither false nor null will do."""

    name: str
    sql: str
    compiled: Expression

    def verify(self, rows: pa.RecordBatch) -> None:
        found = self.compiled.evaluate(rows)
        good = pc.fill_null(found, pa.scalar(False))
        if not pc.all(good, min_count=0).as_py():
            row = pc.index(good, pa.scalar(False)).as_py()
            raise _violated(f"{self.name} ({self.sql})", self.name, rows, row)


@dataclass(frozen=True)
class _Computed:
    """A column whose values follow from an expression: generated, or a default."""

    field: StructField
    place: int
    sql: str
    compiled: Expression
    generated: bool

    def values(self, rows: pa.RecordBatch) -> pa.Array:
        return converted(self.compiled.evaluate(rows), self.field.type, (self.field.name,))

    def verify(self, rows: pa.RecordBatch) -> None:
        given, expected = rows.column(self.place), self.values(rows)
        same = pc.equal(given, expected)
        if pa.types.is_floating(given.type):
            same = pc.or_(same, pc.and_(pc.is_nan(given), pc.is_nan(expected)))
        both_null = pc.and_(given.is_null(), expected.is_null())
        good = pc.or_(pc.fill_null(same, pa.scalar(False)), both_null)
        if not pc.all(good, min_count=0).as_py():
            row = pc.index(good, pa.scalar(False)).as_py()
            name = f"generated column {self.field.name}"
            raise _violated(f"{name} ({self.sql})", self.field.name, rows, row)


Numbering = Callable[[IdentityColumn, int], int]
"""The first of as many numbers for an identity column."""


class RowChecks:
    """Fills defaults and generated columns in, and verifies all constraints of a table.

    Expressions are compiled before any row is seen: UNSUPPORTED_FEATURE or INVALID_PREDICATE naming
    the one that can't be. `numbers` tells the first of some for an identity column; without it
    rows that lack such a column are refused by name.
    """

    def __init__(
        self,
        schema: StructType,
        configuration: Mapping[str, str],
        numbers: Numbering | None = None,
    ) -> None:
        self._schema = schema
        self._demands = has_demands(schema)
        self._identities = identity_columns(schema)
        self._numbers = numbers
        now = datetime.now(UTC)

        def compiled(feature: str, sql: str, type: DataType) -> Expression:
            expression = compile_expression(sql, schema, now=now)
            if _is_number(PrimitiveType(expression.type_name)) and _is_number(type):
                expression = compile_expression(sql, schema, now=now, to=type)
            if any(mismatches(expression.type, type, ())):
                raise DeltaLakeError(
                    DeltaLakeErrorKind.INVALID_PREDICATE,
                    f"the table's expression {sql} ({feature}) is of type {expression.type_name}, "
                    "which doesn't fit what it is for; correct the table's metadata",
                    expression=sql,
                )
            return expression

        self._computed = {
            field.name: _Computed(field, place, sql, compiled(feature, sql, field.type), generated)
            for place, field in enumerate(schema.fields)
            for feature, key, generated in (
                ("generatedColumns", GENERATION, True),
                ("allowColumnDefaults", CURRENT_DEFAULT, False),
            )
            if isinstance(sql := field.metadata.get(key), str)
        }
        self._checks = [
            _Check(f"constraint {name}", sql, compiled("checkConstraints", sql, _CONDITION))
            for name, sql in check_constraints(configuration).items()
        ] + [
            _Check(f"invariant of column {name}", sql, compiled("invariants", sql, _CONDITION))
            for name, sql in _invariants(schema, ())
        ]
        self._lengths = [
            (place, field.name, found[1], int(found[2]))
            for place, field in enumerate(schema.fields)
            if (found := _LENGTH.fullmatch(_declared(field)))
        ]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to fill in and nothing to check."""
        return not (
            self._computed or self._checks or self._lengths or self._demands or self._identities
        )

    def __call__(
        self, rows: pa.RecordBatch, missing: frozenset[str], *, updated: bool = False
    ) -> pa.RecordBatch:
        """The rows as they are to be written. `missing`: columns that the input doesn't have.

        `updated`: the rows were there before, so that identity columns have their values.
        Raises CONSTRAINT_VIOLATION naming the constraint and the first row that breaks it.
        """
        if not rows.num_rows:
            return rows
        for identity in () if updated else self._identities:
            rows = self._numbered(identity, rows, missing)
        for computed in self._in_order(missing):
            rows = rows.set_column(
                computed.place, rows.schema.field(computed.place), computed.values(rows)
            )
        for computed in self._computed.values():
            if computed.generated and computed.field.name not in missing:
                computed.verify(rows)
        for place, name, kind, length in self._lengths:
            rows = _with_length(rows, place, name, kind, length)
        if self._demands and (found := first_violation(rows, self._schema)) is not None:
            raise _not_null(found, rows)
        for check in self._checks:
            check.verify(rows)
        return rows

    def _numbered(
        self, column: IdentityColumn, rows: pa.RecordBatch, missing: frozenset[str]
    ) -> pa.RecordBatch:
        if column.name not in missing:
            if column.explicit:
                return rows
            raise DeltaLakeError(
                DeltaLakeErrorKind.CONSTRAINT_VIOLATION,
                f"column {column.name} is an identity column, whose values are given by the table "
                "alone; leave it out",
                constraint=column.name,
                column=column.name,
            )
        if self._numbers is None:
            raise DeltaLakeError(
                DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
                f"column {column.name} is an identity column (identityColumns), whose numbers "
                "can't be given by Dask's workers; write from one process",
                column=column.name,
                feature="identityColumns",
            )
        first = self._numbers(column, rows.num_rows)
        values = first + column.step * np.arange(rows.num_rows, dtype=np.int64)
        field = rows.schema.field(column.place)
        return rows.set_column(column.place, field, pa.array(values).cast(field.type))

    def _in_order(self, missing: frozenset[str]) -> list[_Computed]:
        """Defaults first: generated columns may depend on them, but not on each other."""
        found = [c for name, c in self._computed.items() if name in missing]
        return sorted(found, key=lambda computed: computed.generated)


def _is_number(type: DataType) -> bool:
    if not isinstance(type, PrimitiveType):
        return False
    return type.name in _NUMBERS or decimal_parameters(type.name) is not None


def check_constraints(configuration: Mapping[str, str | None]) -> dict[str, str]:
    """The table's CHECK constraints: name -> Spark SQL."""
    return {
        key.removeprefix(CONSTRAINT_PREFIX): sql
        for key, sql in configuration.items()
        if key.startswith(CONSTRAINT_PREFIX) and sql
    }


def has_expression(field: StructField) -> bool:
    """Whether a column is generated, an identity, or has a default."""
    return any(
        key in (GENERATION, CURRENT_DEFAULT) or key.startswith(IDENTITY_PREFIX)
        for key in field.metadata
    )


def refuse_if_append_only(
    configuration: Mapping[str, str | None], operation: str, table: str
) -> None:
    """CONSTRAINT_VIOLATION when rows would go from a table that is append-only."""
    if enabled(configuration, "delta.appendOnly"):
        raise DeltaLakeError(
            DeltaLakeErrorKind.CONSTRAINT_VIOLATION,
            f"{operation} of {table} takes rows away, but the table is append-only "
            "(delta.appendOnly is true); append instead, or set the property to false first",
            constraint="delta.appendOnly",
        )


def _invariants(struct: StructType, path: tuple[str, ...]) -> list[tuple[str, str]]:
    found = []
    for field in struct.fields:
        here = (*path, field.name)
        text = field.metadata.get(INVARIANTS)
        if text is not None:
            found.append((".".join(here), _invariant_sql(text, ".".join(here))))
        if isinstance(field.type, StructType):
            found += _invariants(field.type, here)
    return found


def _invariant_sql(text: Any, column: str) -> str:
    try:
        sql = orjson.loads(text)["expression"]["expression"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        sql = None
    if not isinstance(sql, str):
        raise DeltaLakeError(
            DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
            f"the invariant of column {column} ({text}) is not understood; write with the engine "
            "that made the table",
            column=column,
            feature="invariants",
        )
    return sql


def refuse_setting_identity(schema: StructType, names: Iterable[str]) -> None:
    """INVALID_ARGUMENT where an update sets an identity column: its numbers are given once."""
    for column in identity_columns(schema):
        if column.name in names:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"column {column.name} is an identity column, whose values can't be updated; leave "
                "it out",
                column=column.name,
            )


def _declared(field: StructField) -> str:
    """The type as declared: char(n) and varchar(n) are strings with a note in the metadata."""
    noted = field.metadata.get(CHAR_VARCHAR)
    if isinstance(noted, str):
        return noted
    return getattr(field.type, "name", "")


def _with_length(
    rows: pa.RecordBatch, place: int, name: str, kind: str, length: int
) -> pa.RecordBatch:
    column = rows.column(place)
    good = pc.fill_null(pc.less_equal(pc.utf8_length(column), length), pa.scalar(True))
    if not pc.all(good, min_count=0).as_py():
        row = pc.index(good, pa.scalar(False)).as_py()
        raise _violated(f"{kind}({length}) of column {name}", name, rows, row)
    if kind == "varchar":
        return rows
    # A char is as long as its type says: Spark fills it up, too.
    return rows.set_column(place, rows.schema.field(place), pc.utf8_rpad(column, length))


def _not_null(found: Violation, rows: pa.RecordBatch) -> DeltaLakeError:
    name = ".".join(found.path)
    return _violated(f"NOT NULL of column {name}", name, rows, found.row)


def _violated(what: str, name: str, rows: pa.RecordBatch, row: int) -> DeltaLakeError:
    shown = row_text(rows, row)
    return DeltaLakeError(
        DeltaLakeErrorKind.CONSTRAINT_VIOLATION,
        f"{what} is violated by the row {shown}; change the data, or the table's constraint",
        constraint=name,
        row=shown,
    )


def row_text(rows: pa.RecordBatch, row: int) -> str:
    """A row's values for messages, cut to 100 characters."""
    parts = []
    length = 0
    for name, column in zip(rows.schema.names, rows.columns, strict=True):
        text = f"{name}={_short(column[row])}"
        parts.append(text)
        length += len(text) + 2
        if length > _SHOWN:
            break
    whole = ", ".join(parts)
    return whole if len(whole) <= _SHOWN else whole[: _SHOWN - 1] + "…"


def _short(value: pa.Scalar) -> str:
    try:
        found = value.as_py()
    except (ValueError, OverflowError):
        return str(value)
    return repr(found) if isinstance(found, (str, bytes)) else str(found)
