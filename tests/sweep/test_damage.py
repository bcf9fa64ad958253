"""Damage on both sides, a kind a table: each is named, most the first night, all in a week."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

import deltalakedb as dl
from deltalakedb.log.rows import LIVE
from deltalakedb.migrate.fleet import migrate_fleet
from deltalakedb.migrate.sources import Sources
from deltalakedb.sweep.run import SweepOptions, sweep
from tests.fleet.logs import add_actions, write_data, write_log

COMMITS = 4
HEAD = COMMITS - 1


def sql(statement: str) -> Callable[[Damage], None]:
    """Damage in the catalog; `{load}` and `{key}` are the table's."""

    def damage(at: Damage) -> None:
        with sqlite3.connect(at.database) as connection:
            key, load = connection.execute(
                "SELECT t.table_key, h.live_load FROM dl_tables t JOIN dl_heads h "
                "ON h.table_key = t.table_key WHERE t.name = ?",
                (at.table.name,),
            ).fetchone()
            done = connection.execute(statement.format(load=load, key=key))
            assert done.rowcount == 1, statement
        connection.close()

    return damage


class Damage:
    """A table that is to be damaged."""

    def __init__(self, database: Path, table: Path) -> None:
        self.database = database
        self.table = table
        self.log = table / "_delta_log"

    def commit(self, version: int) -> Path:
        return self.log / f"{version:020d}.json"

    @property
    def checkpoint(self) -> Path:
        [found] = self.log.glob("*.checkpoint.parquet")
        return found


FILES = "dl_files_heap WHERE load_id = {load} AND added_version = 1"
ONE = "load_id = {load} AND added_version = 1"


def _rewrite(at: Damage) -> None:
    text = at.commit(1).read_text()
    at.commit(1).write_text(text.replace("Append", "Appended"))


