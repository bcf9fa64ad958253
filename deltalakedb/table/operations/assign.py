"""New values of columns: what UPDATE and MERGE set, over rows that have what they look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.engine.expression import Expression, compile_expression
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import StructField, StructType
from deltalakedb.write.casts import stored_type

Path = tuple[str, ...]


@dataclass(frozen=True)
class Assignments:
    """Column (as the schema spells it) to what it becomes: an expression, or one value for all."""

    given: Mapping[str, Expression | pa.Scalar | Path]
    types: Mapping[str, pa.DataType]

    @classmethod
    def of_sql(
        cls,
        updates: Mapping[str, str],
        schema: StructType,
        compiled: Callable[[str], Expression | Path] | None = None,
    ) -> Assignments:
        """From Spark SQL; `compiled` makes an expression or a path of it (default: over the
        columns of the table itself).

        INVALID_PREDICATE for a column that isn't there or is set twice, and for what is no
        expression; UNSUPPORTED_FEATURE for what the engine doesn't evaluate, by name.
        """
        now = datetime.now(UTC)
        given: dict[str, Expression | pa.Scalar | Path] = {}
        types = {}
        for name, sql in updates.items():
            field = _target(schema, name, given)
            given[field.name] = (
                compile_expression(sql, schema, now=now) if compiled is None else compiled(sql)
            )
            types[field.name] = stored_type(field.type, field.name)
        return cls(given, types)

    @classmethod
    def of_values(cls, values: Mapping[str, Any], schema: StructType) -> Assignments:
        """From Python values. SCHEMA_MISMATCH for one that its column can't hold."""
        given: dict[str, Expression | pa.Scalar | Path] = {}
        types = {}
        for name, value in values.items():
            field = _target(schema, name, given)
            types[field.name] = stored_type(field.type, field.name)
            try:
                given[field.name] = pa.scalar(value, types[field.name])
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                raise DeltaLakeError(
                    DeltaLakeErrorKind.SCHEMA_MISMATCH,
                    f"column {field.name} can't hold {value!r}: {error}; give a value of its type",
                    column=field.name,
                ) from None
        return cls(given, types)

    @property
    def names(self) -> frozenset[str]:
        """The columns that are set."""
        return frozenset(self.given)

    def values(self, name: str, rows: pa.RecordBatch) -> pa.Array:
        """The new values of a column, a row each."""
        found = self.given[name]
        if isinstance(found, pa.Scalar):
            return pa.repeat(found, rows.num_rows)
        if isinstance(found, tuple):
            return at_path(rows, found)
        if found.type_name == "void":
            return pa.nulls(rows.num_rows, self.types[name])
        return found.evaluate(rows)

    def alone(self, seen: pa.RecordBatch) -> pa.RecordBatch:
        """Rows of the columns that are set, and no others."""
        return pa.RecordBatch.from_pydict({name: self.values(name, seen) for name in self.given})

    def applied(self, rows: pa.RecordBatch, seen: pa.RecordBatch | None = None) -> pa.RecordBatch:
        """The rows of a table with new values. Expressions see `seen`, by default the old rows."""
        seen = rows if seen is None else seen
        return pa.RecordBatch.from_arrays(
            [
                self.values(name, seen) if name in self.given else rows.column(place)
                for place, name in enumerate(rows.schema.names)
            ],
            names=rows.schema.names,
        )


def at_path(rows: pa.RecordBatch, path: Path) -> pa.Array:
    """A column, or a field of one."""
    array = rows.column(path[0])
    return pc.struct_field(array, list(path[1:])) if path[1:] else array


def _target(schema: StructType, name: str, given: Mapping[str, Any]) -> StructField:
    plain = name[1:-1].replace("``", "`") if name[:1] == name[-1:] == "`" else name
    field = schema.field(plain)
    if field is None:
        field = next((f for f in schema.fields if f.name.lower() == plain.lower()), None)
    if field is None:
        inner = "." in plain and any(
            f.name.lower() == plain.split(".")[0].lower() for f in schema.fields
        )
        raise DeltaLakeError(
            DeltaLakeErrorKind.UNSUPPORTED_FEATURE
            if inner
            else DeltaLakeErrorKind.INVALID_PREDICATE,
            f"a field of a struct can't be set ({name}); set the whole column"
            if inner
            else f"there is no column {name} to set; the table has "
            f"{', '.join(f.name for f in schema.fields)}",
            column=name,
        )
    if field.name in given:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_PREDICATE,
            f"column {field.name} is set twice; set it once",
            column=field.name,
        )
    return field
