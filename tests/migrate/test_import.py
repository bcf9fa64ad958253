"""Imports into SQLite and PostgreSQL: once, again, later, anew."""

from __future__ import annotations

import itertools
import json
import uuid
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.commit_tables import metadata
from deltalakedb.catalog.migrations import VERSION_TABLE
from deltalakedb.catalog.views import VIEWS
from deltalakedb.config import SqlConfig
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing import catch_up, load
from deltalakedb.importing.result import ImportResult
from deltalakedb.importing.run import import_table
from deltalakedb.log.ranges import RANGE_BYTES
from deltalakedb.log.reader import plan_ranges
from tests.log.made_logs import write_checkpoint, write_commit
from tests.migrate.catalogs import (
    content,
    engine,
    everything,
    files_at,
    left_over,
    naive_files,
    reading,
    runs,
    select,
    table_row,
    write_log,
)
from tests.migrate.faults import small_parts
from tests.replay.generated import Log, add, logs, naive, remove, table_commit
from tests.table.opening import open_table

LOG: Log = [
    table_commit(),
    [{"commitInfo": {"operation": "WRITE"}}, add("a", value="1"), add("b", size=2, value="2")],
    [remove("a", at=5), add("c", size=3, value="1"), {"txn": {"appId": "x", "version": 1}}],
    [add("d", size=4), {"domainMetadata": {"domain": "d", "configuration": "{}"}}],
]
MORE: Log = [*LOG, [remove("b", at=9), add("c", size=5, value="2")], [add("e", size=6)]]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_log(tmp_path / "orders", LOG)
    return tmp_path / "orders"


def import_(table: Path, database: str, **options: Any) -> ImportResult:
    return import_table(str(table), database=database, **{"mode": "full-history"} | options)


def refusal(table: Path, database: str, **options: Any) -> DeltaLakeError:
    """The error of an import that must not change anything but the record of runs."""
    before = _without_runs(everything(database))
    with pytest.raises(DeltaLakeError) as caught:
        import_(table, database, **options)
    assert _without_runs(everything(database)) == before
    return caught.value


def _without_runs(found: dict[str, Any]) -> dict[str, Any]:
    return {name: rows for name, rows in found.items() if name != "dl_import_runs"}


def assert_is(database: str, name: str, log: Log) -> None:
    """The catalogued table is the log at every version, by SQL and by its totals."""
    for version in range(len(log)):
        assert files_at(database, name, version) == naive_files(log, version)
    row = table_row(database, name)
    head = naive_files(log, len(log) - 1)
    assert (row["head_version"], row["num_files"]) == (len(log) - 1, len(head))
    assert row["total_bytes"] == sum(size for size, _ in head.values())
    found = content(database, name)
    counted = {p["partition_values"]: p["num_files"] for p in found["dl_partitions"]}
    texts = [text for _, text in head.values()]
    assert counted == {text: texts.count(text) for text in counted}
    state = naive(log)
    held = [t for t in found["dl_txns"] if t["removed_version"] == 2**63 - 1]
    assert {t["app_id"]: t["version"] for t in held} == {
        app: body["version"] for app, body in state.txns.items()
    }
    held = [d for d in found["dl_domains"] if d["removed_version"] == 2**63 - 1]
    assert {d["domain"]: d["configuration"] for d in held} == state.domains


def test_an_import_is_the_log_at_every_version(table: Path, catalog_url: str) -> None:
    result = import_(table, catalog_url)
    assert_is(catalog_url, "orders", LOG)
    assert left_over(catalog_url) == {}
    assert (result.status, result.from_version, result.to_version) == ("imported", 0, 3)
    assert (result.versions, result.adds, result.removes, result.live_files) == (4, 4, 1, 3)
    assert result.known_since == 0
    assert json.loads(json.dumps(result.to_json()))["table_name"] == "orders"
    [run] = runs(catalog_url)
    assert (run["status"], run["run_id"]) == ("succeeded", result.run_id)
    assert (run["adds"], run["removes"], run["live_files"]) == (4, 1, 3)


def test_the_same_log_again_changes_nothing(table: Path, catalog_url: str) -> None:
    first = import_(table, catalog_url)
    before = _without_runs(everything(catalog_url))
    again = import_(table, catalog_url)
    assert _without_runs(everything(catalog_url)) == before
    assert again.status == "unchanged"
    assert again.table_id == first.table_id
    assert (again.adds, again.live_files, again.to_version) == (0, 3, 3)
    assert [run["status"] for run in runs(catalog_url)] == ["succeeded", "succeeded"]


