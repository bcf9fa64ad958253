"""Bad input: one line that tells what to do, exit 1, and nothing of it stays in the catalog."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.commands import dl, dl_lines, error_of, process
from tests.servers.postgres import PostgresServer
from tests.tables import samples

TABLE = "golden-basic-with-inserts-deletes-checkpoint"
"""Commits 0 to 13 with a checkpoint at 10."""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The log of a table that the test may damage."""
    return samples.copy(TABLE, tmp_path) / "_delta_log"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "catalog.sqlite"


def commit(log: Path, version: int) -> Path:
    return log / f"{version:020}.json"


def is_empty(database: Path) -> bool:
    """Whether no table, no rows of one and no table for its files are left."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        names = [n for (n,) in connection.execute("SELECT name FROM sqlite_master")]
        if any(re.fullmatch(r"dl_files_l\d+", name) for name in names):
            return False
        tables = ("dl_tables", "dl_versions", "dl_partitions", "dl_import_parts", "dl_metadata")
        tables += ("dl_files_heap", "dl_loads")
        counts = [connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables]
        return not any(counts)


def no_such_directory(log: Path) -> str:
    log.rename(log.with_name("elsewhere"))
    return "no"


def not_a_log(log: Path) -> str:
    for file in log.iterdir():
        file.unlink()
    (log / "readme.txt").write_text("nothing of Delta")
    return "no commit"


def empty_log(log: Path) -> str:
    for file in log.iterdir():
        file.unlink()
    return "no commit"


def truncated_json(log: Path) -> str:
    file = commit(log, 12)
    file.write_bytes(file.read_bytes()[:-40])
    return "line"


def zero_byte_commit(log: Path) -> str:
    commit(log, 13).write_bytes(b"")
    return "empty"


def missing_commit(log: Path) -> str:
    commit(log, 12).unlink()
    return "12"


def unreadable_checkpoint(log: Path) -> str:
    for version in range(11):
        commit(log, version).unlink()
    checkpoint = log / f"{10:020}.checkpoint.parquet"
    checkpoint.write_bytes(checkpoint.read_bytes()[:200])
    return "checkpoint"


def protocol(log: Path, **facts: object) -> None:
    line = {
        "protocol": {"minReaderVersion": 3, "minWriterVersion": 7, "writerFeatures": [], **facts}
    }
    file = commit(log, 13)
    file.write_bytes(file.read_bytes().rstrip(b"\n") + b"\n" + json.dumps(line).encode() + b"\n")


def unknown_feature(log: Path) -> str:
    protocol(log, readerFeatures=["timeCrystals"], writerFeatures=["timeCrystals"])
    return "timeCrystals"


def unknown_reader_version(log: Path) -> str:
    protocol(log, minReaderVersion=4)
    return "4"


DAMAGES = [
    no_such_directory,
    not_a_log,
    empty_log,
    truncated_json,
    zero_byte_commit,
    missing_commit,
    unreadable_checkpoint,
    unknown_feature,
    unknown_reader_version,
]


@pytest.mark.parametrize("mode", ["fast", "full-history"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_log(
    damage: Callable[[Path], str], mode: str, log: Path, database: Path, tmp_path: Path
) -> None:
    says = damage(log)
    report = tmp_path / "import.json"
    arguments = ("import", "--database", database, "--log-dir", log, "--mode", mode)

    message = error_of(*arguments, "--json-output", report)

    assert says in message
    failure = json.loads(report.read_bytes())
    assert failure["status"] == "failed"
    assert failure["error"]["message"] == message
    assert failure["error"]["kind"] not in ("internal_error", "")
    assert failure["mode"] == mode
    assert failure["location"] == str(log.parent)
    assert failure["live_files"] is None
    if database.exists():
        assert is_empty(database)


def test_truncated_json_is_located(log: Path, database: Path) -> None:
    file = commit(log, 12)
    lines = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join([lines[0], lines[1][:30]]))

    message = error_of("import", "--database", database, "--log-dir", log)

    assert f"{12:020}.json" in message
    assert "line 2" in message
    assert "byte" in message


def test_a_failed_rebuild_changes_nothing(log: Path, database: Path) -> None:
    at = ("--database", database)
    dl("import", *at, "--log-dir", log)
    before = dl_lines("files", TABLE, *at)
    commit(log, 12).write_bytes(b"{")

    error_of("import", *at, "--log-dir", log, "--rebuild")

    assert dl_lines("files", TABLE, *at) == before
    [row] = dl_lines("tables", *at)
    assert row["version"] == 13
    assert "Nothing to remove" in dl("gc", *at).stdout


def test_failed_runs_are_recorded(log: Path, database: Path, tmp_path: Path) -> None:
    missing_commit(log)
    report = tmp_path / "import.json"
    arguments = ("import", "--database", database, "--log-dir", log)
    message = error_of(*arguments, "--json-output", report)
    with contextlib.closing(sqlite3.connect(database)) as connection:
        query = "SELECT run_id, status, error_kind, error_message FROM dl_import_runs"
        [row] = connection.execute(query)
    run_id = json.loads(report.read_bytes())["run_id"]
    assert row == (run_id, "failed", "missing_commit", message)


def test_known_feature_that_rows_need_is_imported_and_marked(log: Path, database: Path) -> None:
    protocol(log, readerFeatures=["variantShredding-preview"])
    shown = dl("import", "--database", database, "--log-dir", log)
    [row] = dl_lines("tables", "--database", database)
    if row["unreadable_features"]:
        assert "variantShredding-preview" in shown.stdout
        assert "variantShredding-preview" in dl("show", TABLE, "--database", database).stdout


def add_commit(log: Path, version: int, *actions: dict[str, object]) -> None:
    commit(log, version).write_text("".join(json.dumps(action) + "\n" for action in actions))


STRANGE = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["strange"]}


@pytest.mark.parametrize("mode", ["fast", "full-history"])
@pytest.mark.parametrize(
    ("between", "says"),
    [
        ({"protocol": STRANGE | {"writerFeatures": ["strange"]}}, "unknown here: strange"),
        ({"protocol": {"minReaderVersion": 4, "minWriterVersion": 7}}, "reader version 4"),
        ({"metaData": {"id": "x", "partitionColumns": []}}, "no schemaString"),
    ],
)
def test_a_version_that_no_head_may_be_is_not_read_either(
    log: Path, database: Path, mode: str, between: dict[str, object], says: str
) -> None:
    """What came and went before the head is no hindrance, but its own versions stay closed."""
    at = ("--database", database)
    actions = [json.loads(line) for line in commit(log, 0).read_text().splitlines()]
    [restored] = [a for a in actions if a.keys() == between.keys()]
    add_commit(log, 14, between)
    add_commit(log, 15, restored)
    dl("import", *at, "--log-dir", log, "--mode", mode)
    for command in ("show", "files"):
        assert says in error_of(command, TABLE, *at, "--version", 14)
        for version in (13, 15):
            dl(command, TABLE, *at, "--version", version)


def test_unknown_database(log: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "no" / "such" / "catalog.sqlite"
    assert str(nowhere) in error_of("import", "--database", nowhere, "--log-dir", log)
    assert "no catalog" in error_of("tables", "--database", tmp_path / "none.sqlite")
    assert not (tmp_path / "none.sqlite").exists()
    assert "oracle" in error_of("tables", "--database", "oracle://u:p@h/x")


def test_not_a_database(log: Path, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("no database at all, whatever its name says\n" * 100)
    assert "notes.txt" in error_of("import", "--database", file, "--log-dir", log)
    assert file.read_text().startswith("no database at all")


def test_server_that_is_not_there(log: Path) -> None:
    url = "postgresql://dl:s3cret-word@127.0.0.1:1/catalog"
    message = error_of("import", "--database", url, "--log-dir", log)
    assert "127.0.0.1:1" in message
    assert "s3cret-word" not in message


def test_wrong_password(postgres_server: PostgresServer, log: Path) -> None:
    url = postgres_server.url(password="s3cret-word")
    message = error_of("import", "--database", url, "--log-dir", log)
    assert "password" in message
    assert "s3cret-word" not in message
    assert "s3cret-word" not in error_of("tables", DL_DATABASE=url)


def test_no_such_database_on_the_server(postgres_server: PostgresServer, log: Path) -> None:
    url = postgres_server.url("nowhere")
    assert '"nowhere" does not exist' in error_of("import", "--database", url, "--log-dir", log)


def test_locked_sqlite_file(log: Path, database: Path) -> None:
    dl("import", "--database", database, "--log-dir", log)
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        impatient = f"sqlite:///{database}?timeout=0.5"
        arguments = ("import", "--database", impatient, "--log-dir", log, "--rebuild")
        assert "lock" in error_of(*arguments)
    assert dl_lines("tables", "--database", database)[0]["version"] == 13


def test_table_and_version_that_are_not_there(log: Path, database: Path) -> None:
    at = ("--database", database)
    dl("import", *at, "--log-dir", log)
    for command in ("show", "files", "history"):
        assert "`dl tables` lists" in error_of(command, "nobody", *at)
    for command in ("show", "files"):
        assert "its newest is 13" in error_of(command, TABLE, *at, "--version", 14)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["import", "--log-dir", "x"], "--database"),
        (["import", "--database", "c.sqlite"], "--log-dir"),
        (["import", "--database", "c.sqlite", "--log-dir", "x", "--mode", "slow"], "full-history"),
        (["import", "--database", "c", "--log-dir", "x", "--workers", "0"], "--workers"),
        (
            ["import", "--database", "c", "--log-dir", "x", "--workers=1", "--scheduler=tcp://h:1"],
            "exclude each other",
        ),
        (
            ["import", "--database", "c", "--log-dir", "x", "--storage-option", "s3cret"],
            "NAME=VALUE",
        ),
        (
            ["import", "--database", "c", "--log-dir", "x", "--json-output", "no/where/x.json"],
            "no/where",
        ),
        (["diff", "--database", "c"], "--table-id"),
        (
            ["diff", "--database", "c", "--table-id", "t", "--metrics-output", "m"],
            "--metrics-format",
        ),
        (["show", "--database", "c"], "TABLE"),
        (["frobnicate"], "frobnicate"),
        (["tables", "--frobnicate"], "--frobnicate"),
    ],
)
def test_usage(arguments: list[str], says: str) -> None:
    """Usage errors are 1 too: 2 says that catalog and log differ."""
    message = error_of(*arguments)
    assert says in message
    assert "s3cret" not in message


def test_the_script_itself(log: Path, database: Path) -> None:
    missing_commit(log)
    for debug, lines in (([], 1), (["--debug"], None)):
        done = process("import", "--database", database, "--log-dir", log, *debug)
        assert done.returncode == 1
        assert done.stdout == ""
        if lines is not None:
            assert len(done.stderr.splitlines()) == lines
        assert ("Traceback" in done.stderr) == bool(debug)
        assert done.stderr.splitlines()[-1].startswith("Error: commit 12")
    assert "Traceback" in process("show", "x", "--database", database, env={"DL_DEBUG": "1"}).stderr
    usage = process("diff")
    assert (usage.returncode, len(usage.stderr.splitlines())) == (1, 1)
