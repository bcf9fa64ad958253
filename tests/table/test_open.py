"""Opening a table, and what it says of itself."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.config import CacheConfig
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from tests.table.opening import (
    NAME,
    GrowingTable,
    add,
    asked,
    committed_ms,
    end_session,
    first_actions,
    open_table,
    remove,
    table_uri,
)


def log_actions(table: Path, kind: str) -> list[dict[str, object]]:
    lines = [
        json.loads(line)
        for commit in sorted((table / "_delta_log").glob("*.json"))
        for line in commit.read_text().splitlines()
    ]
    return [line[kind] for line in lines if kind in line]


def test_a_table_says_what_its_log_says(shared: str, generated: Path) -> None:
    table = open_table(shared)
    [metadata] = log_actions(generated, "metaData")
    assert (table.name, table.version, table.known_since) == (NAME, 20, 0)
    assert table.location == str(generated)
    assert table.metadata.schema.schema_string == metadata["schemaString"]
    assert table.metadata.partition_columns == metadata["partitionColumns"]
    assert table.metadata.configuration == metadata["configuration"]
    assert table.metadata.id == metadata["id"]
    assert (table.protocol.min_reader_version, table.protocol.min_writer_version) == (1, 2)
    assert table.schema.field("amt").type == pa.decimal128(10, 2)
    snapshot = table.snapshot()
    assert snapshot.transactions.keys() == {log_actions(generated, "txn")[-1]["appId"]}
    assert snapshot.domains == {}


def test_a_second_snapshot_asks_once_and_its_size_nothing(shared: str) -> None:
    table = open_table(shared)
    with asked(table) as statements:
        snapshot = table.snapshot()
        assert (len(snapshot.files), snapshot.version, snapshot.num_files) == (270, 20, 270)
        assert table.metadata.partition_columns == ["date", "region"]
    assert len(statements) == 1


@pytest.mark.parametrize("what", ["table", "snapshot", "files"])
def test_what_holds_a_connection_says_so_when_it_is_pickled(shared: str, what: str) -> None:
    table = open_table(shared)
    snapshot = table.snapshot()
    held = {"table": table, "snapshot": snapshot, "files": snapshot.files}[what]
    with pytest.raises(TypeError, match=r"can be pickled; open it where it is needed"):
        pickle.dumps(held)


def test_files_are_listed_as_they_are_looked_at(shared: str, generated: Path) -> None:
    table = open_table(shared)
    files = table.snapshot().files
    with asked(table) as statements:
        first = next(iter(files))
    assert len(statements.streams) == len(statements) == 1
    assert (generated / first.path).stat().st_size == first.size
    assert set(first.partition_values) == {"date", "region"}
    assert first.path.startswith(f"date={first.partition_values['date']}/")
    assert first.stats is not None
    assert first.stats["numRecords"] == first.num_records
    assert sum(f.size for f in files) == files.total_bytes == table.snapshot().total_bytes
    assert files.to_arrow().num_rows == len(files) == len({f.path for f in files})
    assert "270 files" in repr(files)


def test_a_table_that_is_not_there_is_named(shared: str, tmp_path: Path) -> None:
    with pytest.raises(DeltaLakeError, match=r"no table sails in .*`dl tables`") as caught:
        open_table(shared, "sails")
    assert caught.value.kind is DeltaLakeErrorKind.TABLE_NOT_FOUND
    with pytest.raises(DeltaLakeError, match="no catalog at") as caught:
        open_table(f"sqlite:///{tmp_path}/nothing.sqlite")
    assert caught.value.kind is DeltaLakeErrorKind.NOT_FOUND
    assert not (tmp_path / "nothing.sqlite").exists()


def test_a_configuration_takes_the_place_of_the_uris_database(shared: str, tmp_path: Path) -> None:
    elsewhere = table_uri(f"sqlite:///{tmp_path}/elsewhere.sqlite")
    config = dl.SqlConfig(connection_string=shared)
    table = dl.connect_to_table(elsewhere, config, cache=False)
    assert table.version == 20
    assert dl.connect_to_table(table.uri, cache=False).table_id == table.table_id


def test_passwords_are_not_shown(pg_database: str, tmp_path: Path) -> None:
    password = pg_database.partition("@")[0].rpartition(":")[2]
    made = GrowingTable(tmp_path, pg_database)
    made.commit(*first_actions(), add("a"))
    made.imported()
    table = made.open()
    shown = f"{table!r} {table.snapshot()!r} {table._repr_html_()} {table.history()}"
    assert password not in shown
    assert password in table.uri


def test_what_was_seen_stays_until_it_is_looked_for(tmp_path: Path, catalog_url: str) -> None:
    made = GrowingTable(tmp_path, catalog_url)
    made.commit(*first_actions(), add("a"), add("b", "2024-05-02"))
    made.imported()
    table = made.open()
    before = table.snapshot()
    made.commit(add("c", "2024-05-03"), remove("a"))
    made.imported()
    assert (table.version, before.version, len(before.files)) == (0, 0, 2)
    assert {f.path for f in before.files} == {
        "day=2024-05-01/a.parquet",
        "day=2024-05-02/b.parquet",
    }
    assert [p["day"] for p, _, _ in before.partition_summary()] == ["2024-05-01", "2024-05-02"]
    assert before.explain("day = DATE '2024-05-01'").planned_files == 1
    assert table.files() == before.plan(None, ["path"])["path"].to_pylist()
    assert [entry["version"] for entry in table.history()] == [1, 0]
    assert table.version == 1
    assert {tuple(p.values()) for p in table.partitions()} == {("2024-05-02",), ("2024-05-03",)}


def test_history_is_newest_first_and_prints(shared: str, generated: Path) -> None:
    history = open_table(shared).history(3)
    infos = log_actions(generated, "commitInfo")
    assert [entry["version"] for entry in history] == [20, 19, 18]
    for entry in history:
        info = infos[entry["version"]]
        assert entry["operation"] == info["operation"]
        assert entry["timestamp"] == info["timestamp"]
        assert entry["operation_metrics"] == info["operationMetrics"]
    assert str(history).splitlines()[1].startswith("20 ")
    assert "<table" in history._repr_html_()


def test_a_lost_connection_is_opened_again(pg_database: str, generated: Path) -> None:
    dl.import_table(str(generated), database=pg_database)
    table = open_table(pg_database)
    snapshot = table.snapshot()
    for question in (
        table.snapshot,
        lambda: snapshot.plan("region = 'us'"),
        lambda: next(iter(snapshot.files)),
        table.history,
    ):
        end_session(table._catalog.reader)
        question()
    table.close()
    assert table.snapshot().version == 20


def test_opening_is_light(shared: str) -> None:
    """In a fresh interpreter: what isn't imported, how much memory (benchmarks: how long)."""
    script = f"""
import re, sys
import deltalakedb
table = deltalakedb.connect_to_table({table_uri(shared)!r})
assert table.version == 20
heavy = ("numpy", "pyarrow", "sqlalchemy", "pandas", "dask", "fsspec", "yaml", "logging")
print([name for name in heavy if name in sys.modules])
peak = re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]
print(int(peak) / 1024)
table.snapshot().plan([("region", "=", "us")])
unused = ("hashlib", "logging.handlers", "difflib", "fractions", "sqlalchemy", "pyarrow.dataset",
          "pyarrow.compute", "dask", *("deltalakedb." + name for name in (
              "config.sections", "config.sql", "display", "logs", "log.paths", "log.statistics",
              "planning.explain", "planning.from_cache", "planning.pruning.keys",
              "predicate.sql", "storage", "write")))
print([name for name in unused if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    heavy, measured, later = done.stdout.splitlines()
    assert (heavy, later) == ("[]", "[]")
    megabytes = float(measured)
    assert megabytes < 120


def test_a_server_connects_while_planning_is_imported(pg_database: str, generated: Path) -> None:
    """In a fresh interpreter; what goes wrong meanwhile is told as ever."""
    dl.import_table(str(generated), database=pg_database)
    script = f"""
