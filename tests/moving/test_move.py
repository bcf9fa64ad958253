"""Moving a table into the catalog: strategies, states, and what stops them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path

import deltalake
import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.migrate.analysis import analyze_source
from deltalakedb.migrate.move import move_table
from deltalakedb.migrate.options import MoveOptions
from deltalakedb.migrate.records import Migration, all_migrations
from deltalakedb.migrate.steps import MOVE_POINTS, Hooks, Pace


def rows(*values: int) -> pa.Table:
    return pa.table({"x": pa.array(values, pa.int64())})


def append(place: Path, *values: int) -> None:
    """By a file-based writer."""
    deltalake.write_deltalake(str(place), rows(*values), mode="append")


def seen(place: Path) -> list[int]:
    """By a file-based reader."""
    found = deltalake.DeltaTable(str(place)).to_pyarrow_table()
    return sorted(found.column("x").to_pylist())


def state(database: str) -> Migration:
    with Catalog(database) as catalog:
        [found] = all_migrations(catalog)
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A table with two commits."""
    append(tmp_path / "t", 1)
    append(tmp_path / "t", 2)
    return tmp_path / "t"


@pytest.mark.parametrize("strategy", ["offline", "online", "hybrid"])
def test_a_table_is_moved(strategy: str, place: Path, sqlite_url: str) -> None:
    points: list[str] = []

    def on(point: str, facts: Mapping[str, object]) -> None:
        points.append(point)
        assert facts["table"] == "t"

    said = analyze_source(str(place)).estimated_seconds
    options = MoveOptions(strategy=strategy, estimated_seconds=said)  # type: ignore[arg-type]
    done = move_table(str(place), database=sqlite_url, options=options, on=on)
    assert done.success
    assert done.migration.details["estimated_seconds"] == said
    assert {"importing", "following"} <= done.migration.details["seconds"].keys()
    assert done.migration.state == "sql"
    assert done.parity_version == done.migration.fence_version == 2
    assert tuple(points) == MOVE_POINTS
    assert done.proof is not None
    assert done.proof.parity
    with pytest.raises(deltalake.exceptions.DeltaError, match="sqlAuthority"):
        append(place, 3)
    dl.write_deltalake(f"deltasql://{sqlite_url}?table=t", rows(3), mode="append")
    assert seen(place) == [1, 2, 3]
    again = move_table(str(place), database=sqlite_url, options=options)
    assert again.success
    assert again.migration.state == "sql"
    assert len(deltalake.DeltaTable(str(place)).history()) == 4


def test_ready_stays_caught_up_until_it_is_told_to_stop(place: Path, sqlite_url: str) -> None:
    options = MoveOptions(strategy="hybrid", until="ready", pace=Pace(rounds_per_second=50))
    uri = f"deltasql://{sqlite_url}?table=t"
    looks = 0

    def stop() -> bool:
        nonlocal looks
        looks += 1
        if looks == 1:
            append(place, 3)
            dl.write_deltalake(uri, rows(4), mode="append")
            append(place, 5)
        found = dl.connect_to_table(uri).to_pyarrow_table()["x"].to_pylist()
        return sorted(found) == [1, 2, 3, 4, 5]

    done = move_table(str(place), database=sqlite_url, options=options, stop=stop)
    assert done.success
    assert looks > 1
    assert done.migration.state == "ready"
    append(place, 6)
    assert move_table(str(place), database=sqlite_url).migration.state == "sql"
    assert seen(place) == [1, 2, 3, 4, 5, 6]
    assert dl.diff_table("t", database=sqlite_url).parity


def test_offline_refuses_a_table_that_is_written_to(place: Path, sqlite_url: str) -> None:
    def on(point: str, facts: Mapping[str, object]) -> None:
        if point == "cutting":
            append(place, 3)

    with pytest.raises(DeltaLakeError, match="was written to while it was moved offline"):
        move_table(str(place), database=sqlite_url, options=MoveOptions(strategy="offline"), on=on)
    failed = state(sqlite_url)
    assert (failed.state, failed.step) == ("failed", "following")
    append(place, 4)
    assert move_table(str(place), database=sqlite_url).success
    assert seen(place) == [1, 2, 3, 4]