def test_new_commits_are_caught_up(table: Path, catalog_url: str) -> None:
    first = import_(table, catalog_url)
    write_log(table, MORE, first=4)
    result = import_(table, catalog_url)
    assert_is(catalog_url, "orders", MORE)
    assert (result.status, result.table_id) == ("caught_up", first.table_id)
    assert (result.from_version, result.to_version, result.versions) == (4, 5, 2)
    assert (result.adds, result.removes, result.live_files) == (2, 1, 3)


@pytest.fixture
def other_catalog(catalog_url: str, tmp_path: Path) -> str:
    """A second catalog, to import afresh into."""
    return f"sqlite:///{tmp_path / 'fresh.sqlite'}"


_number = itertools.count()


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    log=logs(least=3, most=8),
    stops=st.sets(st.integers(1, 7), max_size=3),
    size=st.sampled_from([RANGE_BYTES, 2_000, 500]),
)
def test_caught_up_in_any_steps_is_the_same_as_imported_at_once(
    log: Log, stops: set[int], size: int, catalog_url: str, tmp_path: Path
) -> None:
    """In one range or in several, also in slices of a commit."""
    name = f"t{next(_number)}"
    with (
        mock.patch.object(catch_up, "plan_ranges", partial(plan_ranges, size=size)),
        mock.patch.object(catch_up, "_BUCKET_BYTES", 2 * size),
    ):
        for length in sorted({s for s in stops if s < len(log)} | {len(log)}):
            folder = write_log(tmp_path / "in steps" / name, log[:length])
            import_(folder.parent, catalog_url, table_name=f"s.{name}")
    stepwise = content(catalog_url, name)
    assert_is(catalog_url, name, log)
    write_log(tmp_path / "at once" / name, log)
    import_(tmp_path / "at once" / name, catalog_url, table_name=f"o.o{name}")
    at_once = content(catalog_url, f"o{name}")
    for found in (stepwise, at_once):
        found["table"] = {
            k: v
            for k, v in found["table"].items()
            if k in ("head_version", "known_since", "num_files", "total_bytes", "mode")
        }
    assert stepwise == at_once


