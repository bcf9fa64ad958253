"""Every kind of change to a log after its import is found, and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing.run import import_table
from deltalakedb.parity.report import DiffReport
from deltalakedb.parity.run import diff_table
from tests.parity.logs import (
    COMMITS,
    METADATA,
    PROTOCOL,
    SCHEMA,
    T0,
    VECTOR,
    Action,
    Log,
    add,
    file,
    live_state,
    of,
)


@pytest.fixture(scope="module")
def catalogued(tmp_path_factory: pytest.TempPathFactory) -> tuple[Log, str, str]:
    """A log, the catalog that has its full history, and the table's id there."""
    folder = tmp_path_factory.mktemp("catalogued")
    log = Log.write(folder / "people")
    database = str(folder / "catalog.sqlite")
    result = import_table(str(log.table), database=database, mode="full-history")
    return log, database, result.table_id


@pytest.fixture
def log(catalogued: tuple[Log, str, str], tmp_path: Path) -> Log:
    """A copy, to be changed; its file times are those that were imported."""
    return Log(shutil.copytree(catalogued[0].table, tmp_path / "people"))


@pytest.fixture
def imported(log: Log, catalogued: tuple[Log, str, str]) -> Callable[..., DiffReport]:
    """Compares the copy with the catalog."""

    def diff(**options: Any) -> DiffReport:
        _, database, table = catalogued
        return diff_table(table, database=database, **{"log_dir": str(log.table), **options})

    return diff


@pytest.fixture
def database(tmp_path: Path) -> str:
    return str(tmp_path / "catalog.sqlite")


def test_an_untouched_log_is_in_parity(imported: Callable[..., DiffReport]) -> None:
    report = imported()
    assert (report.exit_code, report.num_files, report.compared_version) == (0, 5, 3)
    assert report.parity
    assert report.notes == ()


def test_a_checkpoint_of_the_same_state_is_in_parity(
    log: Log, imported: Callable[..., DiffReport]
) -> None:
    log.checkpoint(3, live_state())
    report = imported()
    assert (report.exit_code, report.num_files) == (0, 5)


def _drop(path: str) -> Callable[[list[Action]], None]:
    def change(actions: list[Action]) -> None:
        actions.remove({"add": file(actions, path)})

    return change


def _file(path: str, **fields: Any) -> Callable[[list[Action]], None]:
    return lambda actions: file(actions, path).update(fields)


def _small(kind: str, **fields: Any) -> Callable[[list[Action]], None]:
    return lambda actions: of(actions, kind).update(fields)


def _forget(kind: str) -> Callable[[list[Action]], None]:
    return lambda actions: actions.remove({kind: of(actions, kind)})


_OTHER_SCHEMA = SCHEMA.replace('"string"', '"binary"', 1)
_PROPERTIES = {"delta.enableDeletionVectors": "true", "owner": "bob", "extra": "1"}

FILES: dict[str, tuple[Callable[[list[Action]], None], dict[str, Any]]] = {
    "missing file": (_drop("b.parquet"), {"missing_in_log": ["b.parquet"]}),
    "extra file": (
        lambda actions: actions.append(add("x%25.parquet")),
        {"missing_in_catalog": ["x%.parquet"]},
    ),
    "changed size": (_file("c.parquet", size=101), {"different": {"size": (100, 101)}}),
    "no size": (_file("c.parquet", size=None), {"different": {"size": (100, None)}}),
    "partition value": (
        _file("b.parquet", partitionValues={"day": "x"}),
        {"different": {"partition_values": ({"day": None}, {"day": "x"})}},
    ),
    "deletion vector added": (
        _file("c.parquet", deletionVector=VECTOR),
        {"missing_in_catalog": ["c.parquet"], "missing_in_log": ["c.parquet"]},
    ),
    "deletion vector removed": (
        _file("v.parquet", deletionVector=None),
        {"missing_in_catalog": ["v.parquet"], "missing_in_log": ["v.parquet"]},
    ),
    "deletion vector elsewhere": (
        _file("v.parquet", deletionVector=VECTOR | {"offset": 2}),
        {"missing_in_catalog": ["v.parquet"], "missing_in_log": ["v.parquet"]},
    ),
    "deletion vector of other rows": (
        _file("v.parquet", deletionVector=VECTOR | {"cardinality": 3}),
        {"different": {"deletion_vector": ([2, 36], [3, 36])}},
    ),
    "two files renamed": (
        lambda actions: [file(actions, p).update(path=p + "x") for p in ("c.parquet", "d.parquet")],
        {
            "missing_in_catalog": ["c.parquetx", "d.parquetx"],
            "missing_in_log": ["c.parquet", "d.parquet"],
        },
    ),
}