def test_a_hook_that_fails_stops_a_move_and_leaves_the_table_writable(
    place: Path, sqlite_url: str, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    hooks = Hooks(
        {
            "on-plan": f'echo "$DL_TABLE $DL_STRATEGY $DL_STATE" > {told}',
            "before-freeze": "exit 3",
            "on-failure": f'echo "$DL_POINT: $DL_ERROR" >> {told}',
        }
    )
    with pytest.raises(DeltaLakeError, match="the hook before-freeze ended with 3"):
        move_table(str(place), database=sqlite_url, on=hooks)
    said = told.read_text().splitlines()
    assert said[0] == "t online planned"
    assert said[1].startswith("failure: the hook before-freeze ended with 3")
    assert (state(sqlite_url).state, state(sqlite_url).step) == ("failed", "cutting")
    append(place, 3)
    assert move_table(str(place), database=sqlite_url).success
    with pytest.raises(DeltaLakeError, match="no hook 'on-monday'"):
        Hooks({"on-monday": "true"})


def test_a_probation_claims_each_slot_in_the_log_first(place: Path, sqlite_url: str) -> None:
    uri = f"deltasql://{sqlite_url}?table=t"
    options = MoveOptions(probation_seconds=3600)
    done = move_table(str(place), database=sqlite_url, options=options)
    assert done.success
    assert done.migration.state == "probation"
    assert "probation" in str(done.migration.reason)
    dl.write_deltalake(uri, rows(3), mode="append")
    with pytest.raises(deltalake.exceptions.DeltaError):
        append(place, 4)
    assert dl.connect_to_table(uri)._head.row.authority == "log"
    with (
        pytest.raises(DeltaLakeError, match="its log decides"),
        dl.begin(sqlite_url) as transaction,
    ):
        transaction.append("t", rows(5))
    assert seen(place) == [1, 2, 3]


def test_writers_that_may_overwrite_the_fence_are_refused(place: Path, sqlite_url: str) -> None:
    options = MoveOptions(log_writers="dynamodb")
    with pytest.raises(DeltaLakeError, match="may overwrite the fence") as caught:
        move_table(str(place), database=sqlite_url, options=options)
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT
    with pytest.raises(DeltaLakeError, match="no strategy 'sideways'"):
        MoveOptions(strategy="sideways")  # type: ignore[arg-type]


def test_a_table_is_analysed_and_nothing_written(place: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    found = analyze_source(str(place))
    assert (found.version, found.total_versions, found.total_files) == (1, 2, 2)
    assert found.total_bytes == sum(p.stat().st_size for p in place.glob("*.parquet"))
    [writer] = found.writers
    assert writer.engine.startswith("delta-rs")
    assert (writer.commits, writer.last_version) == (2, 1)
    assert sum(writer.operations.values()) == 2
    assert not found.refusals
    least, most = found.estimated_range
    assert 0 < least < found.estimated_seconds < most
    assert f"(from {least:.1f} to {most:.1f} s)" in str(found)
    assert "writer:" in str(found)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_catalog_tells_how_fast_it_is(place: Path, sqlite_url: str) -> None:
    """What small imports took there tells its latency, whatever a disk would have taken."""
    dl.import_table(str(place), database=sqlite_url)
    writer = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    for seconds in (1_000.0, 2_000.0):
        with writer:
            writer.execute("UPDATE dl_import_runs SET seconds = ?", (seconds,))
        found = analyze_source(str(place), database=sqlite_url)
        assert found.rates.source == "catalog"
        assert found.rates.seconds_of_import(2) == pytest.approx(seconds, rel=0.1)
        assert found.estimated_seconds > found.rates.import_seconds
    writer.close()