import sys
import deltalakedb as dl
uri = {table_uri(pg_database)!r}
planning = "deltalakedb.snapshot.snapshot"
for opened in (uri.replace("@", "x@"), uri + "x", uri):
    try:
        table = dl.connect_to_table(opened)
    except dl.DeltaLakeError as error:
        print(error.kind.name, planning in sys.modules)
print(table.snapshot().plan("region = 'us'").num_rows)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = open_table(pg_database).snapshot().plan("region = 'us'").num_rows
    told = ["AUTHENTICATION_ERROR True", "TABLE_NOT_FOUND True"]
    assert done.stdout.splitlines() == [*told, str(expected)]


def _count(uri: str, answer: multiprocessing.queues.SimpleQueue[tuple[int, int]]) -> None:
    table = dl.connect_to_table(uri, cache=False)
    answer.put((os.getpid(), table.snapshot().plan("region = 'us'").num_rows))


def test_a_forked_process_opens_its_own_connection(shared: str) -> None:
    table = open_table(shared)
    here = table.snapshot().plan("region = 'us'").num_rows
    context = multiprocessing.get_context("fork")
    answer = context.SimpleQueue()
    child = context.Process(target=_count, args=(table.uri, answer))
    child.start()
    pid, there = answer.get()
    child.join(240)
    assert (pid == child.pid, there, child.exitcode) == (True, here, 0)
    assert table.snapshot().plan("region = 'us'").num_rows == here