def _rewrite_in_place(at: Damage) -> None:
    """The same size and time: no listing tells."""
    path = at.commit(1)
    times = path.stat()
    path.write_text(path.read_text().replace("Append", "Upsert"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_size == times.st_size


def _cut_commit(at: Damage) -> None:
    at.commit(2).write_bytes(at.commit(2).read_bytes()[:-30])


def _wrong_checkpoint(at: Damage) -> None:
    table = pq.read_table(at.checkpoint)
    rows = table.filter(pc.or_(pc.is_null(table["add"]), pc.is_in(pc.struct_field(
        table["add"].combine_chunks(), "path"), pc.struct_field(
        table["add"].combine_chunks(), "path").drop_null().slice(1))))  # fmt: skip
    assert rows.num_rows == table.num_rows - 1
    pq.write_table(rows, at.checkpoint)


def _cut_checkpoint(at: Damage) -> None:
    at.checkpoint.write_bytes(at.checkpoint.read_bytes()[:200])


def _wrong_last_checkpoint(at: Damage) -> None:
    (at.log / "_last_checkpoint").write_text('{"version": 99, "size": 1}')


def _wrong_checksum(at: Damage) -> None:
    body = {"numFiles": COMMITS + 1, "tableSizeBytes": 1, "numMetadata": 1, "numProtocol": 1}
    (at.log / f"{HEAD:020d}.crc").write_text(json.dumps(body))


def _replace(at: Damage) -> None:
    shutil.rmtree(at.table)
    other = at.table.parent / "another"
    write_log(other, COMMITS)
    write_data(other, COMMITS)
    other.rename(at.table)


def _foreign(at: Damage) -> None:
    sql("UPDATE dl_heads SET authority = 'sql' WHERE table_key = {key}")(at)
    write_log(at.table, 1, first=COMMITS)
    write_data(at.table, 1, first=COMMITS)


def _gap(at: Damage) -> None:
    write_log(at.table, 2, first=COMMITS)
    write_data(at.table, 2, first=COMMITS)
    at.commit(COMMITS).unlink()


def _twice_in_checkpoint(at: Damage) -> None:
    table = pq.read_table(at.checkpoint)
    one = table.filter(pc.is_valid(table["add"])).slice(0, 1)
    pq.write_table(pa.concat_tables([table, one]), at.checkpoint)


def _data(at: Damage) -> Path:
    return at.table / "d=2024-01-02" / "part-1.parquet"


DAMAGE: dict[str, tuple[str, Callable[[Damage], None]]] = {
    # In the catalog.
    "row-deleted": ("files-lost", sql(f"DELETE FROM {FILES}")),
    "row-closed": ("files-lost", sql(f"UPDATE dl_files_heap SET removed_version = 2 WHERE {ONE}")),
    "row-copied": (
        "files-added",
        sql(
            "INSERT INTO dl_files_heap (load_id, path, partition_id, size, data_change, "
            "added_version, removed_version, path_key) SELECT load_id, 'other', partition_id, "
            f"size, data_change, added_version, removed_version, 5 FROM {FILES}"
        ),
    ),
    "size-changed": ("files-changed", sql(f"UPDATE dl_files_heap SET size = 7 WHERE {ONE}")),
    "path-changed": ("files-added", sql(f"UPDATE dl_files_heap SET path = 'x' WHERE {ONE}")),
    "partition-changed": (
        "files-changed",
        sql(
            "UPDATE dl_files_heap SET partition_id = (SELECT max(p.partition_id) "
            "FROM dl_partitions p WHERE p.load_id = {load} "
            f"AND p.partition_id <> dl_files_heap.partition_id) WHERE {ONE}"
        ),
    ),
    "stats-changed": (
        "pruning-changed",
        sql(f"UPDATE dl_files_heap SET stats = replace(stats, '10', '11') WHERE {ONE}"),
    ),
    "key-changed": ("pruning-changed", sql(f"UPDATE dl_files_heap SET hi0 = hi0 - 5 WHERE {ONE}")),
    "count-changed": (
        "pruning-changed",
        sql(f"UPDATE dl_files_heap SET num_records = 9 WHERE {ONE}"),
    ),
    "schema-changed": (
        "metadata-changed",
        sql("UPDATE dl_metadata SET schema_string = replace(schema_string, 'long', 'integer') "
            "WHERE load_id = {load}"),
    ),
    "property-changed": (
        "metadata-changed",
        sql("UPDATE dl_metadata SET configuration = '{{\"delta.appendOnly\": \"true\"}}' "
            "WHERE load_id = {load}"),
    ),
    "protocol-changed": (
        "protocol-changed",
        sql("UPDATE dl_protocols SET min_writer_version = 5 WHERE load_id = {load}"),
    ),
    "txn-changed": ("txns-changed", sql("UPDATE dl_txns SET version = 8 WHERE load_id = {load}")),
    "partition-count": (
        "partitions-changed",
        sql("UPDATE dl_partitions SET num_files = 5 WHERE load_id = {load} "
            "AND partition_values LIKE '%-02%'"),
    ),
    "partition-text": (
        "partitions-changed",
        sql("UPDATE dl_partitions SET partition_values = replace(partition_values, '-02', '-09') "
            "WHERE load_id = {load} AND partition_values LIKE '%-02%'"),
    ),
    "time-changed": (
        "history-changed",
        sql("UPDATE dl_versions SET commit_time = 5 WHERE load_id = {load} AND version = 1"),
    ),
    "totals-changed": (
        "totals-wrong",
        sql("UPDATE dl_heads SET total_bytes = total_bytes + 1 WHERE table_key = {key}"),
    ),
    "head-back": (
        "head-moved",
        sql("UPDATE dl_heads SET head_version = head_version - 1 WHERE table_key = {key}"),
    ),
    "head-on": (
        "head-moved",
        sql("UPDATE dl_heads SET head_version = head_version + 1 WHERE table_key = {key}"),
    ),
    "authority": (
        "authority-changed",
        sql("UPDATE dl_heads SET authority = 'sql' WHERE table_key = {key}"),
    ),
    "keys-forgotten": (
        "pruning-changed",
        sql("UPDATE dl_tables SET skipping = '[]' WHERE table_key = {key}"),
    ),
    "adds-changed": (
        "history-changed",
        sql("UPDATE dl_versions SET num_adds = 9 WHERE load_id = {load} AND version = 1"),
    ),
    # In the log.
    "gap": ("commit-lost", _gap),
    "next-garbage": ("commit-damaged", lambda at: at.commit(COMMITS).write_text("{garbage")),
    "checkpoint-doubled": ("checkpoint-wrong", _twice_in_checkpoint),
    "commit-deleted": ("commit-lost", lambda at: at.commit(1).unlink()),
    "newest-deleted": ("commit-lost", lambda at: at.commit(HEAD).unlink()),
    "commit-rewritten": ("commit-rewritten", _rewrite),
    "commit-in-place": ("commit-rewritten", _rewrite_in_place),
    "commit-cut": ("commit-rewritten", _cut_commit),
    "checkpoint-wrong": ("checkpoint-wrong", _wrong_checkpoint),
    "checkpoint-cut": ("checkpoint-damaged", _cut_checkpoint),
    "last-checkpoint": ("last-checkpoint-wrong", _wrong_last_checkpoint),
    "checksum": ("checksum-wrong", _wrong_checksum),
    "log-deleted": ("log-gone", lambda at: shutil.rmtree(at.log)),
    "replaced": ("table-replaced", _replace),
    "foreign": ("foreign-commit", _foreign),
    # In the data.
    "data-deleted": ("data-file-gone", lambda at: _data(at).unlink()),
    "data-cut": ("data-file-size", lambda at: _data(at).write_bytes(b"x")),
}  # fmt: skip
_CHECKPOINTED = (
    "checkpoint-wrong",
    "checkpoint-doubled",
    "checkpoint-cut",
    "last-checkpoint",
    "sound-checkpoint",
)
_SOUND = ("sound", "sound-checkpoint")


@pytest.fixture
def lake(tmp_path: Path) -> tuple[Path, Path]:
    """(folder, database) of a table for each kind of damage, and two that stay sound."""
    folder, database = tmp_path / "lake", tmp_path / "m.sqlite"
    for name in (*DAMAGE, *_SOUND):
        table = write_log(folder / name, COMMITS)
        add_actions(table, 1, {"txn": {"appId": "app", "version": 3}})
        write_data(table, COMMITS)
        if name in _CHECKPOINTED:
            DeltaTable(str(table)).create_checkpoint()
    entries = Sources(discover=(str(folder),)).entries({})
    assert migrate_fleet(entries, str(database)).exit_code == 0
    return folder, database


def test_each_kind_of_damage_is_named(lake: tuple[Path, Path]) -> None:
    folder, database = lake
    first = sweep(str(database), SweepOptions(night=0))
    assert first.verdict == f"All {len(DAMAGE) + 2} tables say what their logs say."
    for name, (_, damage) in DAMAGE.items():
        damage(Damage(database, folder / name))
    found: dict[str, int] = {}
    for night in range(1, 8):
        report = sweep(str(database), SweepOptions(night=night))
        for table in report.tables:
            name = table.row.full_name
            if name in _SOUND:
                assert (table.status, table.findings) == ("verified", [])
            elif DAMAGE[name][0] in {f.kind for f in table.findings}:
                assert table.status == "drift"
                assert name in table.findings[0].command(name)
                found.setdefault(name, night)
        if len(found) == len(DAMAGE):
            break
    assert found.keys() == DAMAGE.keys(), {n: DAMAGE[n][0] for n in DAMAGE.keys() - found.keys()}
    assert sum(night == 1 for night in found.values()) >= len(DAMAGE) - 4
    # It stays told until somebody mends it, whatever files have their turn.
    last = sweep(str(database), SweepOptions(night=report.night + 3))
    assert last.exit_code == 2
    assert {t.row.full_name for t in last.of("verified")} == set(_SOUND)


def _vector(at: Path) -> Path:
    [found] = at.glob("deletion_vector_*.bin")
    return found


def _overwrite(path: Path, start: int, count: int) -> None:
    """So many bytes of zeros; the size stays."""
    data = bytearray(path.read_bytes())
    start %= len(data)
    data[start : start + count] = bytes(len(data[start : start + count]))
    path.write_bytes(data)


def _parquet(at: Path) -> Path:
    return min(at.glob("*.parquet"))


def _no_sidecars(at: Path) -> None:
    for path in (at / "_delta_log" / "_sidecars").iterdir():
        path.unlink()


def _ask(at: Path, statement: str) -> None:
    with closing(sqlite3.connect(at.parent / "m.sqlite")) as connection, connection:
        done = connection.execute(
            statement.format(
                load=f"(SELECT h.live_load FROM dl_heads h WHERE h.table_key = {_key(at)})",
                key=_key(at),
            )
        )
        assert done.rowcount >= 1, statement


def _key(at: Path) -> str:
    return f"(SELECT t.table_key FROM dl_tables t WHERE t.name = '{at.name}')"


_DEAD = f"dl_files_heap WHERE load_id = {{load}} AND removed_version < {LIVE}"
REAL: dict[str, tuple[str, Callable[[Path], None]]] = {
    "vector-deleted": ("vector-gone", lambda at: _vector(at).unlink()),
    "vector-changed": ("vector-damaged", lambda at: _overwrite(_vector(at), 8, 6)),
    "vector-cut": ("vector-damaged", lambda at: _vector(at).write_bytes(b"\x01\x00")),
    "footer-zeroed": ("data-file-damaged", lambda at: _overwrite(_parquet(at), -60, 40)),
    "data-zeroed": ("data-file-damaged", lambda at: _overwrite(_parquet(at), 0, 1 << 20)),
    "sidecars-deleted": ("checkpoint-damaged", _no_sidecars),
    "past-deleted": ("history-changed", lambda at: _ask(at, f"DELETE FROM {_DEAD}")),
}


def test_files_are_what_they_were_added_as(tmp_path: Path) -> None:
    """Real ones, a deletion vector each: looked into as their turn comes."""
    database = str(tmp_path / "m.sqlite")
    for name in (*REAL, "sound"):
        table = dl.create_table(
            f"deltasql://sqlite:///{database}?table={name}",
            pa.schema([("x", pa.int64())]),
            location=str(tmp_path / name),
            properties={
                "delta.enableDeletionVectors": "true",
                "delta.checkpointPolicy": "v2",
            },
        )
        for first in (0, 20_000):
            table.append(pa.table({"x": range(first, first + 20_000)}))
        table.delete("x % 3 = 0")
        table.create_checkpoint()
        table.close()
    assert sweep(database, SweepOptions(night=0)).exit_code == 0
    for name, (_, damage) in REAL.items():
        damage(tmp_path / name)
    found: dict[str, set[str]] = {}
    for night in range(1, 8):
        report = sweep(database, SweepOptions(night=night))
        for each in report.tables:
            found.setdefault(each.row.name, set()).update(f.kind for f in each.findings)
        if all(found.get(name) for name in REAL):
            break
    assert found == {"sound": set(), **{name: {kind} for name, (kind, _) in REAL.items()}}


def test_a_version_that_nobody_publishes_is_told(tmp_path: Path) -> None:
    table, database = write_log(tmp_path / "t", 2), tmp_path / "m.sqlite"
    dl.import_table(str(table), database=str(database))
    _ask(table, "UPDATE dl_heads SET authority = 'sql' WHERE table_key = {key}")
    _ask(
        table,
        "INSERT INTO dl_outbox (table_key, version, epoch, size, digest, created_at) "
        "VALUES ({key}, 1, 1, 1, '', 1)",
    )
    report = sweep(str(database), SweepOptions(data_files=False))
    [found] = report.tables[0].findings
    assert (found.kind, report.exit_code) == ("outbox-stuck", 3)
    assert found.command("t") == "dl mirror drain t"
