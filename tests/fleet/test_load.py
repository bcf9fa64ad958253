"""A thousand tables: the last costs what the tenth did, and again costs a listing each."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from deltalakedb.migrate.fleet import FleetOptions, migrate_fleet
from deltalakedb.migrate.sources import Sources
from deltalakedb.sweep.run import SweepOptions, sweep
from tests.fleet.logs import fleet_of

pytestmark = pytest.mark.long


def test_a_thousand_tables(pg_database: str, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    fleet_of(lake, 1_000, commits=10)
    entries = Sources(discover=(str(lake),)).entries({})
    parts = []
    for some in (entries[:100], entries[100:900], entries[900:]):
        began = time.process_time()
        report = migrate_fleet(some, pg_database, FleetOptions())
        parts.append((time.process_time() - began) / len(some))
        assert report.counts == {"imported": len(some)}
    began = time.process_time()
    assert migrate_fleet(entries, pg_database).counts == {"unchanged": 1_000}
    again = time.process_time() - began
    told = ", ".join(f"{1000 * part:.1f}" for part in parts)
    print(
        f"ms of CPU a table, the first, middle and last ones: {told}; again {again:.2f} s for all"
    )
    # Target 1.3; on a busy machine CPU varies by as much again.
    assert parts[2] <= 2.6 * parts[0]
    assert again <= 0.3 * sum(p * n for p, n in zip(parts, (100, 800, 100), strict=True))
    options = SweepOptions(data_files=False, full_share=0.0)
    assert sweep(pg_database, options, wanted=lambda row: row.name < "t1").exit_code == 0
    began = time.process_time()
    report = sweep(pg_database, options, wanted=lambda row: row.name < "t1")
    print(f"a hundred tables in which nothing is new: {time.process_time() - began:.2f} s of CPU")
    assert {t.how for t in report.tables} == {"unchanged"}
