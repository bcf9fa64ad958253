"""What the commands do when all is well."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.catalog.revisions import filled
from tests.cli.commands import DL, dl, dl_json, dl_lines, error_of, process
from tests.servers.s3 import S3Bucket
from tests.tables import samples

TABLE = "golden-basic-with-inserts-deletes-checkpoint"
"""Commits 0 to 13 with a checkpoint at 10."""
PARTITIONED = "dat-basic_partitioned"
"""Two commits, partitioned by letter."""


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The catalog of commands that name none."""
    path = tmp_path / "catalog.sqlite"
    monkeypatch.setenv("DL_DATABASE", str(path))
    return path


def log(name: str) -> Path:
    return samples.path(name) / "_delta_log"


def imported(*arguments: object) -> dict[str, object]:
    """What `dl import` reports as JSON."""
    result = dl("import", *arguments, "--json-output", "-")
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_nothing_heavy_is_imported_for_help() -> None:
    heavy = ("pyarrow", "numpy", "sqlalchemy", "alembic", "dask", "distributed", "fsspec", "rich")
    for arguments in (["--help"], ["import", "--help"], ["diff", "--help"]):
        script = (
            "import sys\nfrom deltalakedb.cli.app import app\n"
            f"try: app.main({arguments})\nexcept SystemExit as end: assert not end.code\n"
            f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.stderr.strip() == "[]", arguments
        assert done.stdout.startswith("Usage: dl")


def test_reading_needs_no_sqlalchemy(database: Path) -> None:
    dl("import", "--log-dir", log(TABLE))
    script = (
        "import sys\nfrom deltalakedb.cli.app import app\n"
        f"try: app.main(['show', '{TABLE}'])\nexcept SystemExit as end: assert not end.code\n"
        "assert 'sqlalchemy' not in sys.modules and 'dask' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_help_names_every_command_in_one_line() -> None:
    text = dl("--help").stdout
    for name in ("import", "diff", "tables", "show", "history", "files", "plan", "gc", "upgrade"):
        [line] = [x for x in text.splitlines() if x.startswith(f"  {name} ")]
        assert not line.endswith("..."), line
    assert dl("--version").stdout.startswith("dl 0.")


def test_import_again_changes_nothing(database: Path) -> None:
    first = imported("--log-dir", log(TABLE))
    assert (first["status"], first["to_version"]) == ("imported", 13)
    again = imported("--log-dir", log(TABLE), "--table-id", first["table_id"])
    assert (again["status"], again["versions"]) == ("unchanged", 0)
    assert again["table_id"] == first["table_id"]
    assert len(dl_lines("tables")) == 1


def test_catching_up_needs_only_the_table(database: Path, tmp_path: Path) -> None:
    copy = samples.copy(TABLE, tmp_path)
    late = [copy / "_delta_log" / f"{v:020}.json" for v in (12, 13)]
    aside = [path.rename(tmp_path / path.name) for path in late]
    where = ("--log-dir", copy / "_delta_log", "--table-location", "s3://warehouse/sales")
    first = imported(*where, "--table-name", "retail.sales")
    assert (first["table_name"], first["location"]) == ("retail.sales", "s3://warehouse/sales")
    assert first["to_version"] == 11
    for path, target in zip(aside, late, strict=True):
        path.rename(target)

    # The guide's rollback: "re-run `dl import --table-id <uuid>` to catch up".
    result = imported("--table-id", first["table_id"])

    assert (result["status"], result["from_version"], result["to_version"]) == ("caught_up", 12, 13)
    assert result["location"] == "s3://warehouse/sales"
    assert (
        dl_json("show", "retail.sales")["num_files"] == dl_json("show", "sales")["num_files"] == 7
    )
    # With the log as well, the recorded location stands.
    assert imported(*where[:2], "--table-id", "retail.sales")["status"] == "unchanged"
    assert "is at s3://warehouse/sales" in error_of(
        *("import", "--log-dir", log(PARTITIONED), "--table-id", "sales")
    )


def test_the_mode_of_a_table_stays(database: Path) -> None:
    where = ("--log-dir", log(TABLE))
    assert imported(*where, "--mode", "full-history")["known_since"] == 0
    again = imported(*where)
    assert (again["mode"], again.get("warnings")) == ("full-history", None)
    assert imported(*where, "--rebuild")["known_since"] == 0
    [warning] = imported(*where, "--mode", "fast")["warnings"]
    assert "--rebuild" in warning
    assert imported(*where, "--mode", "fast", "--rebuild", "--dry-run")["known_since"] == 10
    assert imported(*where, "--mode", "fast", "--rebuild")["known_since"] == 10


def test_table_under_a_chosen_uuid(database: Path) -> None:
    chosen = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
    assert imported("--log-dir", log(TABLE), "--table-id", chosen)["table_id"] == chosen
    assert dl_json("show", chosen)["name"] == TABLE


def test_dry_run_writes_nothing(database: Path) -> None:
    planned = imported("--log-dir", log(TABLE), "--dry-run")
    assert (planned["status"], planned["from_version"]) == ("planned", 10)
    assert planned["checkpoint_version"] == 10
    assert not database.exists()
    assert "no catalog" in error_of("tables")


def test_json_file_and_text_beside_each_other(database: Path, tmp_path: Path) -> None:
    report = tmp_path / "import.json"
    text = dl("import", "--log-dir", log(TABLE), "--json-output", report).stdout
    facts = json.loads(report.read_bytes())
    assert text.startswith("Imported\n")
    assert facts["table_id"] in text
    assert list(facts)[:16] == [
        *("table_id", "table_name", "location", "run_id", "status", "mode", "from_version"),
        *("to_version", "checkpoint_version", "known_since", "versions", "adds", "removes"),
        *("live_files", "workers", "seconds"),
    ]


def test_looking_at_a_table(database: Path) -> None:
    dl("import", "--log-dir", log(PARTITIONED), "--table-name", "letters.basic")
    [row] = dl_lines("tables")
    assert (row["name"], row["version"], row["num_files"]) == ("letters.basic", 1, 6)
    assert "letters.basic" in dl("tables").stdout

    shown = dl("show", "basic").stdout
    for part in ("letters.basic", row["table_id"], "partitioned by  letter", "a_float  double"):
        assert part in shown
    assert "newest is 1" in dl("show", "basic", "--version", "0").stdout

    commits = dl_lines("history", "basic")
    assert [c["version"] for c in commits] == [1, 0]
    assert commits[0]["operation_parameters"] == {"mode": "Append", "partitionBy": '["letter"]'}
    assert [c["version"] for c in dl_lines("history", "basic", "--limit", "1")] == [1]
    assert "mode=Append" in dl("history", "basic").stdout

    files = dl_lines("files", "basic")
    assert [f["path"] for f in files] == sorted(f["path"] for f in files)
    assert json.loads(files[0]["stats"])["numRecords"] == files[0]["num_records"] == 1
    assert dl_lines("files", "basic", "--limit", "2") == files[:2]
    assert len(dl_lines("files", "basic", "--version", "0")) == 3
    plain = dl("files", "basic").stdout.splitlines()
    assert len(plain) == 7
    assert plain[0].split() == ["Size", "Rows", "Modified", "(UTC)", "Partition", "Deletes", "Path"]


def test_files_of_one_path_come_in_the_order_of_their_vectors(
    catalog_url: str, tmp_path: Path
) -> None:
    """None first, then by code point, whatever the database makes of null and of letters."""
    table = tmp_path / "twins"
    write_table(table, commits=1, adds=1)
    [first] = (table / "_delta_log").glob("*.json")
    body = {"path": "a.parquet", "partitionValues": {}, "size": 1, "modificationTime": 1}
    adds = [body] + [
        body | {"deletionVector": {"storageType": "u", "pathOrInlineDv": text, "offset": 1}}
        for text in ("a", "B", "_")
    ]
    lines = "".join(json.dumps({"add": add}) + "\n" for add in adds)
    first.write_text(f"{first.read_text()}\n{lines}")
    at = ("--database", catalog_url)
    dl("import", *at, "--log-dir", table)
    for where in ((), ("--where", "n is null or n is not null")):
        found = dl_lines("files", "twins", *at, *where)
        vectors = [f["deletion_vector"] for f in found if f["path"] == "a.parquet"]
        assert vectors == [None, "uB@1", "u_@1", "ua@1"]


def test_files_and_plan_of_a_predicate(database: Path) -> None:
    dl("import", "--log-dir", log(PARTITIONED))
    files = dl_lines("files", PARTITIONED, "--where", "letter = 'a'")
    assert [f["partition_values"] for f in files] == [{"letter": "a"}] * 2
    assert dl_lines("files", PARTITIONED, "--where", "letter = 'a' and number > 3") == [
        f for f in files if '"number":4' in f["stats"]
    ]
    assert dl("files", PARTITIONED, "--where", "letter = 'z'").stderr == "No such file.\n"
    assert "letters" in error_of("files", PARTITIONED, "--where", "letters = 'a'")

    plan = dl_json("plan", PARTITIONED, "--where", "letter = 'a'")
    assert (plan["planned_files"], plan["num_files"]) == (2, 6)
    assert plan["steps"][0]["name"] == "partitions"
    assert "2 of 6 files" in dl("plan", PARTITIONED, "--where", "letter = 'a'").stdout


def test_names_cannot_move_the_cursor(database: Path, tmp_path: Path) -> None:
    copy = samples.copy(TABLE, tmp_path)
    dl("import", "--log-dir", copy / "_delta_log", "--table-name", "evil")
    # As an older release let it be imported.
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE dl_tables SET name = ?", ("evil\x1b[2Jname",))
    for command in (["tables"], ["show", "evil\x1b[2Jname"]):
        text = dl(*command).stdout
        assert "\x1b" not in text
        assert "evil\\x1b[2Jname" in text
    assert dl_lines("tables")[0]["name"] == "evil\x1b[2Jname"


@pytest.mark.parametrize("columns", [50, 80, 200])
def test_terminals_of_any_width(columns: int, database: Path) -> None:
    dl("import", "--log-dir", log(PARTITIONED))
    for command in (["tables"], ["history", PARTITIONED], ["files", PARTITIONED]):
        lines = on_terminal(columns, *command)
        assert max(len(line) for line in lines) <= columns, command
        assert len(lines) >= 2
    header = on_terminal(columns, "tables")[0].split()
    assert header[:2] == ["Table", "Version"]
    assert ("Id" in header) == (columns == 200)


def on_terminal(columns: int, *arguments: str) -> list[str]:
    """The lines that a terminal of so many columns gets, without colours."""
    import fcntl
    import pty
    import re
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {n: v for n, v in os.environ.items() if n not in ("COLUMNS", "LINES")}
    running = subprocess.Popen([DL, *arguments], stdout=theirs, env=environment)
    os.close(theirs)
    data = b""
    try:
        while piece := os.read(ours, 65536):
            data += piece
    except OSError:  # the other side is closed
        pass
    os.close(ours)
    assert running.wait() == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", data.decode()).splitlines()


def test_reader_that_goes_away(database: Path, tmp_path: Path) -> None:
    table = tmp_path / "many"
    write_table(table, commits=1, adds=3000)
    dl("import", "--log-dir", table / "_delta_log")
    for form in ("table", "json"):
        command = f"{DL} files many --format {form} | head -n 1"
        shell = ["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}} >&2"]
        done = subprocess.run(shell, capture_output=True, text=True, timeout=240)
        assert done.stderr == "141\n"
        assert len(done.stdout.splitlines()) == 1


def write_table(table: Path, *, commits: int, adds: int) -> None:
    """A log of its own size: `adds` files in each of so many commits."""
    shown = table / "_delta_log"
    shown.mkdir(parents=True)
    field = {"name": "n", "type": "long", "nullable": True, "metadata": {}}
    head = [
        {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
        {
            "metaData": {
                "id": "5fba94ed-9794-4965-ba6e-6ee3c0d22af9",
                "format": {"provider": "parquet", "options": {}},
                "schemaString": json.dumps({"type": "struct", "fields": [field]}),
                "partitionColumns": [],
                "configuration": {},
            }
        },
    ]
    stats = json.dumps({"numRecords": 1, "minValues": {"n": 1}, "maxValues": {"n": 2}})
    for version in range(commits):
        lines = [json.dumps(x) for x in head] if version == 0 else []
        for number in range(adds):
            add = {
                "path": f"part-{version:05}-{number:06}-c000.snappy.parquet",
                "partitionValues": {},
                "size": 1,
                "modificationTime": 0,
                "dataChange": True,
                "stats": stats,
            }
            lines.append(json.dumps({"add": add}))
        (shown / f"{version:020}.json").write_text("\n".join(lines))


def test_a_log_on_s3(database: Path, s3: S3Bucket, tmp_path: Path) -> None:
    where = s3.upload(samples.path(TABLE), "warehouse/sales")
    keys = [x for pair in s3.options.items() for x in ("--storage-option", "=".join(pair))]
    result = imported("--log-dir", f"{where}/_delta_log", *keys)
    assert (result["location"], result["to_version"]) == (where, 13)
    assert dl("diff", "--table-id", "sales", *keys).stdout.startswith("Parity: ")
    secret = s3.options["secret"]
    wrong = error_of("import", "--log-dir", f"{where}/none", *keys)
    assert f"{where}/none" in wrong
    assert secret not in wrong
    assert secret.encode() not in database.read_bytes()


def test_without_a_command() -> None:
    alone = dl(code=1)
    assert alone.stdout == ""
    assert alone.stderr == dl("--help").stdout


def test_upgrade(database: Path) -> None:
    assert "no catalog" in error_of("upgrade")
    assert not database.exists()
    dl("import", "--log-dir", log(TABLE))
    assert "already" in dl("upgrade").stdout
    set_schema(database, "9999")
    for command in ("upgrade", "tables"):
        assert "newer" in error_of(command)
    assert "newer" in error_of("import", "--log-dir", log(TABLE))


def test_what_an_upgrade_would_do(database: Path) -> None:
    filled.make(str(database), "0001")
    before = database.read_bytes()
    assert "0001" in dl("upgrade", "--check", code=4).stdout
    assert "CREATE TABLE dl_heads" in dl("upgrade", "--sql").stdout
    assert database.read_bytes() == before
    assert "0001 to" in dl("upgrade").stdout
    assert "already" in dl("upgrade", "--check").stdout
    assert dl("upgrade", "--sql").stdout == ""


def test_older_catalog_says_how_to_upgrade(database: Path) -> None:
    dl("import", "--log-dir", log(TABLE))
    set_schema(database, "0000")
    assert "`dl upgrade" in error_of("tables")


def set_schema(database: Path, version: str) -> None:
    import sqlite3

    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE dl_schema_version SET version_num = ?", (version,))
    connection.close()


def test_installed_script_in_another_folder(tmp_path: Path) -> None:
    """Relative paths are those of the shell; the database is named by the environment."""
    shutil.copytree(samples.path(TABLE), tmp_path / "sales")
    environment = {"DL_DATABASE": "meta.sqlite"}
    done = process("import", "--log-dir", "sales", cwd=tmp_path, env=environment)
    # A slow machine is told how far it is, nobody anything else.
    progress = ("reading the log: ", "loading rows: ", "building indexes: ")
    said = [line for line in done.stderr.splitlines() if not line.startswith(progress)]
    assert (done.returncode, said) == (0, [])
    shown = process("show", "sales", "--format", "json", cwd=tmp_path, env=environment)
    assert json.loads(shown.stdout)["location"] == str(tmp_path / "sales")
    assert (tmp_path / "meta.sqlite").exists()


def test_a_commands_process_goes_without_pandas() -> None:
    code = (
        "import sys; from deltalakedb.without_pandas import without_pandas; without_pandas()\n"
        "import pyarrow as pa; assert pa.array(['a', None]).null_count == 1\n"
        "sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
