"""Rows of a target and of a source, matched by a condition over both: what MERGE needs.

Spark SQL over two row types, each below its alias. DuckDB joins what the condition looks at alone,
with a bound on memory, and puts aside on disk what is more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from deltalakedb import fork
from deltalakedb.engine.expression import Expression, compile_tree, input_of, input_type
from deltalakedb.engine.term import invalid
from deltalakedb.engine.value import Path, Value, compile_value
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import DataType, StructField, StructType
from deltalakedb.predicate.names import Columns

if TYPE_CHECKING:
    from sqlglot import exp

Numbers = npt.NDArray[np.int64]
Numbered = tuple[Numbers, pa.RecordBatch]
"""Rows of a source, and their numbers."""
Placed = tuple[int, Numbers, pa.RecordBatch]
"""Rows of a target's file, and their places in it."""
_SPARK = "databricks"


@dataclass(frozen=True)
class Side:
    """One of two row types: what expressions call it, and its columns."""

    alias: str
    schema: StructType


@dataclass(frozen=True)
class Condition:
    """A condition of a join. `equal`: (column of the source, path in the target) that have to be
    the same; `of_target`: conjuncts about the target alone, without its alias. `is_equality`: one
    pair that has to be the same is all that it says."""

    expression: Expression
    equal: tuple[tuple[str, Path], ...]
    of_target: tuple[str, ...]
    is_equality: bool = False


def both_sides(*sides: Side) -> StructType:
    """The row type in which each side is a struct of its alias's name."""
    return StructType(tuple(StructField(side.alias, side.schema, True) for side in sides))


def compile_over(
    sql: str, *sides: Side, now: datetime | None = None, to: DataType | None = None
) -> Value:
    """What a column of type `to` is set to, over columns of the sides.

    A name without an alias means the side that has it. INVALID_PREDICATE where several have.
    """
    return compile_value(_qualified(sql, sides), sql, Columns(both_sides(*sides)), now=now, to=to)


def compile_condition(
    sql: str, source: Side, target: Side, now: datetime | None = None
) -> Condition:
    """The condition by which source rows match target rows. Errors as `compile_over`."""
    from sqlglot import exp

    from deltalakedb.engine.moment import at_moment
    from deltalakedb.engine.where import conjuncts

    tree, columns = _qualified(sql, (source, target)), Columns(both_sides(source, target))
    if now is not None:
        tree = at_moment(tree, now, columns)
    compiled = compile_tree(tree, sql, columns, now=now)
    if compiled.type_name != "boolean":
        raise invalid(f"{sql} is of type {compiled.type_name}, no condition")
    equal, of_target = [], []
    parts = list(conjuncts(tree))
    for node in parts:
        paths = [
            _plain_path(side, (source, target)) for side in (node.this, node.args.get("expression"))
        ]
        if isinstance(node, exp.EQ) and paths[0] and paths[1]:
            pair = sorted((p for p in paths if p), key=lambda path: path[0] != source.alias)
            if (pair[0][0], pair[1][0], len(pair[0])) == (source.alias, target.alias, 2):
                equal.append((pair[0][1], pair[1][1:]))
        aliases = {path[0] for path in _paths(node, (source, target))}
        if aliases == {target.alias}:
            of_target.append(_without_alias(node, (source, target)))
    return Condition(compiled, tuple(equal), tuple(of_target), len(parts) == len(equal) == 1)


def target_alone(sql: str, target: Side) -> str:
    """An expression about the target alone, without its alias."""
    return _without_alias(_qualified(sql, (target,)), (target,))


def _qualified(sql: str, sides: Sequence[Side]) -> exp.Expression:
    """The tree, with each column below the alias of its side."""
    from sqlglot import exp

    from deltalakedb.engine.syntax import parse

    tree = parse(sql)
    for node in [*tree.find_all(exp.Column)]:
        parts = [part.name for part in node.parts]
        side = next((s for s in sides if s.alias.lower() == parts[0].lower()), None)
        if side is not None and len(parts) > 1:
            whole = [side.alias, *parts[1:]]
        else:
            having = [s for s in sides if Columns(s.schema).has(parts)]
            if len(having) > 1:
                raise invalid(
                    f"the name {'.'.join(parts)} in {sql} may be of "
                    f"{' or '.join(s.alias for s in having)}; put one of these before it"
                )
            if not having:
                continue
            whole = [having[0].alias, *parts]
        named = parse(".".join("`" + part.replace("`", "``") + "`" for part in whole))
        if node is tree:
            return named
        node.replace(named)
    return tree


