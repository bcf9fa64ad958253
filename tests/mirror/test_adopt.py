"""Commits of others, adopted from the log."""

from __future__ import annotations

from pathlib import Path

import pytest

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.reading import queries
from deltalakedb.mirror import adopt
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.uri import parse_database
from tests.migrate.catalogs import runs
from tests.migrate.test_import import LOG, MORE, assert_is, import_, write_log
from tests.replay.generated import Log, add, remove


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