def test_many_files_that_end_are_ended_at_their_versions(
    table: Path, any_catalog_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than one statement takes, by bulk loading, with files that come back."""
    paths = [f"f{n}" for n in range(2_400)]
    log: Log = [
        table_commit(),
        [add(path, value=str(n % 3)) for n, path in enumerate(paths)],
        [*[remove(path, at=7) for path in paths[:2_100]], *[add(f"g{n}") for n in range(2_050)]],
        [*[add(path, size=2) for path in paths[2_000:2_200]], remove("g1", at=8), remove("lost")],
    ]
    monkeypatch.setattr(catch_up, "plan_ranges", partial(plan_ranges, size=100_000))
    for length in (2, 4):
        write_log(table.parent / "many", log[:length])
        import_(table.parent / "many", any_catalog_url)
    assert_is(any_catalog_url, "many", log)


def test_workers_give_what_one_process_gives(
    table: Path,
    catalog_url: str,
    other_catalog: str,
    dask_client: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Each commit is a range of its own, and none is cut into slices.
    small_parts(monkeypatch, 500)
    monkeypatch.setattr(load, "_BUCKET_BYTES", 600)  # so that there are a few buckets
    told: list[tuple[str, int]] = []
    result = import_(
        table,
        catalog_url,
        client=dask_client,
        progress=lambda stage, done, total, _: told.append((stage, total)),
    )
    assert ("load", 4) in told
    assert result.workers == 2
    import_(table, other_catalog)
    assert content(catalog_url, "orders") == content(other_catalog, "orders")
    write_log(table, MORE, first=4)
    assert import_(table, catalog_url, client=dask_client).status == "caught_up"
    assert_is(catalog_url, "orders", MORE)


def test_fast_knows_the_versions_from_the_checkpoint_on(table: Path, catalog_url: str) -> None:
    held = [{"add": body} for body in naive(LOG[:3]).files.values()]
    checkpoint = table / "_delta_log" / f"{2:020d}.checkpoint.parquet"
    write_checkpoint(checkpoint, [*table_commit(), *held])
    result = import_(table, catalog_url, mode="fast")
    assert (result.known_since, result.checkpoint_version, result.to_version) == (2, 2, 3)
    for version in (2, 3):
        assert files_at(catalog_url, "orders", version) == naive_files(LOG, version)
    assert files_at(catalog_url, "orders", 1) == {}


@pytest.mark.parametrize("version", [0, 2, 3])
def test_a_commit_that_was_rewritten_is_refused_with_its_version(
    table: Path, sqlite_url: str, version: int
) -> None:
    import_(table, sqlite_url)
    log = [*MORE]
    for changed in range(version, 4):
        log[changed] = [*log[changed], add("forged")]
    write_log(table, log, first=version)
    error = refusal(table, sqlite_url)
    assert error.kind is DeltaLakeErrorKind.LOG_DISAGREES
    assert error.facts["version"] == version
    assert "--rebuild" in error.message


def test_a_commit_rewritten_in_the_same_length_is_noticed(table: Path, sqlite_url: str) -> None:
    import_(table, sqlite_url)
    commit = table / "_delta_log" / f"{1:020d}.json"
    commit.write_bytes(commit.read_bytes().replace(b'"size": 2', b'"size": 9'))
    assert refusal(table, sqlite_url).facts["version"] == 1


def test_a_commit_that_was_only_touched_is_fine(table: Path, sqlite_url: str) -> None:
    import_(table, sqlite_url)
    (table / "_delta_log" / f"{1:020d}.json").touch()
    assert import_(table, sqlite_url).status == "unchanged"


def test_commits_that_log_cleanup_took_are_not_missed(table: Path, sqlite_url: str) -> None:
    import_(table, sqlite_url)
    write_log(table, MORE, first=4)
    for version in range(3):
        (table / "_delta_log" / f"{version:020d}.json").unlink()
    assert import_(table, sqlite_url).status == "caught_up"
    assert_is(sqlite_url, "orders", MORE)


def test_a_log_behind_the_catalog_is_refused(table: Path, sqlite_url: str) -> None:
    import_(table, sqlite_url)
    (table / "_delta_log" / f"{3:020d}.json").unlink()
    error = refusal(table, sqlite_url)
    assert error.kind is DeltaLakeErrorKind.LOG_DISAGREES
    assert error.facts["version"] == 3


def test_a_gap_after_the_catalogs_head_is_refused(table: Path, sqlite_url: str) -> None:
    import_(table, sqlite_url)
    write_log(table, MORE, first=5)
    error = refusal(table, sqlite_url)
    assert error.kind is DeltaLakeErrorKind.MISSING_COMMIT
    assert error.facts["version"] == 4


@pytest.mark.parametrize(
    ("commit", "kind"),
    [
        (b'{"add":', DeltaLakeErrorKind.CORRUPT_COMMIT),
        (b"", DeltaLakeErrorKind.CORRUPT_COMMIT),
        (
            b'{"protocol":{"minReaderVersion":3,"minWriterVersion":7,'
            b'"readerFeatures":["unheardOf"],"writerFeatures":["unheardOf"]}}',
            DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
        ),
        (b'{"metaData":{"id":"x"}}', DeltaLakeErrorKind.INVALID_LOG),
    ],
    ids=["truncated", "empty", "unknown feature", "no schema"],
)
def test_a_commit_that_cant_be_caught_up_changes_nothing(
    table: Path, catalog_url: str, commit: bytes, kind: DeltaLakeErrorKind
) -> None:
    import_(table, catalog_url)
    write_log(table, MORE, first=4)
    (table / "_delta_log" / f"{6:020d}.json").write_bytes(commit)
    assert refusal(table, catalog_url).kind is kind
    run = runs(catalog_url)[-1]
    assert (run["status"], run["error_kind"]) == ("failed", kind.value)
    (table / "_delta_log" / f"{6:020d}.json").unlink()
    assert import_(table, catalog_url).status == "caught_up"
    assert_is(catalog_url, "orders", MORE)


def test_a_feature_that_came_and_went_is_no_hindrance(table: Path, sqlite_url: str) -> None:
    """What counts is the head, as for an import of the whole."""
    import_(table, sqlite_url)
    strange = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["unheardOf"]}
    log = [*LOG, [{"protocol": strange}], [table_commit()[0]]]
    write_log(table, log, first=4)
    assert import_(table, sqlite_url).status == "caught_up"
    assert_is(sqlite_url, "orders", log)


def test_rebuild_swaps_and_removes_the_load_before(table: Path, catalog_url: str) -> None:
    first = import_(table, catalog_url, table_name="sales.orders")
    old = table_row(catalog_url, "orders")["live_load"]
    forged = [*LOG[:2], [add("other", size=7)]]
    (table / "_delta_log" / f"{3:020d}.json").unlink()
    write_log(table, forged)
    result = import_(table, catalog_url, rebuild=True)
    assert (result.status, result.table_id) == ("imported", first.table_id)
    row = table_row(catalog_url, "orders")
    assert row["live_load"] != old
    assert row["namespace"] == "sales"
    assert result.table_name == "sales.orders"
    assert_is(catalog_url, "orders", forged)
    assert left_over(catalog_url) == {}
    assert_mode(catalog_url, "full-history")
    import_(table, catalog_url, rebuild=True, mode="fast", table_name="new.name")
    assert_mode(catalog_url, "fast")
    assert (table_row(catalog_url, "name")["namespace"]) == "new"


def assert_mode(database: str, mode: str) -> None:
    with reading(database) as connection:
        assert connection.scalar(sa.text("SELECT mode FROM dl_tables")) == mode


def test_a_failed_rebuild_leaves_the_old_load(table: Path, catalog_url: str) -> None:
    import_(table, catalog_url)
    (table / "_delta_log" / f"{2:020d}.json").write_bytes(b"{")
    error = refusal(table, catalog_url, rebuild=True)
    assert error.kind is DeltaLakeErrorKind.CORRUPT_COMMIT
    assert left_over(catalog_url) == {}
    assert_is(catalog_url, "orders", LOG)
    run = runs(catalog_url)[-1]
    assert (run["status"], run["error_kind"]) == ("failed", "corrupt_commit")
    assert f"{2:020d}.json" in run["error_message"]


def test_a_failed_first_import_leaves_nothing(table: Path, catalog_url: str) -> None:
    (table / "_delta_log" / f"{2:020d}.json").write_bytes(b"{")
    with pytest.raises(DeltaLakeError):
        import_(table, catalog_url)
    assert left_over(catalog_url) == {}
    with reading(catalog_url) as connection:
        assert select(connection, "SELECT * FROM dl_tables") == []


def test_an_unreadable_checkpoint_is_passed_over_and_told(table: Path, sqlite_url: str) -> None:
    checkpoint = table / "_delta_log" / f"{2:020d}.checkpoint.parquet"
    checkpoint.write_bytes(b"PAR1 nothing PAR1")
    result = import_(table, sqlite_url, mode="fast")
    assert_is(sqlite_url, "orders", LOG)
    [warning] = result.warnings
    assert checkpoint.name in warning
    assert result.to_json()["warnings"] == [warning]
    assert result.known_since == 0


def test_a_checkpoint_whose_rows_are_damaged_is_passed_over_too(
    table: Path, catalog_url: str
) -> None:
    """Its footer is fine: it is found out only by the part that reads the rows."""
    checkpoint = table / "_delta_log" / f"{2:020d}.checkpoint.parquet"
    write_checkpoint(checkpoint, [*table_commit(), *(add(f"f{i}") for i in range(500))])
    data = bytearray(checkpoint.read_bytes())
    data[4:600] = bytes(596)
    checkpoint.write_bytes(bytes(data))
    result = import_(table, catalog_url, mode="fast")
    assert len(result.warnings) == 1
    assert_is(catalog_url, "orders", LOG)
    assert left_over(catalog_url) == {}


def test_when_nothing_older_is_left_the_checkpoint_is_the_error(
    table: Path, sqlite_url: str
) -> None:
    checkpoint = table / "_delta_log" / f"{2:020d}.checkpoint.parquet"
    checkpoint.write_bytes(b"PAR1 nothing PAR1")
    (table / "_delta_log" / f"{0:020d}.json").unlink()
    with pytest.raises(DeltaLakeError) as caught:
        import_(table, sqlite_url, mode="fast")
    assert caught.value.kind is DeltaLakeErrorKind.CORRUPT_CHECKPOINT
    assert checkpoint.name in caught.value.message
    assert left_over(sqlite_url) == {}


@pytest.mark.parametrize("mode", ["fast", "full-history"])
@pytest.mark.parametrize("broken", [1, 2])
def test_a_broken_commit_that_a_checkpoint_makes_up_for_is_passed_over_and_told(
    table: Path, catalog_url: str, mode: str, broken: int
) -> None:
    """Readers begin at the checkpoint and never see it: it is as good as gone."""
    folder = table / "_delta_log"
    held = [{"add": body} for body in naive(LOG[:3]).files.values()]
    write_checkpoint(folder / f"{2:020d}.checkpoint.parquet", [*table_commit(), *held])
    path = folder / f"{broken:020d}.json"
    path.write_bytes(b"" if broken == 2 else b'{"add":')
    result = import_(table, catalog_url, mode=mode)
    left = {0: True, 1: True, 2: True, 3: True} if broken == 2 else {0: True, 2: True, 3: True}
    if mode == "fast":
        left = {2: True, 3: True}
    for version in (v for v, readable in left.items() if readable):
        assert files_at(catalog_url, "orders", version) == naive_files(LOG, version)
    versions = content(catalog_url, "orders")["dl_versions"]
    assert {v["version"]: bool(v["readable"]) for v in versions} == left
    assert left_over(catalog_url) == {}
    told = [w for w in result.warnings if path.name in w]
    assert len(told) == (0 if mode == "fast" and broken == 1 else 1)
    assert import_(table, catalog_url, mode=mode).status == "unchanged"


def test_a_broken_newest_commit_is_no_older_version(table: Path, sqlite_url: str) -> None:
    """What is built without it would be taken for the head."""
    folder = table / "_delta_log"
    held = [{"add": body} for body in naive(LOG[:3]).files.values()]
    write_checkpoint(folder / f"{2:020d}.checkpoint.parquet", [*table_commit(), *held])
    (folder / f"{3:020d}.json").write_bytes(b"")
    for mode in ("fast", "full-history"):
        with pytest.raises(DeltaLakeError) as caught:
            import_(table, sqlite_url, mode=mode)
        assert caught.value.kind is DeltaLakeErrorKind.CORRUPT_COMMIT
    assert left_over(sqlite_url) == {}


def test_both_sides_of_a_gap_are_kept(table: Path, catalog_url: str) -> None:
    folder = table / "_delta_log"
    held = [{"add": body} for body in naive(MORE[:6]).files.values()]
    write_checkpoint(folder / f"{5:020d}.checkpoint.parquet", [*table_commit(), *held])
    log = [*MORE, [add("f", size=8), {"futureAction": {}}]]
    write_log(table, log, first=5)
    result = import_(table, catalog_url)
    assert (result.known_since, result.to_version) == (0, 6)
    for version in (0, 1, 2, 3, 5, 6):
        assert files_at(catalog_url, "orders", version) == naive_files(log, version)
    assert files_at(catalog_url, "orders", 4) == {}
    found = content(catalog_url, "orders")
    readable = {v["version"]: bool(v["readable"]) for v in found["dl_versions"]}
    assert readable == dict.fromkeys((0, 1, 2, 3, 5, 6), True)
    for name in ("dl_metadata", "dl_protocols", "dl_txns", "dl_domains"):
        spans = sorted((r["added_version"], r["removed_version"]) for r in found[name])
        assert spans[0][1] == 4, name
        assert all(end == 2**63 - 1 for _, end in spans[1:])


def test_commits_that_no_base_reaches_are_history_alone(table: Path, sqlite_url: str) -> None:
    folder = table / "_delta_log"
    (folder / f"{0:020d}.json").unlink()
    held = [{"add": body} for body in naive(LOG[:3]).files.values()]
    write_checkpoint(folder / f"{2:020d}.checkpoint.parquet", [*table_commit(), *held])
    result = import_(table, sqlite_url)
    assert (result.known_since, result.to_version) == (2, 3)
    versions = content(sqlite_url, "orders")["dl_versions"]
    assert {v["version"]: bool(v["readable"]) for v in versions} == {1: False, 2: True, 3: True}
    assert [v["operation"] for v in versions if v["version"] == 1] == ["WRITE"]


def test_a_checkpoint_without_its_commit_has_a_time_before_its_followers(
    table: Path, sqlite_url: str
) -> None:
    """The checkpoint's own file may have been written much later."""
    folder = table / "_delta_log"
    held = [{"add": body} for body in naive(LOG[:3]).files.values()]
    write_checkpoint(folder / f"{2:020d}.checkpoint.parquet", [*table_commit(), *held])
    for version in range(3):
        (folder / f"{version:020d}.json").unlink()
    import_(table, sqlite_url)
    versions = content(sqlite_url, "orders")["dl_versions"]
    times = [v["commit_time"] for v in sorted(versions, key=lambda v: v["version"])]
    assert len(times) == 2
    assert times[0] < times[1]


@pytest.mark.parametrize("rebuild", [False, True])
def test_a_dry_run_writes_nothing(table: Path, sqlite_url: str, rebuild: bool) -> None:
    import_(table, sqlite_url)
    before = everything(sqlite_url)
    write_log(table, MORE, first=4)
    result = import_(table, sqlite_url, dry_run=True, rebuild=rebuild)
    assert everything(sqlite_url) == before
    assert (result.status, result.run_id, result.to_version) == ("planned", None, 5)
    assert (result.from_version, result.versions) == ((0, 6) if rebuild else (4, 2))
    assert result.log_bytes
    assert result.to_json()["parts"] == 1


def test_a_dry_run_of_a_first_import_makes_no_catalog(table: Path, catalog_url: str) -> None:
    result = import_(table, catalog_url, dry_run=True)
    assert (result.status, result.versions) == ("planned", 4)
    if engine(catalog_url).dialect.name == "sqlite":
        assert not Path(engine(catalog_url).url.database or "").exists()
    else:
        assert sa.inspect(engine(catalog_url)).get_table_names() == []


def test_a_dry_run_says_what_the_import_would_refuse(table: Path, sqlite_url: str) -> None:
    import_(table, sqlite_url)
    write_log(table, [table_commit(), [add("forged")]], first=1)
    assert refusal(table, sqlite_url, dry_run=True).kind is DeltaLakeErrorKind.LOG_DISAGREES


def test_a_dry_run_passes_over_an_unreadable_checkpoint(table: Path, sqlite_url: str) -> None:
    (table / "_delta_log" / f"{2:020d}.checkpoint.parquet").write_bytes(b"PAR1 nothing PAR1")
    result = import_(table, sqlite_url, mode="fast", dry_run=True)
    assert (result.from_version, result.checkpoint_version) == (0, None)
    assert len(result.warnings) == 1


def test_a_name_can_be_taken_once(table: Path, sqlite_url: str, tmp_path: Path) -> None:
    import_(table, sqlite_url)
    other = tmp_path / "elsewhere" / "orders"
    write_log(other, MORE)
    error = refusal(other, sqlite_url)
    assert error.kind is DeltaLakeErrorKind.TABLE_EXISTS
    assert str(table) in error.message
    assert "--table-name" in error.message
    import_(other, sqlite_url, table_name="second.orders")
    import_(other, sqlite_url, table_name="second.orders")
    with reading(sqlite_url) as connection:
        found = select(connection, "SELECT namespace, name FROM dl_tables ORDER BY 1")
    assert [r["namespace"] for r in found] == ["", "second"]


def test_a_table_keeps_its_name_and_is_not_renamed_in_passing(table: Path, sqlite_url: str) -> None:
    import_(table, sqlite_url, table_name="sales.orders")
    assert import_(table, sqlite_url).table_name == "sales.orders"
    assert import_(table, sqlite_url, table_name="sales.orders").status == "unchanged"
    error = refusal(table, sqlite_url, table_name="other")
    assert error.kind is DeltaLakeErrorKind.INVALID_ARGUMENT
    assert "sales.orders" in error.message


@pytest.mark.parametrize("name", ["", "a.", "."])
def test_a_name_must_be_one(table: Path, sqlite_url: str, name: str) -> None:
    with pytest.raises(DeltaLakeError, match="can't be the name"):
        import_(table, sqlite_url, table_name=name)


def test_a_table_can_be_given_its_id(table: Path, sqlite_url: str) -> None:
    given_id = str(uuid.uuid4())
    result = import_(table, sqlite_url, table_id=given_id.upper().replace("-", ""))
    assert result.table_id == given_id
    for reference in (given_id, given_id.upper(), "orders"):
        assert import_(table, sqlite_url, table_id=reference).status == "unchanged"


def test_ids_and_locations_must_agree(table: Path, sqlite_url: str, tmp_path: Path) -> None:
    first = import_(table, sqlite_url)
    other = tmp_path / "other"
    write_log(other, LOG)
    for where, reference, says in (
        (other, first.table_id, "not at"),
        (other, "orders", "not at"),
        (table, str(uuid.uuid4()), "already catalogued"),
    ):
        error = refusal(where, sqlite_url, table_id=reference)
        assert error.kind is DeltaLakeErrorKind.INVALID_ARGUMENT
        assert says in error.message
    error = refusal(other, sqlite_url, table_id="nobody")
    assert error.kind is DeltaLakeErrorKind.TABLE_NOT_FOUND


def test_one_log_may_be_in_two_catalogs(table: Path, catalog_url: str, other_catalog: str) -> None:
    first, second = import_(table, catalog_url), import_(table, other_catalog)
    assert first.table_id != second.table_id
    write_log(table, MORE, first=4)
    assert import_(table, catalog_url).status == "caught_up"
    assert_is(catalog_url, "orders", MORE)
    assert_is(other_catalog, "orders", LOG)
    assert import_(table, other_catalog).status == "caught_up"
    assert content(catalog_url, "orders") == content(other_catalog, "orders")


def test_many_tables_are_kept_apart(table: Path, catalog_url: str, tmp_path: Path) -> None:
    import_(table, catalog_url)
    write_log(tmp_path / "second", MORE)
    import_(tmp_path / "second", catalog_url)
    write_log(table, MORE[:5], first=4)
    import_(table, catalog_url)
    assert_is(catalog_url, "orders", MORE[:5])
    assert_is(catalog_url, "second", MORE)
    import_(tmp_path / "second", catalog_url, rebuild=True)
    assert_is(catalog_url, "orders", MORE[:5])
    assert_is(catalog_url, "second", MORE)
    assert left_over(catalog_url) == {}


def test_a_fast_import_gets_its_history_when_that_is_asked_for(
    table: Path, catalog_url: str, other_catalog: str
) -> None:
    held_at_2 = [add("b", size=2, value="2"), add("c", size=3, value="1")]
    checkpoint = table / "_delta_log" / f"{2:020d}.checkpoint.parquet"
    write_checkpoint(checkpoint, [*table_commit(), *held_at_2, LOG[2][-1]])
    import_(table, other_catalog)
    first = import_(table, catalog_url, mode="fast")
    assert first.known_since == 2
    held = open_table(catalog_url, "orders").snapshot()
    paths = held.plan()["path"].to_pylist()
    planned = import_(table, catalog_url, dry_run=True)
    assert (planned.mode, planned.from_version) == ("full-history", 0)
    result = import_(table, catalog_url)
    assert (result.status, result.mode) == ("imported", "full-history")
    assert (result.table_id, result.known_since, result.warnings) == (first.table_id, 0, ())
    assert content(catalog_url, "orders") == content(other_catalog, "orders")
    assert left_over(catalog_url) == {}
    assert sorted(held.plan()["path"].to_pylist()) == sorted(paths)
    assert import_(table, catalog_url).status == "unchanged"


def test_a_log_that_was_rewritten_is_no_history(table: Path, sqlite_url: str) -> None:
    import_(table, sqlite_url, mode="fast")
    write_log(table, [*LOG[:3], [add("other", size=7)]], first=3)
    assert refusal(table, sqlite_url, mode="full-history").kind is DeltaLakeErrorKind.LOG_DISAGREES


def test_a_full_import_keeps_its_history_and_says_so(table: Path, sqlite_url: str) -> None:
    import_(table, sqlite_url)
    for dry_run in (True, False):
        result = import_(table, sqlite_url, mode="fast", dry_run=dry_run)
        assert result.mode == "full-history"
        [warning] = result.warnings
        assert "keeps the history" in warning
        assert "--rebuild" in warning
    assert result.status == "unchanged"
    assert import_(table, sqlite_url).warnings == ()


def test_the_schema_is_what_the_migrations_make(table: Path, catalog_url: str) -> None:
    import_(table, catalog_url)
    with Catalog(catalog_url) as catalog, catalog.engine.connect() as connection:
        views = sa.inspect(connection).get_view_names()
        is_view = "dl_files" in views

        def ours(_item: Any, name: str | None, kind: str, *_: object) -> bool:
            own = name == VERSION_TABLE or str(name).startswith("dl_files_l")
            return not (kind == "table" and (own or (name == "dl_files" and is_view)))

        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "include_object": ours}
        )
        assert compare_metadata(context, metadata) == []
    assert set(VIEWS) <= set(views)