STATE: dict[str, tuple[Callable[[list[Action]], None], tuple[str, str, Any, Any]]] = {
    "schema": (
        _small("metaData", schemaString=_OTHER_SCHEMA),
        ("metadata", "schema.place.city", "string", "binary"),
    ),
    "table id": (
        _small("metaData", id="other"),
        ("metadata", "id", METADATA["metaData"]["id"], "other"),
    ),
    "description": (
        _small("metaData", description=None),
        ("metadata", "description", "who lives where", None),
    ),
    "partition columns": (
        _small("metaData", partitionColumns=[]),
        ("metadata", "partition_columns", ["day"], []),
    ),
    "property changed": (
        _small("metaData", configuration=_PROPERTIES | {"extra": None}),
        ("property", "owner", "ann", "bob"),
    ),
    "property added": (
        _small("metaData", configuration=_PROPERTIES | {"owner": "ann"}),
        ("property", "extra", None, "1"),
    ),
    "protocol version": (
        _small("protocol", minReaderVersion=2, readerFeatures=None),
        ("protocol", "min_reader_version", 3, 2),
    ),
    "protocol feature": (
        _small("protocol", writerFeatures=["deletionVectors"]),
        (
            "protocol",
            "writer_features",
            ["deletionVectors", "domainMetadata"],
            ["deletionVectors"],
        ),
    ),
    "transaction": (
        _small("txn", version=8),
        (
            "txn",
            "stream",
            {"version": 7, "last_updated": T0},
            {"version": 8, "last_updated": T0},
        ),
    ),
    "transaction gone": (
        _forget("txn"),
        ("txn", "stream", {"version": 7, "last_updated": T0}, None),
    ),
    "domain": (
        _small("domainMetadata", configuration='{"a":2}'),
        ("domain", "app.x", '{"a":1}', '{"a":2}'),
    ),
    "domain gone": (_forget("domainMetadata"), ("domain", "app.x", '{"a":1}', None)),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_that_a_checkpoint_changes(
    kind: str, log: Log, imported: Callable[..., DiffReport]
) -> None:
    change, expected = FILES[kind]
    state = live_state()
    change(state)
    log.checkpoint(3, state)
    report = imported()
    assert report.exit_code == 2
    assert not report.differences
    found = {
        "missing_in_catalog": [f.path for f in report.files.missing_in_catalog],
        "missing_in_log": [f.path for f in report.files.missing_in_log],
    }
    assert found == {name: expected.get(name, []) for name in found}
    fields = expected.get("different")
    assert [f.fields for f in report.files.different] == ([fields] if fields else [])
    assert report.file_drift == sum(map(len, found.values())) + bool(fields)
    assert imported(max_drift_files=report.file_drift).exit_code == 0
    assert imported(max_drift_files=report.file_drift - 1).exit_code == 2


@pytest.mark.parametrize("kind", STATE)
def test_state_that_a_checkpoint_changes(
    kind: str, log: Log, imported: Callable[..., DiffReport]
) -> None:
    change, expected = STATE[kind]
    state = live_state()
    change(state)
    log.checkpoint(3, state)
    report = imported(max_drift_files=1000)
    found = [(d.kind, d.name, d.catalog, d.log) for d in report.differences]
    assert expected in found
    assert report.exit_code == 2
    assert report.file_drift == 0
    assert report.protocol_drift == (expected[0] == "protocol")
    assert report.metadata_drift == (expected[0] != "protocol")


def test_statistics_that_the_catalog_has_alone_are_no_drift(
    log: Log, imported: Callable[..., DiffReport]
) -> None:
    state = live_state()
    for action in state:
        action.get("add", {}).pop("stats", None)
    log.checkpoint(3, state)
    assert imported().exit_code == 0


def test_statistics_that_the_log_has_alone_are_drift(tmp_path: Path, database: str) -> None:
    commits = json.loads(json.dumps(COMMITS))
    del commits[2][0]["add"]["stats"]
    log = Log.write(tmp_path / "people", commits)
    table = import_table(str(log.table), database=database, mode="full-history").table_id
    log.checkpoint(3, live_state())
    report = diff_table(table, database=database)
    assert [f.fields for f in report.files.different] == [{"stats": ("missing", "present")}]
    assert report.exit_code == 2


def test_transactions_that_a_checkpoint_let_expire_are_no_drift(
    tmp_path: Path, database: str
) -> None:
    commits = json.loads(json.dumps(COMMITS))
    retention = {"delta.setTransactionRetentionDuration": "interval 1 days"}
    commits[0][1]["metaData"]["configuration"].update(retention)
    log = Log.write(tmp_path / "people", commits)
    table = import_table(str(log.table), database=database, mode="full-history").table_id
    state = live_state(commits)
    _forget("txn")(state)
    log.checkpoint(3, state)
    assert diff_table(table, database=database).exit_code == 0


def test_a_commit_rewritten_in_place_with_the_same_size_and_time(
    log: Log, imported: Callable[..., DiffReport]
) -> None:
    before = log.path(2).stat()
    log.change(log.path(2), '"WRITE"', '"MERGE"')
    after = log.path(2).stat()
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    report = imported()
    assert (report.exit_code, report.rewritten_commits, report.file_drift) == (2, (2,), 0)


def test_a_rewritten_commit_below_a_checkpoint(
    log: Log, imported: Callable[..., DiffReport]
) -> None:
    log.checkpoint(3, live_state())
    log.change(log.path(1), '"WRITE"', '"MERGE"')
    assert imported().rewritten_commits == (1,)


def test_a_commit_that_was_only_touched_is_no_drift(
    log: Log, imported: Callable[..., DiffReport]
) -> None:
    log.touch(log.path(2), T0 + 999_999)
    assert imported().exit_code == 0


def test_a_rewritten_commit_tells_its_files_too(
    log: Log, imported: Callable[..., DiffReport]
) -> None:
    log.commit(3, [add("e.parquet", size=1234)])
    report = imported()
    assert report.rewritten_commits == (3,)
    assert [f.path for f in report.files.missing_in_catalog] == ["e.parquet"]
    assert [f.path for f in report.files.missing_in_log] == ["d.parquet"]


def test_a_commit_deleted_in_the_middle(log: Log, imported: Callable[..., DiffReport]) -> None:
    log.path(2).unlink()
    report = imported()
    assert (report.exit_code, report.missing_commits, report.compared_version) == (2, (2,), 1)
    assert report.file_drift == 0


def test_the_newest_commit_deleted(log: Log, imported: Callable[..., DiffReport]) -> None:
    log.path(3).unlink()
    report = imported()
    assert (report.exit_code, report.missing_commits, report.compared_version) == (2, (3,), 2)
    assert report.lag_seconds == 0


def test_the_first_commit_deleted(log: Log, imported: Callable[..., DiffReport]) -> None:
    log.path(0).unlink()
    report = imported()
    assert (report.exit_code, report.missing_commits, report.compared_version) == (2, (0,), None)
    assert "commit 0 is missing" in report.notes[0]


def test_log_cleanup_is_no_drift(log: Log, imported: Callable[..., DiffReport]) -> None:
    log.checkpoint(2, live_state(COMMITS[:3]))
    for version in (0, 1):
        log.path(version).unlink()
    report = imported()
    assert (report.exit_code, report.missing_commits) == (0, ())


def test_a_hole_is_not_log_cleanup(log: Log, imported: Callable[..., DiffReport]) -> None:
    log.checkpoint(3, live_state())
    log.path(1).unlink()
    report = imported()
    assert (report.exit_code, report.missing_commits) == (2, (1,))
    assert (report.compared_version, report.file_drift) == (3, 0)


def test_an_unreadable_checkpoint_is_passed_over(
    log: Log, imported: Callable[..., DiffReport]
) -> None:
    log.path(3, ".checkpoint.parquet").write_bytes(b"PAR1 no PAR1")
    report = imported()
    assert report.exit_code == 0
    assert "can't be read" in report.notes[0]


def test_a_checkpoint_that_is_damaged_inside_is_passed_over(
    log: Log, imported: Callable[..., DiffReport]
) -> None:
    path = log.checkpoint(3, live_state())
    data = bytearray(path.read_bytes())
    data[4 : len(data) // 3] = b"\xff" * (len(data) // 3 - 4)
    path.write_bytes(data)
    report = imported()
    assert report.exit_code == 0
    assert "can't be read" in report.notes[0]


def test_an_unreadable_commit_is_an_error(log: Log, imported: Callable[..., DiffReport]) -> None:
    log.path(3).write_text('{"add":')
    with pytest.raises(DeltaLakeError, match=r"00003\.json, line 1, byte") as raised:
        imported()
    assert raised.value.kind is DeltaLakeErrorKind.CORRUPT_COMMIT


def test_a_log_without_protocol_is_an_error(log: Log, imported: Callable[..., DiffReport]) -> None:
    state = live_state()
    _forget("protocol")(state)
    log.checkpoint(3, state)
    with pytest.raises(DeltaLakeError, match="no protocol action at version 3"):
        imported()


class TestCheckpointThatContradictsItsCommits:
    """What was so when a full history was imported is no drift; what came later is."""

    NAME = "kernel-parquet_row_group_skipping"

    @pytest.fixture
    def table(self, tables: ModuleType, tmp_path: Path, database: str) -> tuple[Path, str]:
        path = tables.copy(self.NAME, tmp_path)
        result = import_table(str(path), database=database, mode="full-history")
        return path, result.table_id

    def test_untouched_is_parity_with_a_note(self, table: tuple[Path, str], database: str) -> None:
        report = diff_table(table[1], database=database)
        assert report.exit_code == 0
        assert "contradicts the commits" in report.notes[-1]

    def test_rewritten_since_is_drift(self, table: tuple[Path, str], database: str) -> None:
        for part in (table[0] / "_delta_log").glob("*.checkpoint*.parquet"):
            Log.touch(part, T0)
        assert diff_table(table[1], database=database).exit_code == 2

    def test_a_fast_import_follows_the_checkpoint(
        self, tables: ModuleType, tmp_path: Path, database: str
    ) -> None:
        path = tables.copy(self.NAME, tmp_path)
        result = import_table(str(path), database=database, mode="fast")
        report = diff_table(result.table_id, database=database)
        assert (report.exit_code, report.notes) == (0, ())


def test_only_the_newest_of_re_added_files_counts(tmp_path: Path, database: str) -> None:
    commits = [
        [PROTOCOL, METADATA, add("a"), add("b")],
        [{"remove": {"path": "a", "dataChange": True}}, add("b", size=5)],
        [add("a", size=7)],
    ]
    log = Log.write(tmp_path / "people", commits)
    table = import_table(str(log.table), database=database, mode="full-history").table_id
    report = diff_table(table, database=database)
    assert (report.exit_code, report.num_files) == (0, 2)
    log.checkpoint(2, live_state([commits[0][:2], [add("b", size=5), add("a", size=8)]]))
    report = diff_table(table, database=database)
    assert [(f.path, f.fields) for f in report.files.different] == [("a", {"size": (7, 8)})]


def test_another_tables_log_is_drift(
    log: Log, imported: Callable[..., DiffReport], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(log.table, other)
    assert imported(log_dir=str(other)).exit_code == 0
    assert imported(log_dir=str(other / "_delta_log")).exit_code == 0
    Log(other).commit(0, [PROTOCOL, {"metaData": METADATA["metaData"] | {"id": "x"}}])
    report = imported(log_dir=str(other))
    assert (report.exit_code, report.rewritten_commits) == (2, (0,))
    with pytest.raises(DeltaLakeError, match="not a Delta table"):
        imported(log_dir=str(tmp_path))
