"""`dl migrate` of many tables: what fails stops nothing, what is done isn't done again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from deltalakedb import diff_table
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.reading.queries import all_tables
from deltalakedb.migrate import claims
from deltalakedb.migrate.mapping import read_mapping
from deltalakedb.migrate.sources import Sources
from tests.cli.commands import DL, dl, error_of, process
from tests.fleet.logs import content, fleet_of, write_log


def migrate(database: Path | str, *arguments: object, code: int = 0) -> dict[str, Any]:
    """Run `dl migrate` here; what it writes as JSON."""
    out = Path(os.environ["DL_TEST_OUT"]) / "out.json"
    dl("migrate", "--database", database, *arguments, "--json-output", out, code=code)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.fixture(autouse=True)
def _out(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DL_TEST_OUT", str(tmp_path_factory.mktemp("out")))


def statuses(report: dict[str, Any]) -> dict[str, str]:
    return {t["table"]: t["status"] for t in report["tables"]}


def test_one_failing_table_stops_none(tmp_path: Path) -> None:
    lake, database = tmp_path / "lake", tmp_path / "m.sqlite"
    tables = fleet_of(lake, 4)
    broken = tables[1] / "_delta_log" / f"{1:020d}.json"
    whole = broken.read_text()
    broken.unlink()
    report = migrate(database, "--discover", lake, code=1)
    assert statuses(report) == {
        "t000": "imported",
        "t001": "failed",
        "t002": "imported",
        "t003": "imported",
    }
    failed = report["tables"][0]
    assert (failed["error_kind"], failed["table"]) == ("missing_commit", "t001")
    assert "--retry-failed" in failed["what_to_do"]
    # Without being asked it isn't tried again, and still told; mended and asked for, it comes in.
    broken.write_text(whole)
    again = migrate(database, "--discover", lake, code=1)
    assert again["counts"] == {"failed": 1, "unchanged": 3}
    assert again["tables"][0]["error"] == failed["error"]
    write_log(tables[2], commits=2, first=3)
    last = migrate(database, "--discover", lake, "--retry-failed")
    assert last["counts"] == {"imported": 1, "caught_up": 1, "unchanged": 2}
    for table in tables:
        assert diff_table(table.name, database=str(database)).parity
    assert migrate(database, "--discover", lake)["counts"] == {"unchanged": 4}


def test_fail_fast_and_a_deadline_begin_nothing_more(tmp_path: Path) -> None:
    lake, database = tmp_path / "lake", tmp_path / "m.sqlite"
    tables = fleet_of(lake, 6)
    (tables[0] / "_delta_log" / f"{1:020d}.json").unlink()
    report = migrate(database, "--discover", lake, "--fail-fast", code=1)
    # Batches of three, one worker.
    assert report["counts"] == {"failed": 1, "left": 3, "imported": 2}
    late = migrate(tmp_path / "other.sqlite", "--discover", lake, "--deadline", 1e-9, code=75)
    assert late["counts"] == {"left": 6}


def test_a_dry_run_changes_nothing_and_its_mapping_is_taken(tmp_path: Path) -> None:
    lake, database = tmp_path / "lake", tmp_path / "m.sqlite"
    fleet_of(lake / "x", 2)
    write_log(lake / "y" / "t000")
    before = {p: (p.stat().st_mtime_ns, p.is_file() and p.read_bytes()) for p in lake.rglob("*")}
    mapping = tmp_path / "map.csv"
    told = dl(
        "migrate", "--database", database, "--discover", lake, "--assess",
        "--write-mapping", mapping, "--format", "json",
    )  # fmt: skip
    first = json.loads(told.stdout.splitlines()[0])
    assert (first["total_files"], first["total_bytes"], first["version"]) == (3, 3003, 2)
    assert first["writers"][0]["engine"] == "delta-rs:1.6.6"
    assert first["writers"][0]["user"] == "ada"
    dl("migrate", "--database", database, "--discover", lake, "--dry-run")
    after = {p: (p.stat().st_mtime_ns, p.is_file() and p.read_bytes()) for p in lake.rglob("*")}
    assert before == after
    assert not database.exists()
    # Both are called t000 once a namespace is given for all of them.
    where = ("--database", database, "--discover", lake, "--namespace", "n")
    assert "n.t000 would be both" in error_of("migrate", *where)
    assert not database.exists()

    text = mapping.read_text().replace(",y,t000,online,", ",sales,orders,hybrid,")
    mapping.write_text(text.replace(",x,t001,online,,", ",x,t001,online,yes,"))
    report = migrate(database, "--mapping", mapping)
    assert statuses(report) == {
        "sales.orders": "imported",
        "x.t000": "imported",
        "x.t001": "skipped",
    }
    with Catalog(str(database)) as catalog:
        rows = claims.rows_by_location(catalog)
        existing = {row.location: row for row in all_tables(catalog)}
    assert rows[str(lake / "y" / "t000")].strategy == "hybrid"
    assert rows[str(lake / "y" / "t000")].state == "following"
    # With the catalog there, a dry run leaves its bytes alone too.
    held = database.read_bytes()
    dl("migrate", "--database", database, "--discover", lake, "--dry-run")
    assert database.read_bytes() == held
    [again] = Sources(discover=(str(lake / "y"),)).entries(existing)
    assert again.full_name == "sales.orders"
    assert len(read_mapping(str(mapping))) == 3


def test_a_configuration_names_the_tables(tmp_path: Path) -> None:
    fleet_of(tmp_path / "lake", 1)
    config = tmp_path / "c.yaml"
    config.write_text(
        f"database: {{url: {tmp_path / 'm.sqlite'}}}\nmigration: {{strategy: offline}}\n"
        f"tables: {{discover: {tmp_path / 'lake'}, namespace: sales}}\n"
    )
    assert "1 imported" in dl("migrate", "--config", config).stdout
    with Catalog(str(tmp_path / "m.sqlite")) as catalog:
        [row] = claims.rows_by_location(catalog).values()
    assert (row.table_name, row.strategy) == ("sales.t000", "offline")
    config.write_text(config.read_text().replace("discover", "discovr"))
    assert "did you mean 'discover'" in error_of("migrate", "--config", config)


def test_tables_are_brought_on_by_their_strategies(tmp_path: Path) -> None:
    lake, database = tmp_path / "lake", tmp_path / "m.sqlite"
    fleet_of(lake, 2)
    report = migrate(database, "--discover", lake, "--until", "ready")
    assert report["counts"] == {"ready": 2}
    done = migrate(database, "--discover", lake, "--until", "sql")
    assert done["counts"] == {"sql": 2}
    with Catalog(str(database)) as catalog:
        assert {row.authority for row in all_tables(catalog)} == {"sql"}
    assert migrate(database, "--discover", lake, "--until", "sql")["counts"] == {"unchanged": 2}


def test_a_large_table_comes_in_beside_small_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deltalakedb.importing.together.SMALL_LOG_BYTES", 5_000)
    lake, database = tmp_path / "lake", tmp_path / "m.sqlite"
    fleet_of(lake, 2)
    write_log(lake / "big", commits=20)
    report = migrate(database, "--discover", lake)
    assert report["counts"] == {"imported": 3}
    assert diff_table("big", database=str(database)).parity


def test_a_fleet_on_every_database(any_catalog_url: str, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    tables = fleet_of(lake, 3)
    assert migrate(any_catalog_url, "--discover", lake)["counts"] == {"imported": 3}
    write_log(tables[0], commits=1, first=3)
    counts = migrate(any_catalog_url, "--discover", lake)["counts"]
    assert counts == {"caught_up": 1, "unchanged": 2}
    assert diff_table("t000", database=any_catalog_url).parity


def test_claims_are_taken_from_the_dead_alone(tmp_path: Path) -> None:
    entries = Sources(discover=(str(tmp_path / "lake"),)).entries
    fleet_of(tmp_path / "lake", 3)
    with Catalog(str(tmp_path / "m.sqlite"), create=True) as catalog:
        found = entries({})
        places = [e.location for e in found]
        claims.plan(catalog, [(e, f"{e.location}/_delta_log") for e in found])
        first, second = claims.new_run(), claims.new_run()
        alive, other = (claims.begin_run(catalog, run) for run in (first, second))
        assert claims.claim(catalog, first, places[:2]) == set(places[:2])
        assert claims.claim(catalog, second, places) == {places[2]}
        # A task that is repeated has what it had.
        assert claims.claim(catalog, first, places[:2]) == set(places[:2])
        alive.release()
        assert claims.claim(catalog, second, places) == set(places)
        claims.give_back(catalog, second)
        assert {r.state for r in claims.rows_by_location(catalog).values()} == {"planned"}
        other.release()


def test_several_runs_share_the_tables(tmp_path: Path) -> None:
    lake, database = tmp_path / "lake", tmp_path / "m.sqlite"
    fleet_of(lake, 16, commits=1)
    command = [str(DL), "migrate", "--database", str(database), "--discover", str(lake)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [run.communicate(timeout=240)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], told
    with Catalog(str(database)) as catalog:
        assert len(all_tables(catalog)) == 16
    found = content(database)
    assert len(found["dl_import_runs"]) == 16
    assert migrate(database, "--discover", lake)["counts"] == {"unchanged": 16}


def kill_and_repeat(lake: Path, database: Path, kills: int, seed: int) -> None:
    """Kill `dl migrate` at random moments, then let it end."""
    command = [str(DL), "migrate", "--database", str(database), "--discover", str(lake)]
    chance = random.Random(seed)
    for _ in range(kills):
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        time.sleep(chance.uniform(0.3, 2.0))
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    assert process(*command[1:]).returncode == 0


def same_after_kills(tmp_path: Path, tables: int, kills: int) -> None:
    lake = tmp_path / "lake"
    fleet_of(lake, tables)
    killed, quiet = tmp_path / "killed.sqlite", tmp_path / "quiet.sqlite"
    kill_and_repeat(lake, killed, kills, seed=tables)
    assert process("migrate", "--database", quiet, "--discover", lake).returncode == 0
    ours, theirs = content(killed), content(quiet)
    for name in theirs:
        if name != "dl_import_runs":
            assert ours[name] == theirs[name], name


def test_killed_and_run_again_the_end_is_the_same(tmp_path: Path) -> None:
    same_after_kills(tmp_path, tables=20, kills=1)


@pytest.mark.long
def test_killed_twenty_times_the_end_is_the_same(tmp_path: Path) -> None:
    same_after_kills(tmp_path, tables=600, kills=20)
