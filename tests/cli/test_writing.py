"""`dl init`, `create`, `write`, `mirror`, `authority` and `locks`, as processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq


def dl(database: str, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "dl"), *arguments, "--database", database],
        input=stdin,
        capture_output=True,
        timeout=60,
    )


def done(found: subprocess.CompletedProcess[bytes]) -> str:
    assert found.returncode == 0, found.stderr
    return found.stdout.decode()


def test_a_table_from_nothing(tmp_path: Path) -> None:
    database = str(tmp_path / "catalog.sqlite")
    done(dl(database, "init", "--warehouse", str(tmp_path / "house")))
    done(dl(database, "create", "ns.t", "--schema", "id bigint NOT NULL, p string, d decimal(5,2)",
            "--partition-by", "p"))  # fmt: skip
    place = tmp_path / "house" / "ns" / "t"
    source = tmp_path / "rows.csv"
    source.write_text("id,p\n1,a\n2,b\n")
    said = done(dl(database, "write", "ns.t", str(source), "--txn", "job:1"))
    assert "Version 1 of ns.t: 2 rows in 2 files" in said
    assert "written before" in done(dl(database, "write", "ns.t", str(source), "--txn", "job:1"))
    rows = pa.table({"id": [3], "p": ["a"]})
    pq.write_table(rows, tmp_path / "more.parquet")
    report = dl(database, "write", "ns.t", str(tmp_path / "more.parquet"), "--mode", "overwrite",
                "--dynamic", "--json-output", "-")  # fmt: skip
    assert json.loads(done(report))["version"] == 2
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    done(dl(database, "write", "ns.t", "-", stdin=sink.getvalue().to_pybytes()))
    seen = sorted(deltalake.DeltaTable(str(place)).to_pyarrow_table()["id"].to_pylist())
    assert seen == [2, 3, 3]
    refused = dl(database, "delete", "ns.t")
    assert refused.returncode == 1
    assert b"--where SQL, or --all" in refused.stderr
    changed = dl(database, "update", "ns.t", "--set", "id=id + 1", "--where", "id = 2")
    assert "Version 4 of ns.t: 1 rows updated" in done(changed)
    deleted = dl(database, "delete", "ns.t", "--where", "p = 'b'", "--json-output", "-")
    assert json.loads(done(deleted))["num_deleted_rows"] == 1
    refused = dl(database, "write", "ns.t", str(source), "--if-version", "1")
    assert refused.returncode == 1
    assert b"not at 1" in refused.stderr
    status = json.loads(done(dl(database, "mirror", "status", "--format", "json")))
    assert (status["version"], status["durable_version"], status["waiting"]) == (5, 5, 0)
    assert "version 5 is durable" in done(dl(database, "mirror", "drain", "ns.t"))
    assert "checkpoint" in done(dl(database, "mirror", "checkpoint", "ns.t"))
    assert "Nothing foreign" in done(dl(database, "mirror", "resolve", "ns.t"))
    assert "sql since epoch 1" in done(dl(database, "authority", "ns.t"))
    assert "behind a fence" in done(dl(database, "authority", "ns.t", "--set", "fence"))
    assert dl(database, "locks", "ns.t").returncode == 0
    assert done(dl(database, "diff", "--table-id", "ns.t"))
