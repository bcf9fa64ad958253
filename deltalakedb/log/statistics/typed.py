"""Statistics of many files as typed Arrow columns (PROTOCOL.md, Per-file Statistics).

Arrow's JSON reader takes them all at once where every value is of its column's type. It refuses
the whole where one isn't; then each value is looked at by itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from deltalakedb.error import DeltaLakeError
from deltalakedb.log.partition import partition_scalar
from deltalakedb.log.schema import Leaf, PrimitiveType, arrow_type, is_string, readable_type

Columns = dict[str, pa.Array | pa.ChunkedArray]

NULL_COUNT, MIN, MAX = "nullCount", "minValues", "maxValues"
WHOLE_FILE = ""
"""The key of `typed_statistics` for what a file has as a whole."""
NUM_RECORDS, TIGHT_BOUNDS = "numRecords", "tightBounds"
_OF_FILE = {NUM_RECORDS: pa.int64(), TIGHT_BOUNDS: pa.bool_()}
_AS_TEXT = {"date", "timestamp", "timestamp_ntz"}
_WITHOUT_BOUNDS = {"binary", "variant", "void"}
_ROWS_AT_ONCE = 65_536
_BLOCK = 64 << 20


def typed_statistics(stats: pa.ChunkedArray, leaves: Sequence[Leaf]) -> dict[str, Columns]:
    """By NULL_COUNT, MIN and MAX: dotted logical name -> a value a file.

    By WHOLE_FILE: NUM_RECORDS and TIGHT_BOUNDS.
    `stats`: JSON texts. What is missing, no JSON object, or not of its column's type is null.
    Columns that have no order (arrays, maps, binary, variant) have null counts alone.
    """
    wanted = {
        NULL_COUNT: list(leaves),
        MIN: [leaf for leaf in leaves if has_bounds(leaf)],
        MAX: [leaf for leaf in leaves if has_bounds(leaf)],
    }
    wanted = {key: found for key, found in wanted.items() if found}
    read = _read_at_once(stats, wanted) if len(stats) else None
    return _read_one_by_one(stats, wanted) if read is None else read


def has_bounds(leaf: Leaf) -> bool:
    """Whether statistics may have least and greatest values of a column."""
    return (
        isinstance(leaf.type, PrimitiveType)
        and leaf.type.name not in _WITHOUT_BOUNDS
        and readable_type(leaf.type) is not None
    )


def _name(leaf: Leaf) -> str:
    return ".".join(leaf.path)


def _type_name(leaf: Leaf) -> str:
    assert isinstance(leaf.type, PrimitiveType)
    return leaf.type.name


# All at once


def _read_at_once(
    stats: pa.ChunkedArray, wanted: dict[str, list[Leaf]]
) -> dict[str, Columns] | None:
    schema = pa.schema(
        [*_OF_FILE.items(), *((key, _struct(leaves, key)) for key, leaves in wanted.items())]
    )
    options = pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    pieces = []
    try:
        for batch in stats.chunks:
            for start in range(0, len(batch), _ROWS_AT_ONCE):
                lines = batch.slice(start, _ROWS_AT_ONCE)
                read = pa.json.read_json(
                    _joined(lines), pa.json.ReadOptions(block_size=_BLOCK), options
                )
                if read.num_rows != len(lines):
                    return None
                pieces.append(read)
        table = pa.concat_tables(pieces)
        found = {
            key: {_name(leaf): _column(table, key, leaf) for leaf in leaves}
            for key, leaves in wanted.items()
        }
        return found | {WHOLE_FILE: {name: table.column(name) for name in _OF_FILE}}
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _struct(leaves: Sequence[Leaf], key: str) -> pa.DataType:
    """The structs around the leaves by physical names."""
    tree: dict[str, Any] = {}
    for leaf in leaves:
        *above, last = leaf.physical
        node = tree
        for name in above:
            node = node.setdefault(name, {})
        node[last] = pa.int64() if key == NULL_COUNT else _read_as(_type_name(leaf))

    def built(node: Any) -> pa.DataType:
        if not isinstance(node, dict):
            return node
        return pa.struct([(name, built(child)) for name, child in node.items()])

    return built(tree)


def _read_as(name: str) -> pa.DataType:
    return pa.string() if name in _AS_TEXT else arrow_type(PrimitiveType(name))


def _joined(texts: pa.StringArray) -> pa.BufferReader:
    """A text a line. Only objects: of a line that is null, say, Arrow's reader dies."""
    parsed = [_parsed(text) is not None for text in texts.to_pylist()]
    objects = pa.array(parsed, pa.bool_())
    filled = pc.replace_substring(pc.if_else(objects, texts, "{}"), "\n", " ")
    offsets = pa.array([0, len(filled)], pa.int32())
    return pa.BufferReader(
        pc.binary_join(pa.ListArray.from_arrays(offsets, filled), "\n")[0].as_buffer()
    )


