"""New values of columns: what UPDATE and MERGE set, over rows that have what they look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.engine.expression import Expression
from deltalakedb.engine.value import Path, Struct, Value, compile_value
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import CURRENT_DEFAULT, DataType, StructField, StructType
from deltalakedb.predicate.names import Columns
from deltalakedb.write.casts import stored_type


@dataclass
class Members:
    """A struct of which some members are set; the others stay, null in a struct that was null."""

    given: dict[str, Given]


Given: TypeAlias = "Expression | Path | Struct | pa.Scalar | Members"


@dataclass(frozen=True)
class Assignments:
    """Column (as the schema spells it) to what it becomes: a value of its row, one for all, or
    a struct some of whose members are set."""

    given: Mapping[str, Given]

    @classmethod
    def of_sql(
        cls,
        updates: Mapping[str, str],
        schema: StructType,
        compiled: Callable[[str, DataType], Value] | None = None,
        *,
        alias: str | None = None,
        whole: bool = False,
    ) -> Assignments:
        """From Spark SQL; `compiled` makes a value of it (default: over the columns of the table
        itself); DEFAULT is a column's default. `alias` may stand before a column's name; `whole`:
        no members of structs alone.

        INVALID_PREDICATE for a column that isn't there or is set twice, and for what is no
        expression; UNSUPPORTED_FEATURE for what the engine doesn't evaluate, by name.
        """
        now = datetime.now(UTC)
        given: dict[str, Given] = {}
        for name, sql in updates.items():
            fields = _target(schema, name, alias)
            if whole and len(fields) > 1:
                raise _no_member(name)
            to = fields[-1].type
            if isinstance(sql, str) and sql.strip().upper() == "DEFAULT":
                default = fields[-1].metadata.get(CURRENT_DEFAULT) or "NULL"
                value = _own(str(default), StructType(()), now, to)
            else:
                value = _own(sql, schema, now, to) if compiled is None else compiled(sql, to)
            _put(given, fields, value, name)
        return cls(given)

    @classmethod
    def of_values(cls, values: Mapping[str, Any], schema: StructType) -> Assignments:
        """From Python values. SCHEMA_MISMATCH for one that its column can't hold."""
        given: dict[str, Given] = {}
        for name, value in values.items():
            fields = _target(schema, name)
            field = fields[-1]
            try:
                scalar = pa.scalar(value, stored_type(field.type, field.name))
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                raise DeltaLakeError(
                    DeltaLakeErrorKind.SCHEMA_MISMATCH,
                    f"column {name} can't hold {value!r}: {error}; give a value of its type",
                    column=name,
                ) from None
            _put(given, fields, scalar, name)
        return cls(given)

    @property
    def names(self) -> frozenset[str]:
        """The columns that are set, or of which something is."""
        return frozenset(self.given)

    def alone(self, seen: pa.RecordBatch) -> pa.RecordBatch:
        """Rows of the columns that are set, and no others."""
        return pa.RecordBatch.from_pydict(
            {name: _values(given, seen, None) for name, given in self.given.items()}
        )

    def applied(self, rows: pa.RecordBatch, seen: pa.RecordBatch | None = None) -> pa.RecordBatch:
        """The rows of a table with new values. Expressions see `seen`, by default the old rows."""
        seen = rows if seen is None else seen
        return pa.RecordBatch.from_arrays(
            [
                _values(self.given[name], seen, rows.column(place))
                if name in self.given
                else rows.column(place)
                for place, name in enumerate(rows.schema.names)
            ],
            names=rows.schema.names,
        )


def at_path(rows: pa.RecordBatch, path: Path) -> pa.Array:
    """A column, or a field of one."""
    array = rows.column(path[0])
    return pc.struct_field(array, list(path[1:])) if path[1:] else array


def _values(given: Given, seen: pa.RecordBatch, old: pa.Array | None) -> pa.Array:
    """A value a row; `old`: what was there, of which members may stay."""
    if isinstance(given, pa.Scalar):
        return pa.repeat(given, seen.num_rows)
    if isinstance(given, tuple):
        return at_path(seen, given)
    if isinstance(given, Struct):
        made = [_values(value, seen, None) for _, value in given.members]
        return pa.StructArray.from_arrays(made, [name for name, _ in given.members])
    if isinstance(given, Members):
        assert old is not None
        names = [member.name for member in old.type]
        # As in Spark a struct that was null is one now.
        kept = [pc.struct_field(old, [place]) for place in range(len(names))]
        made = [
            _values(given.given[name], seen, was) if name in given.given else was
            for name, was in zip(names, kept, strict=True)
        ]
        return pa.StructArray.from_arrays(made, names)
    if given.type_name == "void":
        return pa.nulls(seen.num_rows)
    return given.evaluate(seen)


def _own(sql: str, schema: StructType, now: datetime, to: DataType) -> Value:
    from deltalakedb.engine.syntax import parse

    return compile_value(parse(sql), sql, Columns(schema), now=now, to=to)


def _put(given: dict[str, Given], fields: list[StructField], value: Given, said: str) -> None:
    """Set what a path leads to; INVALID_PREDICATE where that, or what it is in, is set already."""
    place = given
    for field in fields[:-1]:
        inner = place.setdefault(field.name, Members({}))
        if not isinstance(inner, Members):
            raise _twice(said)
        place = inner.given
    if fields[-1].name in place:
        raise _twice(said)
    place[fields[-1].name] = value


def _twice(name: str) -> DeltaLakeError:
    return DeltaLakeError(
        DeltaLakeErrorKind.INVALID_PREDICATE,
        f"column {name} is set twice; set it once",
        column=name,
    )


def _no_member(name: str) -> DeltaLakeError:
    return DeltaLakeError(
        DeltaLakeErrorKind.INVALID_PREDICATE,
        f"a new row's struct is given as a whole, not by its member {name}; use named_struct(…)",
        column=name,
    )


def _target(schema: StructType, name: str, alias: str | None = None) -> list[StructField]:
    """The fields from a column to what is to be set."""
    parts = _parts(name)
    whole = _field(schema, ".".join(parts))
    if whole is not None:
        return [whole]
    found = _walked(schema, parts)
    if found is None and alias is not None and parts[0].lower() == alias.lower():
        found = _walked(schema, parts[1:])
    if found is None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_PREDICATE,
            f"there is no column {name} to set; the table has "
            f"{', '.join(f.name for f in schema.fields)}",
            column=name,
        )
    return found


def _walked(schema: StructType, parts: list[str]) -> list[StructField] | None:
    found: list[StructField] = []
    type: DataType = schema
    for part in parts:
        field = _field(type, part) if isinstance(type, StructType) else None
        if field is None:
            return None
        found.append(field)
        type = field.type
    return found or None


def _field(schema: StructType, name: str) -> StructField | None:
    exact = schema.field(name)
    if exact is not None:
        return exact
    return next((f for f in schema.fields if f.name.lower() == name.lower()), None)


def _parts(name: str) -> list[str]:
    """The names of a path; one in backquotes may hold dots."""
    import re

    pieces = re.findall(r"`((?:[^`]|``)*)`(?:\.|$)|([^.]+)(?:\.|$)", name)
    return [quoted.replace("``", "`") or plain for quoted, plain in pieces] or [name]
