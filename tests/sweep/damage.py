"""Kinds of damage on both sides, each with the name that a sweep gives it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from deltalakedb.log.rows import LIVE
from deltalakedb.migrate.fleet import migrate_fleet
from deltalakedb.migrate.sources import Sources
from tests.fleet.logs import add_actions, write_data, write_log

COMMITS = 4
HEAD = COMMITS - 1


def sql(statement: str) -> Callable[[Damage], object]:
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


def _flip(path: Path, at: int) -> None:
    """A byte, whatever the listing may tell."""
    times, data = path.stat(), bytearray(path.read_bytes())
    data[at] ^= 0x55
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _touch(at: Damage) -> None:
    times = at.commit(1).stat()
    os.utime(at.commit(1), ns=(times.st_atime_ns, times.st_mtime_ns - 90 * 10**9))


DAMAGE: dict[str, tuple[str, Callable[[Damage], object]]] = {
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
    "epoch-raised": (
        "authority-changed",
        sql("UPDATE dl_heads SET epoch = epoch + 2 WHERE table_key = {key}"),
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
    "mode-changed": (
        "table-changed",
        sql("UPDATE dl_tables SET mode = 'full-history' WHERE table_key = {key}"),
    ),
    "changes-since": (
        "table-changed",
        sql("UPDATE dl_tables SET changes_since = 1 WHERE table_key = {key}"),
    ),
    # In the log.
    "times-moved": ("commit-times-changed", _touch),
    "last-checkpoint-gone": (
        "last-checkpoint-wrong",
        lambda at: (at.log / "_last_checkpoint").unlink(),
    ),
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
    "data-changed": ("data-file-changed", lambda at: _flip(_data(at), 500)),
    "data-cut": ("data-file-size", lambda at: _data(at).write_bytes(b"x")),
}  # fmt: skip


def _checkpoint(change: Callable[[list[dict[str, Any]]], None]) -> Callable[[Damage], object]:
    """Damage to the rows of the checkpoint."""

    def damage(at: Damage) -> None:
        table = pq.read_table(at.checkpoint)
        rows = table.to_pylist()
        change(rows)
        changed = pa.Table.from_pylist(rows, schema=table.schema)
        assert not changed.equals(table)
        pq.write_table(changed, at.checkpoint)

    return damage


def _action(rows: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The last action of a kind in a checkpoint."""
    return [row[kind] for row in rows if row[kind]][-1]  # type: ignore[no-any-return]


def _other_stats(rows: list[dict[str, Any]]) -> None:
    add = _action(rows, "add")
    stats = json.loads(add["stats"])
    stats["maxValues"]["id"] -= 5
    add["stats"] = json.dumps(stats)


def _last_checkpoint(**said: object) -> Callable[[Damage], object]:
    def damage(at: Damage) -> None:
        path = at.log / "_last_checkpoint"
        found = json.loads(path.read_text())
        assert found.items().isdisjoint(said.items())
        path.write_text(json.dumps(found | said))

    return damage


def _checksum_of(**said: object) -> Callable[[Damage], object]:
    """A .crc whose totals are right."""
    size = sum(1000 + n for n in range(COMMITS))
    body = {"numFiles": COMMITS, "tableSizeBytes": size, "numMetadata": 1, "numProtocol": 1}
    text = json.dumps(body | said)
    return lambda at: (at.log / f"{HEAD:020d}.crc").write_text(text)


def _version(column: str, value: str) -> tuple[str, Callable[[Damage], object]]:
    where = "WHERE load_id = {load} AND version = 2"
    return "history-changed", sql(f"UPDATE dl_versions SET {column} = {value} {where}")


