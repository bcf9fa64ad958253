"""Recorded histories of overlapping transactions are what their isolation level promises."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.commit.staged import Isolation
from deltalakedb.error import DeltaLakeError
from tests import lengths

TABLES = [f"t{number}" for number in range(10)]
SCHEMA = pa.schema([("n", pa.int64())])
LEAST = 4


@dataclass(frozen=True)
class Committed:
    """`reads`: the version of each table that was read; `writes`: the one that was made."""

    reads: dict[str, int]
    writes: dict[str, int]


def dependencies(history: list[Committed]) -> dict[int, set[int]]:
    """Which transactions have to come before each, in any serial order that explains all.

    The writer of what was read, and the writer of the version before; and whoever read a table
    comes before the next that wrote it.
    """
    writer = {
        (table, version): place
        for place, done in enumerate(history)
        for table, version in done.writes.items()
    }
    before: dict[int, set[int]] = defaultdict(set)
    for place, done in enumerate(history):
        for table, version in done.reads.items():
            if (table, version) in writer:
                before[place].add(writer[table, version])
            if (table, version + 1) in writer:
                before[writer[table, version + 1]].add(place)
        for table, version in done.writes.items():
            if (table, version - 1) in writer:
                before[place].add(writer[table, version - 1])
    for place, others in before.items():
        others.discard(place)
    return before


def is_serial(history: list[Committed]) -> bool:
    try:
        list(TopologicalSorter(dependencies(history)).static_order())
    except CycleError:
        return False
    return True


def test_the_checker_tells() -> None:
    one, two = Committed({"a": 0}, {"b": 1}), Committed({"b": 0}, {"a": 1})
    assert not is_serial([one, two])
    assert is_serial([one, Committed({"b": 1}, {"a": 1})])


def overlapping(
    database: str, folder: Path, isolation: Isolation, seconds: float
) -> tuple[list[Committed], set[str]]:
    """What was committed, and the rules by which others weren't; nothing else went wrong."""
    for name in TABLES:
        uri = f"deltasql://{database}?table={name}"
        dl.create_table(uri, SCHEMA, location=str(folder / name))
    history: list[Committed] = []
    rules: set[str] = set()
    failed: list[BaseException] = []
    begun = time.monotonic()

    def goes_on() -> bool:
        """On a busy machine longer, so that there is something to look at."""
        passed = time.monotonic() - begun
        return not failed and (passed < seconds or (len(history) <= LEAST and passed < 240))

    def work(seed: int) -> None:
        chance = random.Random(seed)
        while goes_on():
            tx = dl.begin(database, isolation=isolation, mirror="async")
            read = chance.sample(TABLES, 2)
            written = chance.sample(TABLES, chance.choice([1, 2, len(TABLES)]))
            reads = {name: tx.snapshot(name) for name in read}
            try:
                for snapshot in reads.values():
                    snapshot.to_pyarrow_table()
                for name in written:
                    tx.append(name, pa.table({"n": [seed]}))
                versions = tx.commit().versions
            except DeltaLakeError as error:
                rules.add(str(error.facts.get("rule", error)))
                continue
            except BaseException as error:
                failed.append(error)
                raise
            found = {name: snapshot.version for name, snapshot in reads.items()}
            history.append(Committed(found, versions))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failed
    return history, rules


@pytest.mark.parametrize(
    ("catalog_url", "isolation"),
    [("sqlite", "SnapshotIsolation"), ("postgresql", "Serializable")],
    indirect=["catalog_url"],
)
def test_histories(catalog_url: str, isolation: Isolation, tmp_path: Path) -> None:
    history, rules = overlapping(catalog_url, tmp_path, isolation, 2.0)
    assert len(history) > LEAST
    made = [(table, version) for done in history for table, version in done.writes.items()]
    assert len(set(made)) == len(made)
    if isolation == "Serializable":
        assert is_serial(history)
        assert rules <= {"concurrent_append"}
    else:
        # Nobody removes files here, so what one reads keeps nobody from appending.
        assert rules == set()


@pytest.mark.long
@pytest.mark.parametrize("isolation", ["WriteSerializable", "Serializable", "SnapshotIsolation"])
def test_long_histories(any_catalog_url: str, isolation: Isolation, tmp_path: Path) -> None:
    history, rules = overlapping(any_catalog_url, tmp_path, isolation, lengths.seconds(5.0))
    assert len(history) > LEAST
    assert rules <= ({"concurrent_append"} if isolation != "SnapshotIsolation" else set())
    if isolation == "Serializable":
        assert is_serial(history)