def test_a_database_that_was_replaced_is_opened_anew(tmp_path: Path) -> None:
    """SQLite would go on reading the file that was deleted."""
    database = tmp_path / "catalog.sqlite"
    paths = []
    for name in ("first", "second"):
        made = GrowingTable(tmp_path / name, f"sqlite:///{database}")
        made.commit(*first_actions(), add(name))
        made.imported()
        table = made.open()
        paths.append(table.files())
        if name == "first":
            held = table
            for file in tmp_path.glob("catalog.sqlite*"):
                file.unlink()
    assert paths == [[f"day=2024-05-01/{name}.parquet"] for name in ("first", "second")]
    assert held.files() == paths[0]
    assert held.refresh().files() == paths[1]


def test_every_database_answers(tmp_path: Path, any_catalog_url: str) -> None:
    made = GrowingTable(tmp_path, any_catalog_url)
    made.commit(*first_actions(), *(add(f"f{n}", least=10 * n, size=n) for n in range(5)))
    made.commit(add("g", "2024-05-02", least=500, size=50), remove("f0"))
    made.imported()
    table = made.open(cache=CacheConfig(directory=str(tmp_path / "lists")))
    snapshot, before = table.snapshot(), table.snapshot(0)
    paths = [f"day=2024-05-01/f{n}.parquet" for n in range(1, 5)]
    for _ in range(2):
        assert sorted(snapshot.plan("id < 25")["path"].to_pylist()) == paths[:2]
        assert sorted(f.path for f in snapshot.files) == [*paths, "day=2024-05-02/g.parquet"]
        assert (len(before.files), before.total_bytes) == (5, 10)
    pages = snapshot.file_pages(2)
    assert sorted(len(page) for page in pages) == [1, 2, 2]
    assert sorted(snapshot.partition_summary(), key=repr) == [
        ({"day": "2024-05-01"}, 4, 10),
        ({"day": "2024-05-02"}, 1, 50),
    ]
    assert before.partition_summary() == [({"day": "2024-05-01"}, 5, 10)]
    assert snapshot.size_classes([3, 10]) == [(2, 3), (2, 7), (1, 50)]
    assert [entry["num_adds"] for entry in table.history()] == [1, 5]
    assert table.snapshot(timestamp=committed_ms(0)).version == 0
    held = table.snapshot()
    made.imported(rebuild=True)
    assert held.plan("id >= 500")["path"].to_pylist() == ["day=2024-05-02/g.parquet"]
    table.close()