@pytest.mark.parametrize(
    ("found", "advice"), [("0000", "dl upgrade"), ("9999", "newer")], ids=["older", "newer"]
)
def test_a_catalog_of_another_schema_is_refused(
    table: Path, catalog_url: str, found: str, advice: str
) -> None:
    import_(table, catalog_url)
    with engine(catalog_url).begin() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '{found}'")
    for options in ({}, {"dry_run": True}, {"rebuild": True}):
        with pytest.raises(DeltaLakeError) as caught:
            import_(table, catalog_url, **options)
        assert caught.value.kind is DeltaLakeErrorKind.CATALOG_VERSION
        assert advice in caught.value.message


def test_views_answer_people(table: Path, catalog_url: str) -> None:
    import_(table, catalog_url, table_name="sales.orders")
    with reading(catalog_url) as connection:
        live = select(connection, "SELECT * FROM dl_live_files ORDER BY path")
        history = select(connection, "SELECT * FROM dl_history ORDER BY version DESC")
        [summary] = select(connection, "SELECT * FROM dl_table_summary")
    assert [(r["namespace"], r["table_name"], r["path"]) for r in live] == [
        ("sales", "orders", path) for path in ("b", "c", "d")
    ]
    assert [r["partition_values"] for r in live] == ['{"p":"2"}', '{"p":"1"}', '{"p":null}']
    assert [r["version"] for r in history] == [3, 2, 1, 0]
    assert [r["operation"] for r in history] == [None, None, "WRITE", None]
    assert (summary["head_version"], summary["num_files"]) == (3, 3)
    assert (summary["total_bytes"], summary["num_partitions"]) == (9, 3)


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("nowhere", DeltaLakeErrorKind.NOT_FOUND),
        ("empty", DeltaLakeErrorKind.NOT_A_DELTA_TABLE),
        ("empty/_delta_log", DeltaLakeErrorKind.EMPTY_LOG),
    ],
)
def test_what_is_no_table_is_refused_before_a_catalog_is_made(
    tmp_path: Path, sqlite_url: str, place: str, kind: DeltaLakeErrorKind
) -> None:
    (tmp_path / "empty").mkdir()
    if "_delta_log" in place:
        (tmp_path / place).mkdir()
    with pytest.raises(DeltaLakeError) as caught:
        import_(tmp_path / place, sqlite_url)
    assert caught.value.kind is kind
    assert not list(tmp_path.glob("*.sqlite*"))


