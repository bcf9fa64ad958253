"""Commits of others, adopted from the log."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.reading import queries
from deltalakedb.log.commit import ActionRows
from deltalakedb.log.segment import CommitEntry
from deltalakedb.mirror import adopt
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import ObjectStore
from deltalakedb.uri import parse_database
from tests.migrate.catalogs import runs
from tests.migrate.test_import import LOG, MORE, assert_is, import_, write_log
from tests.replay.generated import Action, Log, add, remove


def test_many_bytes_are_adopted_in_steps(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: Log = [*MORE, [remove("c", at=3)], [add("f")]]
    table = tmp_path / "orders"
    write_log(table, LOG)
    import_(table, sqlite_url)
    write_log(table, log, first=len(LOG))
    size = (table / "_delta_log" / f"{len(LOG):020d}.json").stat().st_size
    monkeypatch.setattr(adopt, "RANGE_BYTES", size + 1)
    with Catalog(sqlite_url) as catalog:
        row = queries.find_table(catalog, "orders")
    store = open_store(StoreSpec(str(table / "_delta_log")))
    assert adopt.adopt(parse_database(sqlite_url), row, store) == len(log) - 1
    assert_is(sqlite_url, "orders", log)
    steps = [run["versions"] for run in runs(sqlite_url)][1:]
    assert len(steps) > 1
    assert sum(steps) == len(log) - len(LOG)


def test_a_commit_in_slices(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it would be at once: what it ends, adds twice, removes and adds again, and says."""
    many: list[Action] = [
        {"commitInfo": {"operation": "MERGE"}},
        remove("d", at=7),
        add("f", size=2),
        *(add(f"n{number}", size=number, value=str(number % 3)) for number in range(40)),
        add("f", size=9, value="1"),
        {"txn": {"appId": "y", "version": 4}},
        remove("n7", at=8),
        add("e", dv=1, size=6),
        remove("e", at=8),
        {"domainMetadata": {"domain": "d", "configuration": "{1}"}},
    ]
    log: Log = [*MORE, many, [remove("n3", at=9), add("g")]]
    table = tmp_path / "orders"
    write_log(table, LOG)
    import_(table, sqlite_url)
    write_log(table, log, first=len(LOG))
    monkeypatch.setattr(adopt, "RANGE_BYTES", 1_000)
    made: list[int] = []
    slices = adopt.commit_slices

    def counted(store: ObjectStore, entry: CommitEntry, count: int) -> Iterator[ActionRows]:
        made.append(count)
        return slices(store, entry, count)

    monkeypatch.setattr(adopt, "commit_slices", counted)
    with Catalog(sqlite_url) as catalog:
        row = queries.find_table(catalog, "orders")
    store = open_store(StoreSpec(str(table / "_delta_log")))
    assert adopt.adopt(parse_database(sqlite_url), row, store) == len(log) - 1
    assert made[0] > 5
    assert made == [made[0]] * 2
    assert_is(sqlite_url, "orders", log)


_ADOPTING = """
import sys
from pathlib import Path
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.reading import queries
from deltalakedb.log.commit import ActionRows
from deltalakedb.log.segment import CommitEntry
from deltalakedb.mirror import adopt
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import ObjectStore
from deltalakedb.uri import parse_database

database, log = sys.argv[1:]
with Catalog(database) as catalog:
    row = queries.find_table(catalog, "orders")
adopt.adopt(parse_database(database), row, open_store(StoreSpec(log)))
# Not ru_maxrss, which begins with what the parent had.
[line] = [line for line in Path("/proc/self/status").open() if "VmHWM" in line]
print(int(line.split()[1]) >> 10)
"""


@pytest.mark.system
def test_a_commit_of_many_files_is_adopted_in_bounded_memory(tmp_path: Path) -> None:
    """Of ten times as many files it takes little more: what is kept of each are its keys."""
    taken = []
    for count in (50_000, 500_000):
        table, database = tmp_path / str(count), f"sqlite:///{tmp_path}/{count}.db"
        write_log(table, LOG)
        import_(table, database, table_name="orders")
        with open(table / "_delta_log" / f"{len(LOG):020d}.json", "w") as file:
            for number in range(count):
                json.dump(add(f"part-{number:040d}.parquet", size=number), file)
                file.write("\n")
        found = subprocess.run(
            [sys.executable, "-c", _ADOPTING, database, str(table / "_delta_log")],
            stdout=subprocess.PIPE,
            timeout=1_000,
            check=True,
        )
        taken.append(int(found.stdout))
        with Catalog(database) as catalog:
            assert queries.find_table(catalog, "orders").num_files == count + 3
    print(taken)
    assert taken[1] - taken[0] <= 200
