"""Damage to one file of a log: bytes flipped, cut or inserted, values of its JSON replaced."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ODD_VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    7,
    1.5,
    1e300,
    2**31,
    2**31 - 1,
    2**63 - 1,
    2**63,
    -(2**63),
    2**64,
    10**30,
    "",
    " ",
    "x",
    "7",
    "null",
    "{}",
    "\0",
    "ä/..%2F%zz",
    "s3://nowhere/x",
    "u" * 3000,
    "+10000-01-01",
    [],
    [1],
    ["x"],
    [[]],
    {},
    {"a": 1},
    {"a": None},
    {"type": "struct", "fields": 5},
    {"storageType": "u", "pathOrInlineDv": "ab", "sizeInBytes": 1, "cardinality": 1},
]


def damaged_files(log: Path) -> list[Path]:
    """The files of a log that may be damaged, in a fixed order."""
    return sorted(path for path in log.rglob("*") if path.is_file() and path.stat().st_size)


def damage(path: Path, chance: random.Random) -> str:
    """Damage the file; says how."""
    ways: list[Callable[[Path, random.Random], str]] = [_flip, _cut, _insert]
    if path.name.endswith((".json", ".crc", "_last_checkpoint")):
        ways += [_replace_json] * 5
    elif path.name.endswith(".parquet"):
        ways += [_flip_footer] * 2 + [_replace_cell, _replace_column]
    return chance.choice(ways)(path, chance)


def _flip(path: Path, chance: random.Random) -> str:
    data = bytearray(path.read_bytes())
    places = [chance.randrange(len(data)) for _ in range(chance.choice((1, 1, 2, 8)))]
    for place in places:
        data[place] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    return f"bits flipped at {places}"


def _flip_footer(path: Path, chance: random.Random) -> str:
    data = bytearray(path.read_bytes())
    size = min(int.from_bytes(data[-8:-4], "little"), len(data) - 8)
    if size <= 0:
        return _flip(path, chance)
    place = len(data) - 8 - size + chance.randrange(size)
    data[place] = chance.randrange(256)
    path.write_bytes(data)
    return f"byte {place} of the footer changed to {data[place]}"


def _cut(path: Path, chance: random.Random) -> str:
    data = path.read_bytes()
    start = chance.randrange(len(data))
    end = len(data) if chance.random() < 0.5 else start + chance.randrange(1, 64)
    path.write_bytes(data[:start] + data[end:])
    return f"bytes {start} to {end} cut"


def _insert(path: Path, chance: random.Random) -> str:
    data = path.read_bytes()
    start = chance.randrange(len(data) + 1)
    added = chance.choice([chance.randbytes(chance.randrange(1, 40)), b"\0", b"\n", b"{}", b'"'])
    path.write_bytes(data[:start] + added + data[start:])
    return f"{added!r} inserted at {start}"


def _places(node: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if at:
        yield at
    children = node.items() if isinstance(node, dict) else ()
    for key, child in enumerate(node) if isinstance(node, list) else children:
        yield from _places(child, (*at, key))


def _put(node: Any, place: tuple[Any, ...], value: Any) -> None:
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value


def _replace_json(path: Path, chance: random.Random) -> str:
    lines = path.read_bytes().splitlines()
    number = chance.randrange(len(lines))
    try:
        found = json.loads(lines[number])
    except ValueError:
        return _flip(path, chance)
    places = list(_places(found))
    if not places:
        return _flip(path, chance)
    place, value = chance.choice(places), chance.choice(ODD_VALUES)
    nested = _nested_json(found, place)
    if nested is not None and chance.random() < 0.6 and (inner := list(_places(nested))):
        below = chance.choice(inner)
        _put(nested, below, value)
        _put(found, place, json.dumps(nested))
        place = (*place, "(text)", *below)
    else:
        _put(found, place, value)
    lines[number] = json.dumps(found).encode()
    path.write_bytes(b"\n".join(lines) + b"\n")
    return f"line {number + 1}, {'.'.join(map(str, place))} replaced by {str(value)[:60]!r}"


def _nested_json(node: Any, place: tuple[Any, ...]) -> Any:
    """The JSON that a text at `place` holds (statistics, schemas), None for none."""
    for key in place:
        node = node[key]
    try:
        return json.loads(node) if isinstance(node, str) and node[:1] == "{" else None
    except ValueError:
        return None


def _write(table: pa.Table, path: Path) -> None:
    """In the place of `path`, which stays as it is when Arrow refuses the table."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    path.write_bytes(sink.getvalue().to_pybytes())


def _replace_cell(path: Path, chance: random.Random) -> str:
    """One value of a checkpoint replaced, of the same Parquet type."""
    try:
        table = pq.read_table(path)
        rows = table.to_pylist()
        row = chance.randrange(len(rows))
        places = [p for p in _places(rows[row]) if isinstance(p[-1], str)]
        place, value = chance.choice(places), chance.choice(ODD_VALUES)
        _put(rows[row], place, value)
        _write(pa.Table.from_pylist(rows, table.schema), path)
    except (pa.ArrowException, ValueError, TypeError, LookupError, OverflowError, OSError):
        return _flip(path, chance)
    return f"row {row}, {'.'.join(map(str, place))} replaced by {str(value)[:60]!r}"


def _replace_column(path: Path, chance: random.Random) -> str:
    """One column of a checkpoint's structs replaced by one of another type."""
    kinds = [pa.int64(), pa.string(), pa.bool_(), pa.list_(pa.int8()), pa.binary(), pa.float64()]
    try:
        table = pq.read_table(path)
        name = chance.choice(table.column_names)
        column = table[name].combine_chunks()
        kind = chance.choice(kinds)
        if not pa.types.is_struct(column.type) or chance.random() < 0.2:
            index = table.column_names.index(name)
            other = pa.nulls(len(column), kind)
            _write(table.set_column(index, name, other), path)
            return f"column {name} is {kind}"
        inner = chance.choice([field.name for field in column.type])
        value = {pa.int64(): 5, pa.string(): "5", pa.bool_(): True}.get(kind)
        other = pa.array([value] * len(column), kind)
        arrays = [other if f.name == inner else column.field(f.name) for f in column.type]
        names = [f.name for f in column.type]
        struct = pa.StructArray.from_arrays(arrays, names, mask=column.is_null())
        _write(table.set_column(table.column_names.index(name), name, struct), path)
    except (pa.ArrowException, ValueError, TypeError, LookupError, OSError):
        return _flip(path, chance)
    return f"column {name}.{inner} is {kind}"
