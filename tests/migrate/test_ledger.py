"""What dead runs left is removed; what belongs to the living is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.loads import ledger
from deltalakedb.catalog.loads.ledger import Part, Run
from deltalakedb.catalog.loads.swap import TableFacts, swap
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.records import TableRow, run_of
from deltalakedb.catalog.tables import partitions
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.executor.executor import executor_of
from deltalakedb.importing import tasks
from deltalakedb.importing.run import import_table
from tests.migrate.catalogs import engine, left_over, runs, table_row, write_log
from tests.replay.generated import Log, add, table_commit

LOG: Log = [table_commit(), [add("a")]]


@pytest.fixture
def catalog(catalog_url: str) -> Iterator[Catalog]:
    with Catalog(catalog_url, create=True) as found:
        yield found


def begin(catalog: Catalog, location: str) -> Run:
    """A run that has made its load's table, planned a part and loaded some rows."""
    run = ledger.start_run(
        catalog, table_id="i", table_name="t", location=location, mode="fast", workers=0
    )
    ledger.begin_load(catalog, run, run.run_key)
    with catalog.write() as connection:
        values = {"partition_id": 1, "partition_values": "{}", "num_files": 1, "total_bytes": 1}
        connection.execute(partitions.insert().values(load_id=run.run_key, **values))
    ledger.plan_parts(catalog, run, [Part(0, 0, 0, 1)])
    return run


def test_only_runs_of_the_own_location_are_taken_for_dead(
    catalog: Catalog, catalog_url: str
) -> None:
    mine, others = begin(catalog, "/mine"), begin(catalog, "/others")
    assert ledger.clean_up(catalog, "/mine") == [mine.run_key]
    url = catalog_url
    assert set(map(tuple, left_over(url).values())) == {(others.run_key,)}
    assert [(r["status"], r["error_kind"]) for r in runs(url)] == [
        ("failed", "died"),
        ("running", None),
    ]
    assert ledger.clean_up(catalog) == []
    assert ledger.clean_up(catalog, "/others") == [others.run_key]
    assert left_over(url) == {}


def test_the_live_load_is_never_removed(tmp_path: Path, catalog_url: str) -> None:
    write_log(tmp_path / "orders", LOG)
    import_table(str(tmp_path / "orders"), database=catalog_url)
    live = table_row(catalog_url, "orders")["live_load"]
    with Catalog(catalog_url) as catalog:
        assert ledger.clean_up(catalog, str(tmp_path / "orders")) == []
        with pytest.raises(DeltaLakeError) as caught:
            ledger.remove_load(catalog, live)
        assert caught.value.kind is DeltaLakeErrorKind.CONCURRENCY_ERROR
        # The answer to the last COMMIT was lost, and the run is given up although it succeeded.
        run = Run(run_of(live), runs(catalog_url)[0]["run_id"], "i")
        ledger.fail_run(catalog, run, RuntimeError("no answer"))
    assert runs(catalog_url)[0]["status"] == "succeeded"
    with engine(catalog_url).connect() as connection:
        found = connection.execute(sa.text("SELECT path FROM dl_live_files")).scalars().all()
    assert found == ["a"]


def test_a_run_that_is_not_running_finishes_nothing(catalog: Catalog) -> None:
    run = begin(catalog, "/mine")
    ledger.clean_up(catalog, "/mine")
    with pytest.raises(DeltaLakeError) as caught, catalog.write() as connection:
        ledger.finish_run(connection, run)
    assert caught.value.kind is DeltaLakeErrorKind.CONCURRENCY_ERROR
    assert run.run_id in caught.value.message


def claim(catalog: Catalog, run: Run, part: int = 0) -> bool:
    with catalog.dialect.errors(), catalog.dialect.loader() as loader:
        claimed = loader.claim(run.run_key, part)
        if claimed:
            loader.commit(run.run_key, part, 5)
        return claimed


def test_a_part_is_claimed_once(catalog: Catalog) -> None:
    run = begin(catalog, "/mine")
    assert claim(catalog, run)
    assert not claim(catalog, run)


def test_a_part_that_was_not_committed_can_be_claimed_again(catalog: Catalog) -> None:
    run = begin(catalog, "/mine")
    with catalog.dialect.errors(), catalog.dialect.loader() as loader:
        assert loader.claim(run.run_key, 0)
    assert claim(catalog, run)


def test_a_late_worker_of_a_dead_run_loads_nothing(catalog: Catalog) -> None:
    run = begin(catalog, "/mine")
    ledger.clean_up(catalog, "/mine")
    with pytest.raises(DeltaLakeError) as caught:
        claim(catalog, run)
    assert caught.value.kind is DeltaLakeErrorKind.CONCURRENCY_ERROR


def facts(**changed: Any) -> TableFacts:
    known = {"table_id": "i", "namespace": "", "name": "t", "location": "/mine"}
    rest = {"log_location": "/mine/_delta_log", "mode": "fast", "head_version": 0}
    counts = {"known_since": 0, "num_files": 1, "total_bytes": 1}
    texts = {"skipping": json.dumps([]), "unreadable_features": ""}
    return TableFacts(**(known | rest | counts | texts | changed))


def swap_in(catalog: Catalog, run: Run, expected: TableRow | None) -> float:
    done = swap(catalog, run, facts(), load_id=run.run_key, expected=expected, summary={})
    return done.ms


def test_a_swap_wants_all_parts(catalog: Catalog) -> None:
    run = begin(catalog, "/mine")
    with pytest.raises(DeltaLakeError, match="aren't loaded"):
        swap_in(catalog, run, None)
    claim(catalog, run)
    assert swap_in(catalog, run, None) > 0


def test_a_swap_wants_the_load_that_it_began_with(catalog: Catalog) -> None:
    first, second = begin(catalog, "/mine"), begin(catalog, "/mine")
    for run in (first, second):
        claim(catalog, run)
    swap_in(catalog, first, None)
    row = queries.find_table(catalog, "t")
    for expected in (
        None,
        replace(row, live_load=second.run_key),
        replace(row, head_version=7),
        replace(row, epoch=2),
    ):
        with pytest.raises(DeltaLakeError) as caught:
            swap_in(catalog, second, expected)
        assert caught.value.kind is DeltaLakeErrorKind.CONCURRENCY_ERROR
        assert "another import" in caught.value.message
    swap_in(catalog, second, row)


def test_a_swap_of_a_load_that_was_cleaned_up_changes_nothing(
    catalog: Catalog, catalog_url: str
) -> None:
    run = begin(catalog, "/mine")
    claim(catalog, run)
    ledger.clean_up(catalog, "/mine")
    with pytest.raises(DeltaLakeError):
        swap_in(catalog, run, None)
    url = catalog_url
    with engine(url).connect() as connection:
        assert connection.execute(sa.text("SELECT * FROM dl_tables")).all() == []


def test_a_cluster_without_workers_is_refused() -> None:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        with pytest.raises(DeltaLakeError) as caught:
            executor_of(client, again="…")
        assert caught.value.kind is DeltaLakeErrorKind.CLUSTER_ERROR
        assert "no worker" in caught.value.message


def test_forgetting_a_run_that_never_was_is_nothing(tmp_path: Path) -> None:
    tasks.forget("never", str(tmp_path))
    tasks.forget("never", str(tmp_path / "nowhere"))
