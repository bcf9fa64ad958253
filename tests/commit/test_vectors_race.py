"""RESTORE and purge beside deletes by vector: every version is what its commit says of the last."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from tests import lengths
from tests.published import complete_log

ROWS = 60
Work = Callable[[dl.Table, random.Random], None]


def said(place: Path, version: int) -> tuple[str, int] | None:
    """What a commit was meant to do; None where it only arranges rows anew."""
    log = place / "_delta_log" / f"{version:020d}.json"
    for line in log.read_text().splitlines():
        info = json.loads(line).get("commitInfo")
        if info is not None and "does" in info:
            what, _, number = info["does"].partition(" ")
            return what, int(number)
    return None


def race(database: str, place: Path, rounds: int) -> None:
    uri = f"deltasql://{database}?table=t"
    on = {"delta.enableDeletionVectors": "true"}
    rows = pa.table({"id": list(range(ROWS))})
    dl.write_deltalake(uri, rows, location=str(place), configuration=on)
    deleted: list[int] = []

    def again_and_again(work: Work, seed: int) -> None:
        table = dl.connect_to_table(uri, cache=False)
        chance = random.Random(seed)
        for _ in range(rounds):
            try:
                work(table, chance)
            except DeltaLakeError as error:
                if error.kind is not DeltaLakeErrorKind.CONCURRENCY_ERROR:
                    raise

    def properties(what: str) -> dl.CommitProperties:
        return dl.CommitProperties(custom_metadata={"does": what})

    def delete(table: dl.Table, chance: random.Random) -> None:
        ident = chance.randrange(ROWS)
        table.delete(f"id = {ident}", commit_properties=properties(f"delete {ident}"))
        deleted.append(ident)

    def restore(table: dl.Table, chance: random.Random) -> None:
        target = max(0, table.refresh().version - chance.randrange(4))
        table.restore(target, commit_properties=properties(f"restore {target}"))

    def purge(table: dl.Table, chance: random.Random) -> None:
        table.optimize.compact()

    works: list[Work] = [delete, delete, restore, purge]
    with ThreadPoolExecutor(len(works)) as threads:
        running = [threads.submit(again_and_again, work, n) for n, work in enumerate(works)]
    for each in running:
        each.result()
    assert deleted
    table = dl.connect_to_table(uri, cache=False)
    complete_log(table)
    content = [frozenset(range(ROWS))]
    kinds = set()
    for version in range(1, table.version + 1):
        what = said(place, version)
        kinds.add(what and what[0])
        if what is None:
            content.append(content[-1])
        elif what[0] == "delete":
            content.append(content[-1] - {what[1]})
        else:
            content.append(content[what[1]])
        found = table.snapshot(version).to_pyarrow_table()["id"].to_pylist()
        assert len(found) == len(set(found))
        assert frozenset(found) == content[-1], (version, what)
    assert "delete" in kinds
    assert dl.diff_table("t", database=database).parity


def test_restore_and_purge_beside_deletes(sqlite_url: str, tmp_path: Path) -> None:
    race(sqlite_url, tmp_path / "t", 3)


@pytest.mark.long
def test_many_of_them(any_catalog_url: str, tmp_path: Path) -> None:
    race(any_catalog_url, tmp_path / "t", lengths.rounds(10))
