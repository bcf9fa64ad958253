"""Writers that know no fence: adopted, counted and told of while the probation lasts."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import deltalakedb as dl
from deltalakedb.catalog.dialects.writer import Statement
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.migrate.cut import cutover_table
from deltalakedb.migrate.move import move_table
from deltalakedb.migrate.options import MoveOptions
from deltalakedb.migrate.recommit import recommit_stranded
from deltalakedb.migrate.recover import repair_table
from deltalakedb.migrate.rollback import rollback_table
from deltalakedb.mirror import publish
from deltalakedb.mirror.committer import LogRatifier
from deltalakedb.mirror.resolve import examine
from deltalakedb.uri import parse_database
from tests.moving.test_move import append, rows, seen, state
from tests.moving.test_rollback import in_sql


def stranger(place: Path, *values: int, version: int | None = None) -> int:
    """An append by hand that asks no protocol; with `version` over what is there."""
    log = place / "_delta_log"
    newest = max(int(p.stem) for p in log.glob("*.json"))
    name = f"stranger-{values[0]}.parquet"
    pq.write_table(pa.table({"x": pa.array(values, pa.int64())}), place / name)
    add = {
        "path": name,
        "partitionValues": {},
        "size": (place / name).stat().st_size,
        "modificationTime": 1,
        "dataChange": True,
        "stats": json.dumps({"numRecords": len(values)}),
    }
    info = {"timestamp": time.time_ns() // 1_000_000, "operation": "WRITE", "engineInfo": "home/1"}
    text = "".join(json.dumps(line) + "\n" for line in ({"commitInfo": info}, {"add": add}))
    taken = newest + 1 if version is None else version
    (log / f"{taken:020d}.json").write_text(text)
    return taken


@pytest.fixture
def moved(tmp_path: Path, sqlite_url: str) -> Path:
    """A table in its probation."""
    append(tmp_path / "t", 1)
    move_table(
        str(tmp_path / "t"), database=sqlite_url, options=MoveOptions(probation_seconds=3600)
    )
    return tmp_path / "t"


def end_probation(database: str) -> None:
    """As when its time is over."""
    with writing(parse_database(database)) as writer:
        writer.transact([Statement("UPDATE dl_migrations SET probation_until = 0")])


def test_a_commit_behind_the_fence_is_adopted_and_told_of(
    moved: Path, sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    uri = f"deltasql://{sqlite_url}?table=t"
    dl.write_deltalake(uri, rows(2), mode="append")
    version = stranger(moved, 3)
    with caplog.at_level(logging.WARNING):
        dl.write_deltalake(uri, rows(4), mode="append")
    assert "by home/1, came past the fence" in caplog.text
    found = state(sqlite_url).details
    assert found["foreign_commits"] == 1
    [told] = found["foreign"]
    assert (told["version"], told["engine"]) == (version, "home/1")
    end_probation(sqlite_url)
    # The fence is renewed, and the probation begins anew.
    done = cutover_table("t", database=sqlite_url)
    assert done.migration.state == "probation"
    assert done.migration.details["fence"]["version"] > version
    assert "1 commit came past the fence" in str(done.migration.reason)
    end_probation(sqlite_url)
    assert cutover_table("t", database=sqlite_url).migration.state == "sql"
    assert seen(moved) == in_sql(sqlite_url) == [1, 2, 3, 4]
    assert dl.diff_table("t", database=sqlite_url).parity


def test_what_is_written_over_the_fence_gets_a_slot_of_its_own(
    moved: Path, sqlite_url: str
) -> None:
    fence = state(sqlite_url).fence_version
    assert fence is not None
    dl.write_deltalake(f"deltasql://{sqlite_url}?table=t", rows(2), mode="append")
    stranger(moved, 3, version=fence)
    done = cutover_table("t", database=sqlite_url)
    assert done.migration.state == "probation"
    [moved_over] = done.migration.details["overwritten"]
    assert (moved_over["version"], moved_over["engine"]) == (fence, "home/1")
    assert done.migration.details["foreign_commits"] == 1
    assert seen(moved) == in_sql(sqlite_url) == [1, 2, 3]
    end_probation(sqlite_url)
    assert cutover_table("t", database=sqlite_url).migration.state == "sql"
    with pytest.raises(deltalake.exceptions.DeltaError):
        append(moved, 4)
    assert dl.diff_table("t", database=sqlite_url).parity


def test_after_the_probation_a_stranger_is_in_the_way_and_nothing_is_lost(
    moved: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As of a log on the net, which isn't asked before each commit.
    monkeypatch.setattr(LogRatifier, "is_far", lambda *_: True)
    end_probation(sqlite_url)
    cutover_table("t", database=sqlite_url)
    table = dl.connect_to_table(f"deltasql://{sqlite_url}?table=t")
    table.append(rows(2))
    stranger(moved, 3)
    with pytest.raises(DeltaLakeError) as caught:
        table.append(rows(4))
    assert caught.value.kind is DeltaLakeErrorKind.MIRROR_CONFLICT
    assert caught.value.outcome == "committed"
    # It stays acknowledged: neither side is thrown away without a word.
    with pytest.raises(DeltaLakeError, match="versions 3 of t were acknowledged") as caught:
        rollback_table("t", database=sqlite_url)
    assert caught.value.kind is DeltaLakeErrorKind.MIRROR_CONFLICT
    assert caught.value.facts["unpublished"] == [3]
    with pytest.raises(DeltaLakeError, match="both went on from the same past") as caught:
        repair_table("t", database=sqlite_url)
    assert caught.value.kind is DeltaLakeErrorKind.LOG_DISAGREES
    assert in_sql(sqlite_url) == [1, 2, 4]
    assert seen(moved) == [1, 2, 3]
    # Somebody decides: the log goes on with what is there, a copy is kept, and committed again.
    row, url = table._head.row, parse_database(sqlite_url)
    assert "--discard-unpublished" in examine(url, row, publish.log_of(row, None))[-1]
    done = rollback_table("t", database=sqlite_url, discard_unpublished=True)
    assert [each.version for each in done.stranded] == [3]
    assert seen(moved) == in_sql(sqlite_url) == [1, 2, 3]
    append(moved, 5)
    assert recommit_stranded("t", database=sqlite_url).done == ((3, 6),)
    assert seen(moved) == in_sql(sqlite_url) == [1, 2, 3, 4, 5]
    assert dl.diff_table("t", database=sqlite_url).parity


def test_a_stranger_in_a_log_nearby_is_found_before_anything_is_acknowledged(
    moved: Path, sqlite_url: str
) -> None:
    end_probation(sqlite_url)
    cutover_table("t", database=sqlite_url)
    table = dl.connect_to_table(f"deltasql://{sqlite_url}?table=t")
    table.append(rows(2))
    stranger(moved, 3)
    with pytest.raises(DeltaLakeError, match="dl mirror repair t") as caught:
        table.append(rows(4))
    assert (caught.value.kind, caught.value.outcome) == (
        DeltaLakeErrorKind.MIRROR_CONFLICT,
        "failed",
    )
    assert repair_table("t", database=sqlite_url).adopted == (3, 3)
    table.append(rows(4))
    assert seen(moved) == in_sql(sqlite_url) == [1, 2, 3, 4]


def test_a_catalog_of_yesterday_is_recognised_and_brought_up(
    tmp_path: Path, sqlite_url: str
) -> None:
    place, uri = tmp_path / "t", f"deltasql://{sqlite_url}?table=t"
    yesterday = tmp_path / "yesterday"
    append(place, 1)
    move_table(str(place), database=sqlite_url)
    dl.write_deltalake(uri, rows(2), mode="append")
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(file)) as now, closing(sqlite3.connect(yesterday)) as copy:
        now.backup(copy)
    for value in (3, 4):
        dl.write_deltalake(uri, rows(value), mode="append")
    table = dl.connect_to_table(uri)
    for rest in ("-wal", "-shm"):
        file.with_name(file.name + rest).unlink(missing_ok=True)
    yesterday.replace(file)
    # Nothing is ratified twice.
    with pytest.raises(DeltaLakeError) as caught:
        table.append(rows(5))
    assert caught.value.kind is DeltaLakeErrorKind.MIRROR_CONFLICT
    done = repair_table("t", database=sqlite_url)
    assert done.adopted == (3, 4)
    assert not done.rebuilt
    assert seen(place) == in_sql(sqlite_url) == [1, 2, 3, 4]
    dl.write_deltalake(uri, rows(6), mode="append")
    assert seen(place) == in_sql(sqlite_url) == [1, 2, 3, 4, 6]
    assert dl.diff_table("t", database=sqlite_url).parity


def test_a_lost_catalog_is_made_from_the_log_and_takes_over(
    tmp_path: Path, sqlite_url: str
) -> None:
    place, other = tmp_path / "t", f"sqlite:///{tmp_path}/other.sqlite"
    append(place, 1)
    move_table(str(place), database=sqlite_url)
    dl.write_deltalake(f"deltasql://{sqlite_url}?table=t", rows(2), mode="append")
    dl.import_table(log_dir=str(place), database=other)
    # While the first one may be alive, two must not ratify.
    with pytest.raises(DeltaLakeError, match="another catalog"):
        dl.write_deltalake(f"deltasql://{other}?table=t", rows(3), mode="append")
    with pytest.raises(DeltaLakeError, match="another catalog"):
        cutover_table("t", database=other)
    done = cutover_table("t", database=other, options=MoveOptions(take_over=True))
    assert done.success
    dl.write_deltalake(f"deltasql://{other}?table=t", rows(3), mode="append")
    assert seen(place) == in_sql(other) == [1, 2, 3]
    with pytest.raises(DeltaLakeError):
        dl.write_deltalake(f"deltasql://{sqlite_url}?table=t", rows(4), mode="append")
    assert seen(place) == [1, 2, 3]


def test_a_catalog_that_comes_back_after_another_took_over_only_follows(
    tmp_path: Path, sqlite_url: str
) -> None:
    place, other = tmp_path / "t", f"sqlite:///{tmp_path}/other.sqlite"
    append(place, 1)
    move_table(str(place), database=sqlite_url)
    dl.import_table(log_dir=str(place), database=other)
    assert cutover_table("t", database=other, options=MoveOptions(take_over=True)).success
    with pytest.raises(DeltaLakeError, match="another catalog") as caught:
        repair_table("t", database=sqlite_url)
    assert caught.value.kind is DeltaLakeErrorKind.MIRROR_CONFLICT
    # Nor does it take down a fence that isn't its own.
    with pytest.raises(DeltaLakeError, match="another catalog"):
        rollback_table("t", database=sqlite_url)
    with pytest.raises(DeltaLakeError, match="another catalog"):
        dl.write_deltalake(f"deltasql://{sqlite_url}?table=t", rows(4), mode="append")
    dl.write_deltalake(f"deltasql://{other}?table=t", rows(5), mode="append")
    dl.import_table(log_dir=str(place), database=sqlite_url)
    assert seen(place) == in_sql(other) == in_sql(sqlite_url) == [1, 5]