def _paths(node: exp.Expression, sides: Sequence[Side]) -> list[Path]:
    from sqlglot import exp

    aliases = {side.alias for side in sides}
    found = (tuple(part.name for part in each.parts) for each in node.find_all(exp.Column))
    return [path if path[0] in aliases else ("",) for path in found]


def _plain_path(node: object, sides: Sequence[Side]) -> Path | None:
    """The path of a node that is a column of a side, as its schema spells it."""
    from sqlglot import exp

    if not isinstance(node, exp.Column):
        return None
    path = tuple(part.name for part in node.parts)
    side = next((s for s in sides if s.alias == path[0]), None)
    if side is None or len(path) < 2 or not Columns(side.schema).has(path[1:]):
        return None
    return (side.alias, *Columns(side.schema).find(path[1:]).path)


def _without_alias(node: exp.Expression, sides: Sequence[Side]) -> str:
    from sqlglot import exp

    from deltalakedb.engine.syntax import parse

    copy = node.copy()
    aliases = {side.alias for side in sides}
    for column in [*copy.find_all(exp.Column)]:
        parts = [part.name for part in column.parts]
        if parts[0] in aliases:
            named = parse(".".join("`" + part.replace("`", "``") + "`" for part in parts[1:]))
            if column is copy:
                copy = named
            else:
                column.replace(named)
    return copy.sql(dialect=_SPARK)


