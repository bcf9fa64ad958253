"""The clauses of a MERGE: what happens to which rows, compiled for a source and a target."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.engine.expression import Expression
from deltalakedb.engine.joining import Side, compile_over
from deltalakedb.engine.value import Path, Struct, Value
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import DataType, StructType
from deltalakedb.table.operations.assign import Assignments, at_path
from deltalakedb.table.operations.base import Base
from deltalakedb.write.schema import merged_schema
from deltalakedb.write.widening import widening_of

Kind = Literal["update", "delete", "insert", "source_update", "source_delete"]
_SPARK_NAME = {
    "update": "update",
    "delete": "delete",
    "insert": "insert",
    "source_update": "update",
    "source_delete": "delete",
}


@dataclass(frozen=True)
class Clause:
    """One WHEN. `updates` None: all columns of the source but `except_cols`, or a deletion.

    `source_…` are those of target rows that no source row matches.
    """

    kind: Kind
    predicate: str | None = None
    updates: Mapping[str, str] | None = None
    except_cols: tuple[str, ...] = ()

    def told(self) -> dict[str, str]:
        """As commitInfo has it."""
        found = {"actionType": _SPARK_NAME[self.kind]}
        return found if self.predicate is None else found | {"predicate": self.predicate}


@dataclass(frozen=True)
class Compiled:
    """A clause that can be evaluated."""

    kind: Kind
    condition: Expression | Path | None
    assignments: Assignments | None

    def applies(self, rows: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        """For which rows its condition is TRUE."""
        if self.condition is None:
            return np.ones(rows.num_rows, dtype=bool)
        if isinstance(self.condition, tuple):
            found = at_path(rows, self.condition)
        else:
            found = self.condition.evaluate(rows)
        return np.asarray(pc.fill_null(found, pa.scalar(False)).to_numpy(zero_copy_only=False))


def compiled(
    clauses: Sequence[Clause],
    source: Side,
    target: Side,
    written: StructType,
    now: datetime | None = None,
) -> list[Compiled]:
    """The clauses, in order. `written` is the schema of new rows, `now` the current time in them.

    INVALID_PREDICATE and UNSUPPORTED_FEATURE as `compile_over`; INVALID_ARGUMENT for a column of
    `except_cols` that the source hasn't.
    """
    now = now or datetime.now(UTC)
    found = []
    for clause in clauses:
        if clause.kind == "insert":
            sides: tuple[Side, ...] = (source,)
        elif clause.kind in ("source_update", "source_delete"):
            sides = (target,)
        else:
            sides = (source, target)

        def over(sql: str, to: DataType | None = None, sides: tuple[Side, ...] = sides) -> Value:
            return compile_over(sql, *sides, now=now, to=to)

        condition = None if clause.predicate is None else _condition(over(clause.predicate))
        if isinstance(condition, Expression) and condition.type_name not in ("boolean", "void"):
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_PREDICATE,
                f"{clause.predicate} is of type {condition.type_name}, no condition",
                expression=clause.predicate,
            )
        assignments = _assignments(clause, source, target, written, over)
        found.append(Compiled(clause.kind, condition, assignments))
    return found


def _condition(value: Value) -> Expression | Path:
    # A struct is made for a column of such a type alone.
    assert not isinstance(value, Struct)
    return value


def _assignments(
    clause: Clause,
    source: Side,
    target: Side,
    written: StructType,
    over: Callable[[str, DataType], Value],
) -> Assignments | None:
    if clause.kind in ("delete", "source_delete"):
        return None
    if clause.updates is not None:
        return Assignments.of_sql(
            clause.updates, written, over, alias=target.alias, whole=clause.kind == "insert"
        )
    names = [field.name for field in source.schema.fields]
    left = {name.lower() for name in clause.except_cols}
    unknown = left - {name.lower() for name in names}
    if unknown:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"except_cols names {', '.join(sorted(unknown))}, which the source hasn't; it has "
            f"{', '.join(names)}",
        )
    # As in Spark, what the table hasn't is left out where its schema doesn't grow.
    known = {field.name.lower() for field in written.fields}
    chosen = [name for name in names if name.lower() in known - left]
    if not chosen and not left:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"the source has none of the table's columns; it has {', '.join(names)}",
        )
    return Assignments.of_sql({name: _quoted(source.alias, name) for name in chosen}, written, over)


def _quoted(*parts: str) -> str:
    return ".".join("`" + part.replace("`", "``") + "`" for part in parts)


def grown(base: Base, source: pa.Schema, clauses: Sequence[Clause], alias: str) -> StructType:
    """The table's schema with the columns of the source that it lacks; wider where the clauses set
    a column to the source's of its name, and the table has type widening."""
    given = _given_by_source(clauses, source.names, alias)
    widens = widening_of(base.metadata, base.protocol)
    return merged_schema(base.struct, source, lambda name: name.lower() in given and widens(name))


def _given_by_source(
    clauses: Sequence[Clause], source: Sequence[str], alias: str
) -> frozenset[str]:
    """The columns (in lower case) that some clause sets to the source's column of their name."""
    found: set[str] = set()
    for clause in clauses:
        if clause.updates is not None:
            for name, sql in clause.updates.items():
                plain = name.strip("`").lower()
                said = sql.replace("`", "").strip().lower()
                if said in (plain, f"{alias.lower()}.{plain}"):
                    found.add(plain)
        elif clause.kind in ("update", "insert"):
            left = {name.lower() for name in clause.except_cols}
            found |= {name.lower() for name in source} - left
    return frozenset(found)


def struct_of(rows: pa.RecordBatch) -> pa.StructArray:
    """Rows as one column of structs."""
    return pa.StructArray.from_arrays(rows.columns, fields=list(rows.schema))


def predicates_told(clauses: Sequence[Clause]) -> dict[str, Any]:
    """The clauses as Spark's operation parameters."""
    groups = {
        "matchedPredicates": ("update", "delete"),
        "notMatchedPredicates": ("insert",),
        "notMatchedBySourcePredicates": ("source_update", "source_delete"),
    }
    return {
        name: [clause.told() for clause in clauses if clause.kind in kinds]
        for name, kinds in groups.items()
    }


def taken(rows: pa.RecordBatch, places: npt.NDArray[np.int64]) -> pa.RecordBatch:
    """The rows at these places; not copied where the places follow one another."""
    first, last, count = int(places[0]), int(places[-1]), len(places)
    if last - first == count - 1 and (count < 2 or bool((np.diff(places) == 1).all())):
        return rows.slice(first, count)
    return rows.take(pa.array(places))


def parts(places: npt.NDArray[np.int64], rows: int) -> Iterator[slice]:
    """Ascending places in parts of so many at least, the matches of one row in one part."""
    start = 0
    while start < len(places):
        last = min(start + rows, len(places)) - 1
        end = int(np.searchsorted(places, places[last], side="right"))
        yield slice(start, end)
        start = end


def first_applying(clauses: Sequence[Compiled], rows: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """Of each row the first clause whose condition is TRUE; -1 for none.

    A clause is asked of the rows alone that those before it have left.
    """
    chosen = np.full(rows.num_rows, -1, dtype=np.int64)
    for number, clause in enumerate(clauses):
        left = np.flatnonzero(chosen < 0)
        if not len(left):
            break
        chosen[left[clause.applies(taken(rows, left))]] = number
    return chosen
