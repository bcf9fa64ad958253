"""`dl init`, `create`, `write`, `mirror`, `authority` and `locks`, as processes."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq

from tests.cli.commands import DL, dl, dl_lines, error_of


def process(database: str, *arguments: str, stdin: bytes = b"") -> str:
    """What the installed script writes to standard output."""
    found = subprocess.run(
        [DL, *arguments, "--database", database], input=stdin, capture_output=True, timeout=120
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.decode()


def test_a_table_from_nothing(tmp_path: Path) -> None:
    database = str(tmp_path / "catalog.sqlite")
    at = ("--database", database)
    dl("init", "--warehouse", tmp_path / "house", *at)
    schema = "id bigint NOT NULL, p string, d decimal(5,2)"
    dl("create", "ns.t", "--schema", schema, "--partition-by", "p", *at)
    place = tmp_path / "house" / "ns" / "t"
    source = tmp_path / "rows.csv"
    source.write_text("id,p\n1,a\n2,b\n")
    said = process(database, "write", "ns.t", str(source), "--txn", "job:1")
    assert "Version 1 of ns.t: 2 rows in 2 files" in said
    assert "written before" in dl("write", "ns.t", source, "--txn", "job:1", *at).stdout
    rows = pa.table({"id": [3], "p": ["a"]})
    pq.write_table(rows, tmp_path / "more.parquet")
    overwrite = ("--mode", "overwrite", "--dynamic", "--json-output", "-")
    report = dl("write", "ns.t", tmp_path / "more.parquet", *overwrite, *at)
    assert json.loads(report.stdout)["version"] == 2
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    process(database, "write", "ns.t", "-", stdin=sink.getvalue().to_pybytes())
    seen = sorted(deltalake.DeltaTable(str(place)).to_pyarrow_table()["id"].to_pylist())
    assert seen == [2, 3, 3]
    assert "--where SQL, or --all" in error_of("delete", "ns.t", *at)
    changed = dl("update", "ns.t", "--set", "id=id + 1", "--where", "id = 2", *at)
    assert "Version 4 of ns.t: 1 rows updated" in changed.stdout
    # What a process has changed is durable when it has ended.
    deleted = process(database, "delete", "ns.t", "--where", "p = 'b'", "--json-output", "-")
    assert json.loads(deleted)["num_deleted_rows"] == 1
    assert "not at 1" in error_of("write", "ns.t", source, "--if-version", "1", *at)
    status = json.loads(dl("mirror", "status", "--format", "json", *at).stdout)
    assert (status["version"], status["durable_version"], status["waiting"]) == (5, 5, 0)
    assert "version 5 is durable" in dl("mirror", "drain", "ns.t", *at).stdout
    assert "checkpoint" in dl("mirror", "checkpoint", "ns.t", *at).stdout
    assert "Nothing foreign" in dl("mirror", "resolve", "ns.t", *at).stdout
    assert "sql since epoch 1" in dl("authority", "ns.t", *at).stdout
    assert "behind a fence" in dl("authority", "ns.t", "--set", "fence", *at).stdout
    dl("locks", "ns.t", *at)
    assert dl("diff", "--table-id", "ns.t", *at).stdout


def test_the_database_file_holds_all_once_a_process_has_ended(tmp_path: Path) -> None:
    rows = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": [1]}), rows)
    database = tmp_path / "catalog.sqlite"
    process(str(database), "write", "t", str(rows), "--location", str(tmp_path / "t"))
    alone = tmp_path / "copy.sqlite"
    shutil.copy(database, alone)
    assert dl_lines("tables", "--database", alone)[0]["num_files"] == 1
