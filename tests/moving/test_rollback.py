"""Back to file-based writers: with the catalog, without it, and what each side has kept."""

from __future__ import annotations

import json
from pathlib import Path

import deltalake
import pytest

import deltalakedb as dl
from deltalakedb.catalog.dialects.writer import Statement
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.migrate import recover
from deltalakedb.migrate.move import move_table
from deltalakedb.migrate.options import MoveOptions
from deltalakedb.migrate.points import (
    create_rollback_point,
    prune_rollback_points,
    rollback_points,
)
from deltalakedb.migrate.recommit import recommit_stranded
from deltalakedb.migrate.rollback import rollback_table, rollback_without_catalog
from deltalakedb.migrate.steps import ROLLBACK_POINTS
from deltalakedb.mirror import publish
from deltalakedb.mirror.committer import LogRatifier
from deltalakedb.uri import parse_database
from tests.moving.test_move import append, rows, seen, state


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A table with one commit."""
    append(tmp_path / "t", 1)
    return tmp_path / "t"


def through_sql(database: str, *values: int) -> None:
    dl.write_deltalake(f"deltasql://{database}?table=t", rows(*values), mode="append")


def in_sql(database: str) -> list[int]:
    found = dl.connect_to_table(f"deltasql://{database}?table=t").to_pyarrow_table()
    return sorted(found["x"].to_pylist())


def test_there_and_back_again(place: Path, sqlite_url: str) -> None:
    before = deltalake.DeltaTable(str(place)).protocol()
    expected = [1]
    for number in range(2):
        move_table(str(place), database=sqlite_url)
        through_sql(sqlite_url, 10 + number)
        points: list[str] = []
        done = rollback_table("t", database=sqlite_url, on=lambda p, _, seen=points: seen.append(p))
        assert tuple(points) == ROLLBACK_POINTS
        assert not done.stranded
        assert not done.features
        assert deltalake.DeltaTable(str(place)).protocol() == before
        append(place, 20 + number)
        # SQL may write too: the log ratifies.
        through_sql(sqlite_url, 30 + number)
        expected += [10 + number, 20 + number, 30 + number]
        assert seen(place) == in_sql(sqlite_url) == sorted(expected)
    assert state(sqlite_url).state == "following"
    again = rollback_table("t", database=sqlite_url)
    assert (again.version, again.changed) == (deltalake.DeltaTable(str(place)).version(), False)
    assert dl.diff_table("t", database=sqlite_url).parity
    kept = [(p.reason, p.version) for p in rollback_points("t", database=sqlite_url)]
    assert kept == [("cutover", 0), ("rollback", 2), ("cutover", 5), ("rollback", 7)]


def test_a_log_without_room_for_the_last_commit(
    place: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalog has handed the table back, and its log hears of it later: nothing is lost."""
    move_table(str(place), database=sqlite_url)

    def full(*arguments: object) -> None:
        raise DeltaLakeError(DeltaLakeErrorKind.STORAGE_ERROR, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(publish, "put", full)
        with pytest.raises(DeltaLakeError, match="no space left"):
            rollback_table("t", database=sqlite_url)
        report = dl.diff_table("t", database=sqlite_url)
        with pytest.raises(DeltaLakeError, match="dl mirror drain t"):
            dl.import_table(
                log_dir=str(place), database=sqlite_url, table_id=report.table_id, rebuild=True
            )
    assert (report.exit_code, report.missing_commits) == (3, ())
    assert "publish what the log lacks: `dl mirror drain`" in str(report)
    assert rollback_table("t", database=sqlite_url).version == 2
    append(place, 2)
    through_sql(sqlite_url, 3)
    assert seen(place) == in_sql(sqlite_url) == [1, 2, 3]


def test_there_is_nothing_to_roll_back_before_a_cutover(place: Path, sqlite_url: str) -> None:
    move_table(str(place), database=sqlite_url, options=MoveOptions(until="ready"))
    points: list[str] = []
    done = rollback_table("t", database=sqlite_url, on=lambda p, _: points.append(p))
    assert (done.changed, done.version, points) == (False, 0, [])
    assert state(sqlite_url).state == "ready"
    assert not rollback_points("t", database=sqlite_url)


def test_nobody_alters_what_the_fence_says(place: Path, sqlite_url: str) -> None:
    move_table(str(place), database=sqlite_url)
    table = dl.connect_to_table(f"deltasql://{sqlite_url}?table=t")
    with pytest.raises(DeltaLakeError, match="which catalog ratifies the table"):
        table.alter.unset_table_properties(["deltalakedb.catalogId"])
    with pytest.raises(DeltaLakeError, match="which catalog ratifies the table"):
        table.alter.set_table_properties({"deltalakedb.catalogId": "other"})
    assert rollback_table("t", database=sqlite_url).changed


def test_what_was_enabled_since_stays_or_is_refused(place: Path, sqlite_url: str) -> None:
    move_table(str(place), database=sqlite_url)
    table = dl.connect_to_table(f"deltasql://{sqlite_url}?table=t")
    table.alter.set_table_properties({"delta.enableDeletionVectors": "true"})
    with pytest.raises(DeltaLakeError, match="deletionVectors") as caught:
        rollback_table("t", database=sqlite_url, exact=True)
    assert caught.value.kind is DeltaLakeErrorKind.UNSUPPORTED_FEATURE
    through_sql(sqlite_url, 2)
    done = rollback_table("t", database=sqlite_url)
    assert done.features == ("deletionVectors",)
    append(place, 3)
    # delta-rs's reader over pyarrow refuses tables with vectors, which its writer knows.
    assert len(deltalake.DeltaTable(str(place)).file_uris()) == 3
    through_sql(sqlite_url, 4)
    assert in_sql(sqlite_url) == [1, 2, 3, 4]


def test_without_the_catalog_what_never_came_into_the_log_is_kept(
    place: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As of a log on the net, which isn't asked before each commit.
    monkeypatch.setattr(LogRatifier, "is_far", lambda *_: True)
    move_table(str(place), database=sqlite_url)
    through_sql(sqlite_url, 2)
    table = dl.connect_to_table(f"deltasql://{sqlite_url}?table=t")
    done = rollback_without_catalog(str(place))
    assert done.version == 3
    append(place, 3)
    with pytest.raises(DeltaLakeError) as caught:
        through_sql(sqlite_url, 4)
    assert caught.value.kind is DeltaLakeErrorKind.MIRROR_CONFLICT
    # That one found out; from here on the log decides, and nothing is acknowledged.
    assert dl.connect_to_table(table.uri)._head.row.authority == "log"
    with pytest.raises(DeltaLakeError):
        table.append(rows(5))
    back = rollback_table("t", database=sqlite_url)
    [stranded] = back.stranded
    assert (stranded.version, stranded.operation, stranded.is_blind_append) == (3, "WRITE", True)
    copy = (place / "_delta_log" / stranded.copy).read_text().splitlines()
    assert any("add" in json.loads(line) for line in copy)
    assert seen(place) == in_sql(sqlite_url) == [1, 2, 3]
    through_sql(sqlite_url, 6)
    append(place, 7)
    through_sql(sqlite_url, 8)
    assert seen(place) == in_sql(sqlite_url) == [1, 2, 3, 6, 7, 8]
    assert dl.diff_table("t", database=sqlite_url).parity
    with pytest.raises(DeltaLakeError, match="no fence"):
        rollback_without_catalog(str(place))
    # It only added rows, so it can be committed after all: once.
    again = recommit_stranded("t", database=sqlite_url)
    assert [version for version, _ in again.done] == [3]
    assert not again.left
    assert not recommit_stranded("t", database=sqlite_url).done
    assert seen(place) == in_sql(sqlite_url) == [1, 2, 3, 4, 6, 7, 8]
    assert dl.diff_table("t", database=sqlite_url).parity


def test_whoever_dies_while_the_log_takes_over_leaves_no_other_rows(
    place: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalog's image still holds what never came into the log: nobody commits on top of it."""
    monkeypatch.setattr(LogRatifier, "is_far", lambda *_: True)
    move_table(str(place), database=sqlite_url)
    through_sql(sqlite_url, 2)
    table = dl.connect_to_table(f"deltasql://{sqlite_url}?table=t")
    assert rollback_without_catalog(str(place)).version == 3
    append(place, 3)
    with pytest.raises(DeltaLakeError):
        through_sql(sqlite_url, 4)
    with monkeypatch.context() as patch:
        patch.setattr(recover, "_taken_in", _dies)
        with pytest.raises(KeyboardInterrupt):
            rollback_table("t", database=sqlite_url)
    with pytest.raises(DeltaLakeError) as caught:
        table.refresh().append(rows(5))
    assert (caught.value.kind, caught.value.outcome) == (
        DeltaLakeErrorKind.MIRROR_CONFLICT,
        "failed",
    )
    append(place, 6)
    done = recover.repair_table("t", database=sqlite_url)
    assert (done.rebuilt, done.adopted) == (True, (3, 5))
    assert seen(place) == in_sql(sqlite_url) == [1, 2, 3, 6]
    assert dl.diff_table("t", database=sqlite_url).parity
    through_sql(sqlite_url, 7)
    # What was kept before is still known.
    assert len(recommit_stranded("t", database=sqlite_url).done) == 1
    assert seen(place) == in_sql(sqlite_url) == [1, 2, 3, 4, 6, 7]
    assert dl.diff_table("t", database=sqlite_url).parity


def _dies(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_points_pin_files_and_log_entries(place: Path, sqlite_url: str) -> None:
    move_table(str(place), database=sqlite_url)
    point = create_rollback_point("t", database=sqlite_url, note="before the clean-up")
    assert (point.reason, point.version, point.note) == ("manual", 1, "before the clean-up")
    table = dl.connect_to_table(f"deltasql://{sqlite_url}?table=t")
    table.overwrite(rows(9))
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    table.restore(1)
    assert seen(place) == [1]
    gone = prune_rollback_points("t", database=sqlite_url, keep=1)
    assert [p.reason for p in gone] == ["cutover"]
    assert [p.reason for p in rollback_points("t", database=sqlite_url)] == ["manual"]
    assert len(rollback_points("t", database=sqlite_url, retired=True)) == 2


def nobody_publishes(database: str, table_id: str) -> None:
    """As if another process tended the log, and were silent."""
    with writing(parse_database(database)) as writer:
        name = f"mirror/{table_id}"
        writer.transact(
            [
                Statement("DELETE FROM dl_leases WHERE name = ?", (name,)),
                Statement(
                    "INSERT INTO dl_leases (name, holder, token, acquired_at, expires_at) "
                    f"VALUES (?, 'elsewhere 1', 'x', 0, {writer.now} + 3600000)",
                    (name,),
                ),
            ]
        )


def test_only_what_stays_the_same_is_committed_again(place: Path, sqlite_url: str) -> None:
    """A delete may mean something else by now, and so may rows of another schema."""
    move_table(str(place), database=sqlite_url)
    table = dl.connect_to_table(f"deltasql://{sqlite_url}?table=t")
    nobody_publishes(sqlite_url, table.table_id)
    assert not table.append(rows(2), mirror="async").published
    table.delete("x = 1", mirror="async")
    table.append(rows(3), mirror="async")
    assert rollback_without_catalog(str(place)).version == 2
    append(place, 4)
    done = rollback_table("t", database=sqlite_url)
    assert [each.operation for each in done.stranded] == ["WRITE", "DELETE", "WRITE"]
    assert [each.is_blind_append for each in done.stranded] == [True, False, True]
    again = recommit_stranded("t", database=sqlite_url)
    assert [version for version, _ in again.done] == [2, 4]
    assert again.left == (done.stranded[1].copy,)
    assert seen(place) == in_sql(sqlite_url) == [1, 2, 3, 4]
    assert dl.diff_table("t", database=sqlite_url).parity


@pytest.mark.parametrize("downgrade", [False, True])
def test_an_earlier_state_changes_nothing_about_the_fence(
    downgrade: bool, place: Path, sqlite_url: str
) -> None:
    """What was before the cutover knows no fence, what was behind it knows one."""
    before = deltalake.DeltaTable(str(place)).protocol()
    move_table(str(place), database=sqlite_url)
    through_sql(sqlite_url, 2)
    table = dl.DeltaTable(f"deltasql://{sqlite_url}?table=t")
    table.restore(0, protocol_downgrade_allowed=downgrade)
    with pytest.raises(deltalake.exceptions.DeltaError):
        append(place, 3)
    through_sql(sqlite_url, 4)
    assert rollback_table("t", database=sqlite_url).changed
    assert deltalake.DeltaTable(str(place)).protocol() == before
    table = dl.DeltaTable(f"deltasql://{sqlite_url}?table=t")
    table.restore(2, protocol_downgrade_allowed=downgrade)
    append(place, 5)
    through_sql(sqlite_url, 6)
    assert seen(place) == in_sql(sqlite_url) == [1, 2, 5, 6]
