"""Names in predicates resolved to columns of the table: as in Spark, case does not matter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import (
    ArrayType,
    DataType,
    MapType,
    PrimitiveType,
    StructField,
    StructType,
    is_string,
    iter_leaves,
)
from deltalakedb.predicate.tree import Column
from deltalakedb.record import record


@record(frozen=True)
class Columns:
    """The columns of a schema; `mapped` tells whether column mapping names them physically."""

    schema: StructType
    mapped: bool = True

    def find(self, path: Sequence[str]) -> Column:
        """The column of a logical path from the root; INVALID_PREDICATE when there is none."""
        found = self._walk(path)
        if found is None:
            raise self._unknown(".".join(path))
        return found

    def find_name(self, name: str) -> Column:
        """The column of a name that may be a whole name with dots, or a dotted path."""
        found = self._walk((name,)) or self._walk(name.split("."))
        if found is None:
            raise self._unknown(name)
        return found

    def has(self, path: Sequence[str]) -> bool:
        return self._walk(path) is not None

    def _walk(self, path: Sequence[str]) -> Column | None:
        type: DataType = self.schema
        fields: list[StructField] = []
        for name in path:
            child = type.field(name) if isinstance(type, StructType) else None
            if child is None:
                return None
            fields.append(child)
            type = child.type
        logical = tuple(f.name for f in fields)
        physical = tuple(f.physical_name for f in fields) if self.mapped else logical
        if not fields:
            return None
        last = fields[-1]
        return Column(logical, physical, _type_name(type), last.collated, last.was_float)

    def _unknown(self, name: str) -> DeltaLakeError:
        from difflib import get_close_matches

        known = dict.fromkeys(self._names())
        folded = {n.lower(): n for n in known}
        last = name.lower().rpartition(".")[2]
        close = get_close_matches(name.lower(), folded, n=3, cutoff=0.6)
        close = close or get_close_matches(last, folded, n=3, cutoff=0.6)
        if close:
            advice = f"did you mean {' or '.join(folded[n] for n in close)}?"
        else:
            listed = list(known)
            more = f" and {len(listed) - 20} more" if len(listed) > 20 else ""
            advice = f"its columns are {', '.join(listed[:20])}{more}"
        return DeltaLakeError(
            DeltaLakeErrorKind.INVALID_PREDICATE,
            f"the predicate names column {name}, which the table doesn't have; {advice}",
            column=name,
        )

    def _names(self) -> Iterator[str]:
        for leaf in iter_leaves(self.schema):
            for depth in range(1, len(leaf.path) + 1):
                yield ".".join(leaf.path[:depth])


def _type_name(type: DataType) -> str:
    match type:
        case PrimitiveType(name):
            return "string" if is_string(name) else name
        case StructType():
            return "struct"
        case ArrayType():
            return "array"
        case MapType():
            return "map"