class Join:
    """Pairs of target rows (file number, place) and source rows (number). A context manager.

    `directory` is a folder of its own for what exceeds `memory_limit` bytes.
    """

    def __init__(
        self,
        condition: Expression,
        source: str,
        directory: str,
        *,
        memory_limit: int,
        disk_limit: int | None = None,
    ) -> None:
        import duckdb

        config: dict[str, str | bool | int | float | list[str]] = {
            "threads": min(os.cpu_count() or 1, 4),
            "memory_limit": f"{max(memory_limit >> 20, 64)}MiB",
            "temp_directory": directory,
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        if disk_limit is not None:
            config["max_temp_directory_size"] = f"{disk_limit >> 20}MiB"
        self._connection = duckdb.connect(":memory:", config=config)
        self._connection.execute("SET TimeZone = 'UTC'")
        # Not in the configuration: with it DuckDB takes no folder to put rows aside in.
        self._connection.execute("SET enable_external_access = false")
        self._process = os.getpid()
        self._reader: pa.RecordBatchReader | None = None
        fork.watch(self)
        self._condition = condition
        self._raised: DeltaLakeError | None = None
        self._inputs: dict[bool, list[tuple[str, Path, str | None]]] = {True: [], False: []}
        for number, (path, type) in enumerate(condition.inputs):
            self._inputs[path[0] == source].append((f"c{number}", path[1:], type))

    def source_columns(self) -> list[str]:
        """The top-level columns of the source that the condition looks at."""
        return list(dict.fromkeys(path[0] for _, path, _ in self._inputs[True]))

    def target_columns(self) -> list[str]:
        """The same of the target."""
        return list(dict.fromkeys(path[0] for _, path, _ in self._inputs[False]))

    def take(self, source: Iterator[Numbered]) -> None:
        """Take (numbers, rows) of the source."""
        self._connection.register("given", source_rows(source, self._inputs[True]))
        self._connection.execute("CREATE TABLE src AS SELECT * FROM given")
        self._connection.unregister("given")

    def match(self, target: Iterator[Placed]) -> None:
        """Match them with (file, places, rows) of the target."""
        import duckdb

        reader = target_rows(self._noted(target), self._inputs[False])
        self._connection.register("tgt", reader)
        try:
            self._connection.execute(
                "CREATE TABLE pairs AS SELECT tgt.f, tgt.r, src.n FROM tgt JOIN src "
                f"ON {self._condition.compiled}"
            )
        except duckdb.Error as error:
            raise (self._raised or _failed(error, self._condition)) from None
        finally:
            self._connection.unregister("tgt")

    def _noted(self, target: Iterator[Placed]) -> Iterator[Placed]:
        """The rows; what fails among them reaches DuckDB, and comes back, as text alone."""
        try:
            yield from target
        except DeltaLakeError as error:
            self._raised = error
            raise

    def files(self) -> dict[int, int]:
        """How many pairs each file has, of those that have any."""
        found = self._connection.execute("SELECT f, count(*) FROM pairs GROUP BY f").fetchall()
        return {int(file): int(count) for file, count in found}

    def pairs(self, file: int) -> tuple[Numbers, Numbers]:
        """(places, source numbers) of a file's pairs, by ascending place and number."""
        found = self._connection.execute(
            "SELECT r, n FROM pairs WHERE f = ? ORDER BY r, n", [file]
        ).fetchnumpy()
        return found["r"], found["n"]

    def unmatched(self, rows: int) -> Iterator[Numbers]:
        """The numbers of the source's rows that match none, ascending, some at a time."""
        found = self._connection.sql(
            "SELECT n FROM src WHERE NOT EXISTS (SELECT 1 FROM pairs WHERE pairs.n = src.n) "
            "ORDER BY n"
        )
        self._reader = found.to_arrow_reader(rows)
        for batch in self._reader:
            yield batch.column(0).to_numpy()

    def close(self) -> None:
        """Let go of memory and files; a forked process leaves them to its parent."""
        if os.getpid() == self._process:
            self._connection.close()

    def before_fork(self) -> None:
        """Nothing: the parent goes on."""

    def after_fork(self) -> None:
        """Whatever ends here would wait for threads that are the parent's."""
        fork.leave(self._connection)
        fork.leave(self._reader)

    def __enter__(self) -> Join:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


Inputs = Sequence[tuple[str, Path, str | None]]


def source_rows(source: Iterator[Numbered], inputs: Inputs) -> pa.RecordBatchReader:
    """What the join takes of the source: numbers, and the values that are looked at."""
    batches = (_record({"n": pa.array(numbers)}, rows, inputs) for numbers, rows in source)
    return _reader(batches, {"n": pa.int64()}, inputs)


def target_rows(target: Iterator[Placed], inputs: Inputs) -> pa.RecordBatchReader:
    """The same of the target: file, place, values."""
    batches = (
        _record(
            {
                "f": pa.array(np.full(len(places), file, dtype=np.int64)),
                "r": pa.array(places),
            },
            rows,
            inputs,
        )
        for file, places, rows in target
    )
    return _reader(batches, {"f": pa.int64(), "r": pa.int64()}, inputs)


def _record(known: dict[str, pa.Array], rows: pa.RecordBatch, inputs: Inputs) -> pa.RecordBatch:
    values = {name: input_of(rows, path, type) for name, path, type in inputs}
    return pa.RecordBatch.from_pydict(known | values)


def _reader(
    batches: Iterator[pa.RecordBatch], known: dict[str, pa.DataType], inputs: Inputs
) -> pa.RecordBatchReader:
    types = known | {name: input_type(type) for name, _, type in inputs}
    return pa.RecordBatchReader.from_batches(pa.schema(list(types.items())), batches)


def no_room(why: str) -> DeltaLakeError:
    """INVALID_ARGUMENT for a join that takes more memory or disk than it may."""
    return DeltaLakeError(
        DeltaLakeErrorKind.INVALID_ARGUMENT,
        f"the join needs more room than it may take: {why}; raise max_spill_size or "
        "max_temp_directory_size",
    )


def _failed(error: Exception, condition: Expression) -> DeltaLakeError:
    import duckdb

    first = str(error).strip().splitlines()[0]
    if isinstance(error, duckdb.OutOfMemoryException):
        return no_room(first)
    return DeltaLakeError(
        DeltaLakeErrorKind.INVALID_PREDICATE,
        f"rows can't be matched by {condition.sql}: {first}",
        expression=condition.sql,
    )