def test_an_unknown_mode_is_refused(table: Path, sqlite_url: str) -> None:
    with pytest.raises(DeltaLakeError) as caught:
        import_(table, sqlite_url, mode="slow")
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT


def test_progress_tells_stages_and_counts(table: Path, sqlite_url: str) -> None:
    told: list[tuple[str, int, int, int]] = []
    import_(table, sqlite_url, progress=lambda *step: told.append(step))
    assert [(stage, done, total) for stage, done, total, _ in told] == [
        ("parse", 0, 1),
        ("parse", 1, 1),
        ("load", 0, 1),
        ("load", 1, 1),
        ("index", 0, 1),
        ("index", 1, 1),
    ]
    assert told[1][3] == told[-1][3] == 5


def test_what_an_import_interrupted_by_its_caller_loaded_is_removed(
    table: Path, catalog_url: str
) -> None:
    import_(table, catalog_url)
    write_commit(table / "_delta_log", 4, [add("z")])

    def interrupt(stage: str, done: int, *_: int) -> None:
        if (stage, done) == ("index", 0):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_(table, catalog_url, rebuild=True, progress=interrupt)
    assert left_over(catalog_url) == {}
    assert_is(catalog_url, "orders", LOG)
    assert runs(catalog_url)[-1]["error_kind"] == "KeyboardInterrupt"


def test_a_pool_of_one_connection_is_enough(table: Path, any_catalog_url: str) -> None:
    config = SqlConfig(any_catalog_url, pool_size=1, max_overflow=0, pool_timeout=0.001)
    result = import_table(str(table), database=config, mode="full-history")
    assert result.live_files == len(naive_files(LOG, len(LOG) - 1))
    assert_is(any_catalog_url, "orders", LOG)


def test_a_folder_named_by_a_uuid_gets_a_name_that_is_none(tmp_path: Path) -> None:
    """Unity Catalog names folders so; a uuid as a reference means a table's id."""
    folder = str(uuid.uuid4())
    database = str(tmp_path / "catalog.sqlite")
    write_log(tmp_path / folder, [table_commit()])
    for _ in range(2):
        result = import_table(str(tmp_path / folder), database=database)
        assert result.table_name == f"table-{folder}"
    assert (
        import_table(str(tmp_path / folder), database=database, table_id=f"table-{folder}").table_id
        == result.table_id
    )
