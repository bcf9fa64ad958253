"""Which columns of a table get pruning keys.

PROTOCOL.md, "Per-file Statistics" and "Column Mapping"; Delta's table properties
`delta.dataSkippingStatsColumns` and `delta.dataSkippingNumIndexedCols`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from deltalakedb.log.schema import (
    Leaf,
    PrimitiveType,
    column_mapping_mode,
    is_string,
    iter_leaves,
    parse_schema,
)
from deltalakedb.log.statistics.order import is_orderable
from deltalakedb.record import record

MAX_SKIPPING_COLUMNS = 8
STATS_COLUMNS = "delta.dataSkippingStatsColumns"
NUM_INDEXED_COLUMNS = "delta.dataSkippingNumIndexedCols"
_DEFAULT_INDEXED_COLUMNS = 32
_NAME_PART = re.compile(r"\s*(?:`((?:[^`]|``)*)`|([^\s`.,](?:[^`.,]*[^\s`.,])?))\s*([.,]|$)")


@record(frozen=True, slots=True)
class SkippingColumn:
    """A column with pruning keys: physical names from the root, and its Delta primitive type.

    Text types (char, varchar) are "string".
    """

    path: tuple[str, ...]
    type: str

    def to_json(self) -> dict[str, Any]:
        return {"path": list(self.path), "type": self.type}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SkippingColumn:
        return cls(tuple(value["path"]), value["type"])


def choose_skipping_columns(
    schema_string: str,
    partition_columns: Sequence[str],
    configuration: Mapping[str, str | None],
    clustering: Sequence[tuple[str, ...]] = (),
) -> tuple[SkippingColumn, ...]:
    """At most 8 columns that are likely to have statistics, the most useful ones first.

    Clustering columns (physical or logical paths) come first, then the columns of
    `delta.dataSkippingStatsColumns`, or else the first `delta.dataSkippingNumIndexedCols` leaves
    in schema order (default 32, -1 all); a malformed property is as good as none. Booleans come
    last: they prune little, and Spark has no minimum for them. Partition columns, types without
    order and collated text have no keys.
    """
    mapped = column_mapping_mode(configuration) != "none"
    partitions = {name.lower() for name in partition_columns}
    leaves = [
        leaf
        for leaf in iter_leaves(parse_schema(schema_string), mapped=mapped)
        if leaf.path[0].lower() not in partitions
    ]
    wanted = [leaf for path in clustering for leaf in leaves if path in (leaf.physical, leaf.path)]
    indexed = indexed_leaves(leaves, configuration)
    wanted += [leaf for leaf in indexed if not _is_boolean(leaf)]
    wanted += [leaf for leaf in indexed if _is_boolean(leaf)]
    chosen: dict[tuple[str, ...], SkippingColumn] = {}
    for leaf in wanted:
        type = _key_type(leaf)
        if type is not None and leaf.physical not in chosen:
            chosen[leaf.physical] = SkippingColumn(leaf.physical, type)
    return tuple(chosen.values())[:MAX_SKIPPING_COLUMNS]


def indexed_leaves(leaves: Sequence[Leaf], configuration: Mapping[str, str | None]) -> list[Leaf]:
    """Those of a table's leaves (without partition columns) that its files have statistics of.

    Those of `delta.dataSkippingStatsColumns`, else the first `delta.dataSkippingNumIndexedCols`
    (default 32, -1 all); a malformed property is as good as none.
    """
    paths = parse_column_list(configuration.get(STATS_COLUMNS) or "")
    if paths is not None:
        return [leaf for path in paths for leaf in leaves if _starts_with(leaf, path)]
    count = _integer(configuration.get(NUM_INDEXED_COLUMNS), _DEFAULT_INDEXED_COLUMNS)
    return list(leaves if count < 0 else leaves[:count])


def _starts_with(leaf: Leaf, path: tuple[str, ...]) -> bool:
    """A named struct stands for all leaves in it; case is ignored, as Delta does."""
    head = tuple(name.lower() for name in leaf.path[: len(path)])
    return head == tuple(name.lower() for name in path)


def _integer(text: str | None, default: int) -> int:
    try:
        return default if text is None else int(text)
    except ValueError:
        return default


def _is_boolean(leaf: Leaf) -> bool:
    return leaf.type == PrimitiveType("boolean")


def _key_type(leaf: Leaf) -> str | None:
    if not isinstance(leaf.type, PrimitiveType) or leaf.field.collated:
        return None
    name = "string" if is_string(leaf.type.name) else leaf.type.name
    return name if is_orderable(name) else None


def parse_column_list(text: str) -> list[tuple[str, ...]] | None:
    """Column paths of a comma list; parts are joined by dots and may be quoted by backticks.

    None when the list is malformed.
    """
    paths: list[tuple[str, ...]] = []
    path: list[str] = []
    position, end = 0, ","
    while position < len(text) or end != "":
        found = _NAME_PART.match(text, position)
        if not found:
            return None
        quoted, plain, end = found.groups()
        path.append(quoted.replace("``", "`") if quoted is not None else plain)
        if end != ".":
            paths.append(tuple(path))
            path = []
        position = found.end()
    return paths
