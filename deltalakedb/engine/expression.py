"""Spark SQL expressions over Arrow rows, evaluated by DuckDB as Spark 4 would (ANSI mode, UTC).

For what planning can't decide (`engine.where`), CHECK constraints, generated columns, defaults,
and what UPDATE and MERGE set. DuckDB and sqlglot are imported with the first expression.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.engine.term import duckdb_type, invalid
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import DataType, PrimitiveType, StructType, arrow_type
from deltalakedb.predicate.names import Columns

Rows = TypeVar("Rows", pa.RecordBatch, pa.Table)


@dataclass(frozen=True)
class Expression:
    """A compiled expression: a value, so it pickles, and any thread or process may evaluate it.

    `sql` is as written; `type_name` the Delta type of its values and `type` the Arrow one;
    `columns` the top-level columns (logical names) that it looks at.
    """

    sql: str
    type_name: str
    columns: tuple[str, ...]
    compiled: str = field(repr=False)
    """DuckDB's SQL over c0, c1 …, which are `inputs`."""
    inputs: tuple[tuple[tuple[str, ...], str | None], ...] = field(repr=False)
    """Paths and Delta types; None: only whether it is NULL is asked."""

    @property
    def type(self) -> pa.DataType:
        return arrow_type(PrimitiveType(self.type_name))

    def evaluate(self, rows: pa.RecordBatch | pa.Table) -> pa.Array:
        """The value of each row, in their order.

        `rows` have the `columns` under their logical names, ignoring case. INVALID_PREDICATE where
        a row has no value: a division by zero, an overflow, a text that is no number.
        """
        import duckdb

        from deltalakedb.engine.session import connection

        arrays = {f"c{n}": input_of(rows, *taken) for n, taken in enumerate(self.inputs)}
        # DuckDB counts rows by columns.
        arrays = arrays or {"c0": pa.nulls(rows.num_rows, pa.int8())}
        values = f"CAST({self.compiled} AS {duckdb_type(self.type_name)}) AS value"
        try:
            found = connection().from_arrow(pa.table(arrays)).project(values).to_arrow_table()
        except duckdb.Error as error:
            why = str(error).strip().splitlines()[0]
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_PREDICATE,
                f"a row has no value for {self.sql}: {why}",
                expression=self.sql,
            ) from None
        return _one(found.column("value")).cast(self.type)

    def filter(self, rows: Rows) -> Rows:
        """The rows for which this condition is TRUE."""
        if self.type_name != "boolean":
            raise invalid(f"{self.sql} is of type {self.type_name}, no condition")
        return rows.filter(self.evaluate(rows))


def compile_expression(
    sql: str, schema: StructType, *, now: datetime | None = None, to: DataType | None = None
) -> Expression:
    """A Spark SQL expression over the columns of `schema` (fields of structs by paths).

    `now` (aware): what current_timestamp() and current_date() say; without it they are refused.
    `to`: the type of the column that the values are for; they are cast as Spark casts what is put
    into one (ANSI store assignment), where the engine can.
    INVALID_PREDICATE: no expression, an unknown column, operands of wrong types.
    UNSUPPORTED_FEATURE: what isn't evaluated here, by its name (docs/reading.md lists what is).
    """
    from deltalakedb.engine.syntax import parse

    return compile_tree(parse(sql), sql, Columns(schema), now=now, to=to)


def compile_tree(
    tree: object,
    sql: str,
    columns: Columns,
    *,
    now: datetime | None = None,
    to: DataType | None = None,
) -> Expression:
    """As `compile_expression`, of what `syntax.parse` made."""
    from sqlglot import exp

    from deltalakedb.engine.casts import stored
    from deltalakedb.engine.translate import Translator

    assert isinstance(tree, exp.Expression)
    translator = Translator(columns, now)
    term = translator.term(tree)
    if isinstance(to, PrimitiveType):
        term = stored(term, to.name)
    inputs = []
    for path, column in translator.inputs.items():
        known = column.type not in ("struct", "array", "map", "variant")
        inputs.append((path, column.type if known else None))
    return Expression(
        sql=sql,
        type_name=term.type,
        columns=tuple(dict.fromkeys(path[0] for path in translator.inputs)),
        compiled=term.sql,
        inputs=tuple(inputs),
    )


def input_type(type: str | None) -> pa.DataType:
    """The Arrow type of what `input_of` gives."""
    if type is None:
        return pa.bool_()
    return pa.timestamp("us") if type == "timestamp" else arrow_type(PrimitiveType(type))


def input_of(rows: pa.RecordBatch | pa.Table, path: tuple[str, ...], type: str | None) -> pa.Array:
    """A column or a field of one, as the engine takes it."""
    names = rows.schema.names
    name = path[0]
    if name not in names:
        name = next((n for n in names if n.lower() == name.lower()), name)
    array = _one(rows.column(name))
    for part in path[1:]:
        fields = [f.name for f in array.type]
        chosen = part if part in fields else next(f for f in fields if f.lower() == part.lower())
        array = pc.struct_field(array, fields.index(chosen))
    if type is None:
        return _presence(array)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    wanted = arrow_type(PrimitiveType(type))
    if array.type != wanted:
        array = array.cast(wanted)
    # An instant is what its clock says in UTC.
    return array.cast(pa.timestamp("us")) if type == "timestamp" else array


def _presence(array: pa.Array) -> pa.Array:
    """TRUE, or NULL where the array has one."""
    return pc.if_else(array.is_valid(), True, pa.scalar(None, pa.bool_()))


def _one(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(array, pa.ChunkedArray):
        return array.combine_chunks() if array.num_chunks != 1 else array.chunk(0)
    return array
