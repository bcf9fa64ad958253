"""Conditions of every kind over partitions and columns of every type, in every form of reading.

Whatever the choice of files, statistics, vectors and mapped names do, the rows are those for which
the condition is TRUE (`conditions`). The seeds are fixed; `make test-system` takes more of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.log.schema import PrimitiveType, arrow_type
from deltalakedb.snapshot.snapshot import Snapshot
from tests.snapshot.conditions import TYPES, VALUES, Maker

_CONFIGURATIONS = (
    {"delta.enableDeletionVectors": "true"},
    {"delta.columnMapping.mode": "name"},
    {"delta.columnMapping.mode": "id", "delta.enableDeletionVectors": "true"},
    {"delta.dataSkippingNumIndexedCols": "3"},
)


def _with_duckdb(snapshot: Snapshot, predicate: Any) -> list[int]:
    with duckdb.connect() as connection:
        found = snapshot.to_duckdb(connection, predicate=predicate).project("id").fetchall()
    return [row[0] for row in found]


_FORMS: tuple[Callable[[Snapshot, Any], list[int]], ...] = (
    lambda s, p: s.to_pyarrow_table(p)["id"].to_pylist(),
    lambda s, p: s.to_pyarrow_table(p, columns=["id"])["id"].to_pylist(),
    lambda s, p: s.to_polars(p).collect()["id"].to_list(),
    lambda s, p: s.scan(p).to_pyarrow_dataset().to_table(columns=["id"])["id"].to_pylist(),
    _with_duckdb,
)


class Made:
    """A table of some appends and a DELETE, and its rows by flat names (`n.d` is a field)."""

    def __init__(self, chance: random.Random, folder: Path, appends: int) -> None:
        self.partitions = [f"p{name}" for name in chance.sample(sorted(TYPES), chance.randrange(4))]
        names = [*self.partitions, *(f"c{name}" for name in TYPES)]
        types = {name: TYPES[name[1:]] for name in names}
        self.types = {**types, "n.l": "long", "n.d": "double"}
        self.rows: list[dict[str, Any]] = []
        self.uri = f"deltasql://sqlite:///{folder}/catalog.sqlite?table=t"
        nested = pa.struct([("l", pa.int64()), ("d", pa.float64())])
        flat = [(name, arrow_type(PrimitiveType(type))) for name, type in types.items()]
        schema = pa.schema([*flat, ("n", nested), ("id", pa.int64())])
        configuration = chance.choice(_CONFIGURATIONS)
        first = {"location": str(folder / "t"), "partition_by": self.partitions or None}
        for number in range(appends):
            written = pa.Table.from_pylist(self._some(chance, schema), schema)
            more = {**first, "configuration": configuration} if number == 0 else {"mode": "append"}
            dl.write_deltalake(self.uri, written, **more)
            # As they are read: floats are those of 32 bits.
            self.rows += map(_flat, written.to_pylist())
        table = dl.connect_to_table(self.uri)
        gone = sorted(row["id"] for row in self.rows if chance.random() < 0.2)
        table.delete([("id", "in", gone)])
        self.rows = [row for row in self.rows if row["id"] not in gone]
        self.snapshot = table.snapshot()
        self.close = table.close

    def _some(self, chance: random.Random, schema: pa.Schema) -> list[dict[str, Any]]:
        def value(name: str, type: str) -> Any:
            # Few partitions, so that their files have several rows.
            pool = VALUES[type][-3:] if name in self.partitions else VALUES[type]
            return None if chance.random() < 0.2 else chance.choice(pool)

        found: list[dict[str, Any]] = []
        for _ in range(chance.choice([2, 8])):
            row = {name: value(name, type) for name, type in self.types.items()}
            nested = {"l": row.pop("n.l"), "d": row.pop("n.d")}
            row["n"] = None if chance.random() < 0.2 else nested
            row["id"] = len(self.rows) + len(found)
            found.append(row)
        return found


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    nested = row.pop("n") or {}
    return {**row, "n.l": nested.get("l"), "n.d": nested.get("d")}


def _compare(seed: int, folder: Path, *, appends: int, conditions: int) -> None:
    chance = random.Random(seed)
    made = Made(chance, folder, appends)
    of_all = Maker(chance, made.types)
    parted = {name: made.types[name] for name in made.partitions} or made.types
    of_partitions = Maker(chance, parted)
    for number in range(conditions):
        maker = of_partitions if number % 2 else of_all
        condition = maker.condition(chance.randrange(4))
        expected = sorted(row["id"] for row in made.rows if condition.answer(row) is True)
        if number == conditions // 2:
            made.snapshot.to_arrow()  # planned from the cached list from here on
        forms = [condition.sql] if condition.tuples is None else [condition.sql, [condition.tuples]]
        for predicate in forms:
            read = _FORMS[(number + len(forms)) % len(_FORMS)]
            told = seed, made.partitions, predicate, number % len(_FORMS)
            assert (told, sorted(read(made.snapshot, predicate))) == (told, expected)
            assert (told, made.snapshot.count_rows(predicate)) == (told, len(expected))
    made.close()


@pytest.mark.parametrize("seed", range(2))
def test_rows_are_those_for_which_the_condition_is_true(seed: int, tmp_path: Path) -> None:
    _compare(seed, tmp_path, appends=2, conditions=20)


@pytest.mark.system
@pytest.mark.parametrize("seed", range(100, 110))
def test_rows_of_many_random_tables(seed: int, tmp_path: Path) -> None:
    _compare(seed, tmp_path, appends=5, conditions=50)