DEEPER: dict[str, tuple[str, Callable[[Damage], object]]] = {
    # In checkpoints and what leads to them.
    "checkpoint-stats": ("checkpoint-wrong", _checkpoint(_other_stats)),
    "checkpoint-no-stats": (
        "checkpoint-wrong",
        _checkpoint(lambda rows: _action(rows, "add").update(stats=None)),
    ),
    "checkpoint-size": (
        "checkpoint-wrong",
        _checkpoint(lambda rows: _action(rows, "add").update(size=5)),
    ),
    "checkpoint-partition": (
        "checkpoint-wrong",
        _checkpoint(lambda rows: _action(rows, "add").update(partitionValues=[("d", "x")])),
    ),
    "checkpoint-protocol": (
        "checkpoint-wrong",
        _checkpoint(lambda rows: _action(rows, "protocol").update(minWriterVersion=4)),
    ),
    "checkpoint-txn": (
        "checkpoint-wrong",
        _checkpoint(lambda rows: _action(rows, "txn").update(version=77)),
    ),
    "checkpoint-in-place": (
        "checkpoint-damaged",
        lambda at: _flip(at.checkpoint, at.checkpoint.stat().st_size - 5),
    ),
    "last-checkpoint-in-place": (
        "last-checkpoint-wrong",
        lambda at: _flip(at.log / "_last_checkpoint", 0),
    ),
    "checkpoint-gone": ("last-checkpoint-wrong", lambda at: at.checkpoint.unlink()),
    "last-checkpoint-size": ("last-checkpoint-wrong", _last_checkpoint(size=999)),
    "last-checkpoint-bytes": ("last-checkpoint-wrong", _last_checkpoint(sizeInBytes=999)),
    "last-checkpoint-adds": ("last-checkpoint-wrong", _last_checkpoint(numOfAddFiles=999)),
    "last-checkpoint-parts": ("last-checkpoint-wrong", _last_checkpoint(parts=3)),
    "last-checkpoint-sum": ("last-checkpoint-wrong", _last_checkpoint(checksum="0" * 32)),
    "last-checkpoint-text": (
        "last-checkpoint-wrong",
        lambda at: (at.log / "_last_checkpoint").write_text("{") and None,
    ),
    # In commits and totals.
    "commit-emptied": ("commit-rewritten", lambda at: at.commit(1).write_text("")),
    "checksum-protocol": (
        "checksum-wrong",
        _checksum_of(protocol={"minReaderVersion": 2, "minWriterVersion": 5}),
    ),
    "checksum-table": ("checksum-wrong", _checksum_of(metadata={"id": "another"})),
    # In the catalog.
    "since-raised": (
        "history-changed",
        sql("UPDATE dl_heads SET known_since = 2 WHERE table_key = {key}"),
    ),
    "stats-forgotten": (
        "pruning-changed",
        sql(f"UPDATE dl_files_heap SET stats = NULL WHERE {ONE}"),
    ),
    "tags-changed": (
        "pruning-changed",
        sql(f"UPDATE dl_files_heap SET tags = '{{{{\"a\": \"b\"}}}}' WHERE {ONE}"),
    ),
    "begins-later": (
        "history-changed",
        sql(f"UPDATE dl_files_heap SET added_version = 2 WHERE {ONE}"),
    ),
    "txn-deleted": ("txns-changed", sql("DELETE FROM dl_txns WHERE load_id = {load}")),
    "domain-added": (
        "domains-changed",
        sql(
            "INSERT INTO dl_domains (load_id, domain, added_version, removed_version, "
            f"configuration) VALUES ({{load}}, 'delta.x', 1, {LIVE}, '{{{{}}}}')"
        ),
    ),
    "metadata-deleted": (
        "metadata-changed",
        sql("DELETE FROM dl_metadata WHERE load_id = {load}"),
    ),
    "schema-later": (
        "history-changed",
        sql("UPDATE dl_metadata SET added_version = 2 WHERE load_id = {load}"),
    ),
    "version-deleted": (
        "history-changed",
        sql("DELETE FROM dl_versions WHERE load_id = {load} AND version = 2"),
    ),
    "operation-changed": _version("operation", "'DELETE'"),
    "user-changed": _version("user_metadata", "'x'"),
    "engine-changed": _version("engine_info", "'x'"),
    "token-changed": _version("txn_id", "'x'"),
    "digest-changed": ("commit-rewritten", _version("log_digest", "'0'")[1]),
    "count-of-version": _version("live_files", "77"),
    "other-action-added": (
        "history-changed",
        sql(
            "INSERT INTO dl_other_actions (load_id, version, position, action, body) "
            "VALUES ({load}, 1, 9, 'x', '{{}}')"
        ),
    ),
    "change-file-added": (
        "history-changed",
        sql(
            "INSERT INTO dl_change_files (load_id, version, path, partition_values) "
            "VALUES ({load}, 1, 'x', '[]')"
        ),
    ),
    "partition-emptied": (
        "partitions-changed",
        sql("UPDATE dl_partitions SET emptied_at = 1 WHERE load_id = {load} "
            "AND partition_values LIKE '%-02%'"),
    ),
    "features-changed": (
        "table-changed",
        sql("UPDATE dl_tables SET unreadable_features = 'catalogManaged' WHERE table_key = {key}"),
    ),
    "changes-after-head": (
        "table-changed",
        sql("UPDATE dl_tables SET changes_since = 7 WHERE table_key = {key}"),
    ),
    "table-id": (
        "table-changed",
        sql("UPDATE dl_tables SET table_id = '00000000-0000-0000-0000-000000000000' "
            "WHERE table_key = {key}"),
    ),
    "load-forgotten": ("table-changed", sql("DELETE FROM dl_loads WHERE load_id = {load}")),
    "metadata-renamed": (
        "metadata-changed",
        sql("UPDATE dl_metadata SET name = 'x' WHERE load_id = {load}"),
    ),
    "registered-otherwise": (
        "table-changed",
        sql("UPDATE dl_tables SET location_hash = 'x' WHERE table_key = {key}"),
    ),
    "log-elsewhere": (
        "log-gone",
        sql("UPDATE dl_tables SET log_location = log_location || 'x' WHERE table_key = {key}"),
    ),
}  # fmt: skip
"""More of the same, which rows against a proof alone wouldn't tell."""
SOUND = ("sound", "sound-checkpoint")
UNPROVEN = ("epoch-raised", "changes-since", "data-changed", "last-checkpoint-gone")
"""What can be told only from what was proven before."""
OTHERWISE = {"head-back": "totals-wrong", "partition-text": "files-changed"}
"""Which has another name where nothing was proven before."""


def lake_of(folder: Path, kinds: Sequence[str]) -> tuple[Path, Path]:
    """(folder, database) of a table for each kind of damage, and two that stay sound."""
    lake, database = folder / "lake", folder / "m.sqlite"
    for name in (*kinds, *SOUND):
        table = write_log(lake / name, COMMITS)
        add_actions(table, 1, {"txn": {"appId": "app", "version": 3}})
        write_data(table, COMMITS)
        if "checkpoint" in name:
            DeltaTable(str(table)).create_checkpoint()
    entries = Sources(discover=(str(lake),)).entries({})
    assert migrate_fleet(entries, str(database)).exit_code == 0
    return lake, database
