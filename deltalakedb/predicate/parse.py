"""One predicate out of the forms that people write: SQL, tuples, Arrow expressions."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, get_args

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import StructType
from deltalakedb.predicate.names import Columns
from deltalakedb.predicate.tree import TRUE, Expr

Predicate = Any
"""A SQL string, DNF tuples (`[("a", "=", 1)]`), a `pyarrow.compute.Expression`, or an `Expr`."""

_NODES: tuple[type, ...] = get_args(Expr)


def parse_predicate(
    predicate: object,
    schema: StructType,
    *,
    mapped: bool = True,
    partition_columns: Collection[str] = (),
) -> Expr:
    """The predicate over the columns of `schema`; TRUE for None and for empty text or lists.

    `predicate` is a Spark SQL WHERE expression, a list of tuples (see `dnf_predicate`), a
    `pyarrow.compute.Expression`, or an `Expr` already. `mapped` tells whether the table has column
    mapping, so that files know columns by physical names; `partition_columns` (logical names)
    matter to tuples only. Raises INVALID_PREDICATE: a column that the table doesn't have, a value
    that its column can't be compared with, or what isn't understood.
    """
    columns = Columns(schema, mapped)
    if predicate is None:
        return TRUE
    if isinstance(predicate, _NODES):
        return predicate  # type: ignore[return-value]
    if isinstance(predicate, str):
        from deltalakedb.predicate.sql.grammar import parse_sql

        return parse_sql(predicate, columns) if predicate.strip() else TRUE
    if isinstance(predicate, list | tuple):
        from deltalakedb.predicate.dnf import parse_dnf

        return parse_dnf(predicate, columns, partition_columns)
    if type(predicate).__module__.startswith("pyarrow"):
        from deltalakedb.predicate.arrow import parse_arrow

        return parse_arrow(predicate, columns)
    raise DeltaLakeError(
        DeltaLakeErrorKind.INVALID_PREDICATE,
        f"a predicate of type {type(predicate).__name__} is not understood; pass a SQL text, a "
        "list of (column, operator, value) tuples, or a pyarrow expression",
    )