def _column(table: pa.Table, key: str, leaf: Leaf) -> pa.ChunkedArray:
    found = pc.struct_field(table.column(key), list(leaf.physical))
    return found if key == NULL_COUNT else found.cast(arrow_type(leaf.type))


# One by one


def _read_one_by_one(stats: pa.ChunkedArray, wanted: dict[str, list[Leaf]]) -> dict[str, Columns]:
    leaves = [leaf for found in wanted.values() for leaf in found]
    exact = any(isinstance(x.type, PrimitiveType) and _is_decimal(x.type.name) for x in leaves)
    entries = [_parsed(text, exact=exact) for text in stats.to_pylist()]
    columns: dict[str, Columns] = {
        key: {_name(leaf): _values(entries, key, leaf) for leaf in found}
        for key, found in wanted.items()
    }
    for name, kind in _OF_FILE.items():
        accepted: type = bool if name == TIGHT_BOUNDS else int
        values = [None if e is None else e.get(name) for e in entries]
        columns.setdefault(WHOLE_FILE, {})[name] = pa.array(
            [v if type(v) is accepted and _fits(v, kind) else None for v in values], kind
        )
    return columns


def _parsed(text: str | None, *, exact: bool = False) -> dict[str, Any] | None:
    """`exact`: fractions as text, as a double has too few digits for a decimal."""
    if text is None:
        return None
    try:
        found = orjson.loads(text)
        if exact:
            found = json.loads(text, parse_float=str)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _is_decimal(name: str) -> bool:
    return name.startswith("decimal")


def _values(entries: list[dict[str, Any] | None], key: str, leaf: Leaf) -> pa.Array:
    values = []
    for entry in entries:
        value: Any = None if entry is None else entry.get(key)
        for name in leaf.physical:
            value = value.get(name) if isinstance(value, dict) else None
        values.append(value)
    name = "long" if key == NULL_COUNT else _type_name(leaf)
    kind = arrow_type(PrimitiveType(name))
    parse = _parser(name, kind)
    parsed = [None if v is None else parse(v) for v in values]
    try:
        return pa.array(parsed, kind)
    except (pa.ArrowInvalid, OverflowError):
        # A number beyond its column's type: find which.
        return pa.array([v if _fits(v, kind) else None for v in parsed], kind)


def _fits(value: Any, kind: pa.DataType) -> bool:
    try:
        pa.array([value], kind)
    except (pa.ArrowInvalid, OverflowError):
        return False
    return True


def _parser(name: str, kind: pa.DataType) -> Callable[[Any], Any]:
    if name in _AS_TEXT or _is_decimal(name):

        def parse(value: Any) -> Any:
            try:
                return partition_scalar(str(value), name, kind)
            except DeltaLakeError:
                return None

        return parse
    if name in ("float", "double"):
        return _float
    accepted: type = bool if name == "boolean" else str if is_string(name) else int

    def plain(value: Any) -> Any:
        fits = isinstance(value, accepted) and (name == "boolean" or not isinstance(value, bool))
        return value if fits else None

    return plain


def _float(value: Any) -> float | None:
    """JSON has no NaN and no infinities: they, and numbers kept exact, come as text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
