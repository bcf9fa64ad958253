"""A night: what is proven is carried on, what wasn't reached is stale, what moves is no drift."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb import import_table
from deltalakedb.migrate.fleet import migrate_fleet
from deltalakedb.migrate.sources import Sources
from deltalakedb.sweep import run
from deltalakedb.sweep.night import TableNight
from deltalakedb.sweep.run import SweepOptions, SweepReport, sweep
from tests.fleet.logs import add_actions, fleet_of, write_data, write_log

NO_FILES = SweepOptions(data_files=False, full_share=0.0)


def imported(folder: Path, database: str) -> None:
    entries = Sources(discover=(str(folder),)).entries({})
    assert migrate_fleet(entries, database).exit_code == 0


def hows(report: SweepReport) -> dict[str, str | None]:
    return {t.row.full_name: t.how for t in report.tables}


def test_who_breaks_off_is_told_of_what_was_not_reached(tmp_path: Path) -> None:
    database = str(tmp_path / "m.sqlite")
    fleet_of(tmp_path / "lake", 3)
    imported(tmp_path / "lake", database)
    told: list[TableNight] = []

    def stop(done: int, total: int, table: TableNight) -> None:
        told.append(table)
        if len(told) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(database, NO_FILES, progress=stop)
    assert [t.status for t in told] == ["verified", "stale", "stale"]
    assert sorted(t.row.name for t in told) == ["t000", "t001", "t002"]
    # What was proven is; the others come first the next night.
    assert [t.name for t in _order(database)] == [t.row.name for t in (*told[1:], told[0])]


@pytest.mark.system
@pytest.mark.parametrize("fixture", ["pg_database", "mysql_database"])
def test_other_databases_are_asked_the_same(
    fixture: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    database = request.getfixturevalue(fixture)
    for table in fleet_of(tmp_path / "lake", 2):
        write_data(table)
    imported(tmp_path / "lake", database)
    assert sweep(database, SweepOptions(night=1)).exit_code == 0
    for name in ("d=2024-01-01/part-0", "d=2024-01-02/part-1", "d=2024-01-03/part-2"):
        path = tmp_path / "lake" / "t001" / f"{name}.parquet"
        path.write_bytes(b"x" * path.stat().st_size)
    for night in range(2, 9):
        sound, damaged = sweep(database, SweepOptions(night=night)).tables
        assert sound.status == "verified"
        if damaged.findings:
            break
    assert {found.kind for found in damaged.findings} == {"data-file-changed"}


def _order(database: str) -> list[Any]:
    seen: list[Any] = []
    sweep(database, NO_FILES, progress=lambda done, total, table: seen.append(table.row))
    return seen


def test_what_is_proven_is_carried_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deltalakedb.sweep.night.SMALL_LOG", 0)
    database = str(tmp_path / "m.sqlite")
    tables = fleet_of(tmp_path / "lake", 4, commits=4)
    imported(tmp_path / "lake", database)
    assert set(hows(sweep(database, NO_FILES)).values()) == {"full"}
    assert set(hows(sweep(database, NO_FILES)).values()) == {"unchanged"}
    gone = "d=2024-01-02/part-1.parquet"
    for table in tables[:3]:
        write_log(table, 2, first=4)
        remove = {"path": gone, "deletionTimestamp": 1, "dataChange": True, "size": 1001}
        add_actions(table, 5, {"remove": remove})
        import_table(str(table), database=database)
    with sqlite3.connect(database) as connection:
        # One misses the remove, and another closes what no commit removes.
        for name, change in (
            ("t001", f"removed_version = 9223372036854775807 WHERE path = '{gone}'"),
            ("t002", "removed_version = 5 WHERE path LIKE '%part-0%'"),
        ):
            done = connection.execute(
                f"UPDATE dl_files_heap SET {change} AND load_id = (SELECT live_load FROM dl_heads "
                "h JOIN dl_tables t ON t.table_key = h.table_key WHERE t.name = ?)",
                (name,),
            )
            assert done.rowcount == 1
    connection.close()
    night = sweep(database, NO_FILES)
    assert hows(night) == {"t000": "carried", "t001": "full", "t002": "full", "t003": "unchanged"}
    assert [t.status for t in night.tables] == ["verified", "drift", "drift", "verified"]
    assert night.tables[1].file_drift == night.tables[2].file_drift == 1
    assert hows(sweep(database, NO_FILES))["t000"] == "unchanged"


def test_a_deadline_leaves_tables_stale(tmp_path: Path) -> None:
    database = str(tmp_path / "m.sqlite")
    fleet_of(tmp_path / "lake", 2)
    imported(tmp_path / "lake", database)
    late = sweep(database, SweepOptions(data_files=False, deadline=1e-9))
    assert late.counts == {"stale": 2}
    assert (late.exit_code, "2 were not looked at" in late.verdict) == (75, True)
    # No proof, and no run that would look like one.
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM dl_parity_runs").fetchone() == (0,)
    connection.close()


def test_what_a_stopped_sweep_has_proven_is_kept(tmp_path: Path) -> None:
    database = str(tmp_path / "m.sqlite")
    fleet_of(tmp_path / "lake", 2)
    imported(tmp_path / "lake", database)

    def stop(done: int, total: int, table: TableNight) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(database, NO_FILES, progress=stop)
    assert sorted(map(str, hows(sweep(database, NO_FILES)).values())) == ["full", "unchanged"]


def test_lag_is_no_drift_and_an_import_ends_it(tmp_path: Path) -> None:
    database = str(tmp_path / "m.sqlite")
    [table] = fleet_of(tmp_path / "lake", 1)
    imported(tmp_path / "lake", database)
    write_log(table, 1, first=3)
    night = sweep(database, NO_FILES)
    assert (night.counts, night.exit_code) == ({"lag": 1}, 3)
    assert night.tables[0].findings[0].command("t000") == "dl import --table-id t000"
    assert night.tables[0].lag_seconds > 0
    patient = SweepOptions(data_files=False, lag_threshold=1e12)
    assert sweep(database, patient).exit_code == 0
    import_table(str(table), database=database)
    assert sweep(database, NO_FILES).exit_code == 0


@pytest.mark.parametrize("when", ["listed", "read"])
def test_what_is_committed_meanwhile_is_no_drift(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = str(tmp_path / "m.sqlite")
    [table] = fleet_of(tmp_path / "lake", 1)
    imported(tmp_path / "lake", database)
    assert sweep(database, NO_FILES).exit_code == 0
    name = {"listed": "list_whole", "read": "file_sums"}[when]
    original = getattr(run, name)
    versions = iter((3, 4))

    def then_another_comes(*arguments: Any) -> Any:
        found = original(*arguments)
        write_log(table, 1, first=next(versions))
        import_table(str(table), database=database)
        return found

    monkeypatch.setattr(run, name, then_another_comes)
    night = sweep(database, NO_FILES)
    assert (night.exit_code, night.tables[0].findings) == (0, [])
    monkeypatch.undo()
    assert sweep(database, NO_FILES).exit_code == 0


def test_full_proofs_go_round_by_bytes(tmp_path: Path) -> None:
    database = str(tmp_path / "m.sqlite")
    fleet_of(tmp_path / "lake", 7)
    imported(tmp_path / "lake", database)
    sweep(database, NO_FILES)
    seen: list[str] = []
    for _ in range(7):
        night = sweep(database, SweepOptions(data_files=False))
        full = [name for name, how in hows(night).items() if how == "full"]
        assert len(full) == 1
        seen += full
    assert sorted(seen) == [f"t{n:03d}" for n in range(7)]


def test_what_was_not_seen_is_told(any_catalog_url: str, tmp_path: Path) -> None:
    fleet_of(tmp_path / "lake", 2)
    imported(tmp_path / "lake", any_catalog_url)
    rows = pa.table({"x": range(10)})
    uri = f"deltasql://{any_catalog_url}?table=u"
    own = dl.create_table(uri, rows.schema, location=str(tmp_path / "u"))
    own.append(rows)
    own.delete("x = 3")
    own.close()
    assert sweep(any_catalog_url, NO_FILES).exit_code == 0
    told = sweep(any_catalog_url, NO_FILES)
    assert told.exit_code == 0
    first = json.loads(json.dumps(told.to_json()))["tables"][0]
    assert first["how"] == "unchanged"
    assert "3 of 3 data files" in first["not_seen"]
    assert "the content of commits that were read before" in first["not_seen"]


def test_streams_are_carried_on_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their commits say application transactions and domains besides files."""
    monkeypatch.setattr("deltalakedb.sweep.night.SMALL_LOG", 0)
    database = str(tmp_path / "m.sqlite")
    tables = fleet_of(tmp_path / "lake", 3, commits=2)
    for table in tables:
        said(table, 1, 7)
    imported(tmp_path / "lake", database)
    sweep(database, NO_FILES)
    for table in tables:
        write_log(table, 2, first=2)
        said(table, 2, 8)
        said(table, 3, 9)
        import_table(str(table), database=database)
    with closing(sqlite3.connect(database)) as connection, connection:
        for name, change in (("dl_txns", "version = 8"), ("dl_domains", "configuration = '{}'")):
            place = "t001" if name == "dl_txns" else "t002"
            done = connection.execute(
                f"UPDATE {name} SET {change} WHERE removed_version > 100 AND load_id = (SELECT "
                "live_load FROM dl_heads h JOIN dl_tables t ON t.table_key = h.table_key "
                "WHERE t.name = ?)",
                (place,),
            )
            assert done.rowcount == 1
    night = sweep(database, NO_FILES)
    assert hows(night) == {"t000": "carried", "t001": "full", "t002": "full"}
    kinds = [{f.kind for f in t.findings} for t in night.tables]
    assert kinds == [set(), {"txns-changed"}, {"domains-changed"}]


def said(table: Path, version: int, number: int) -> None:
    """A stream's batch, and a domain, in a commit that is there."""
    add_actions(
        table,
        version,
        {"txn": {"appId": "stream", "version": number, "lastUpdated": number}},
        {"domainMetadata": {"domain": "d", "configuration": f'{{"n":{number}}}', "removed": False}},
    )
