"""Damage on both sides, a kind a table: each is named, most the first night, all in a week."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.log.rows import LIVE
from deltalakedb.sweep.run import SweepOptions, sweep
from tests.fleet.logs import write_log
from tests.sweep.damage import DAMAGE, DEEPER, OTHERWISE, SOUND, UNPROVEN, Damage, lake_of

Kinds = Mapping[str, tuple[str, Callable[[Damage], object]]]


def test_each_kind_of_damage_is_named(tmp_path: Path) -> None:
    _each_is_named(tmp_path, DAMAGE)


@pytest.mark.system
def test_each_deeper_kind_of_damage_is_named(tmp_path: Path) -> None:
    _each_is_named(tmp_path, DEEPER)


def _each_is_named(tmp_path: Path, kinds: Kinds) -> None:
    folder, database = lake_of(tmp_path, tuple(kinds))
    first = sweep(str(database), SweepOptions(night=0))
    assert first.verdict == f"All {len(kinds) + 2} tables say what their logs say."
    for name, (_, damage) in kinds.items():
        damage(Damage(database, folder / name))
    found: dict[str, int] = {}
    for night in range(1, 8):
        # Data files that are damaged have their turn on the second of them.
        report = sweep(str(database), SweepOptions(night=night + 2))
        for table in report.tables:
            name = table.row.full_name
            if name in SOUND:
                assert (table.status, table.findings) == ("verified", [])
            elif kinds[name][0] in {f.kind for f in table.findings}:
                assert table.status == "drift"
                assert name in table.findings[0].command(name)
                found.setdefault(name, night)
        if len(found) == len(kinds):
            break
    assert found.keys() == kinds.keys(), {n: kinds[n][0] for n in kinds.keys() - found.keys()}
    assert sum(night == 1 for night in found.values()) >= len(kinds) * 0.7
    # It stays told until somebody mends it, whatever files have their turn.
    last = sweep(str(database), SweepOptions(night=report.night + 3))
    assert last.exit_code == 2
    assert {t.row.full_name for t in last.of("verified")} == set(SOUND)


AT_ONCE = ("stats-changed", "key-changed", "checkpoint-stats", "last-checkpoint-size",
           "time-changed", "partition-count", "since-raised", "user-changed")  # fmt: skip


def test_damage_from_before_the_first_night_is_named(tmp_path: Path) -> None:
    every = DAMAGE | DEEPER
    _each_is_named_at_once(tmp_path, {name: every[name] for name in AT_ONCE})


@pytest.mark.system
def test_each_kind_of_damage_from_before_the_first_night_is_named(tmp_path: Path) -> None:
    every = {
        name: (OTHERWISE.get(name, kind), damage)
        for name, (kind, damage) in (DAMAGE | DEEPER).items()
        if name not in UNPROVEN
    }
    _each_is_named_at_once(tmp_path, every)


def _each_is_named_at_once(tmp_path: Path, kinds: Kinds) -> None:
    folder, database = lake_of(tmp_path, tuple(kinds))
    for name, (_, damage) in kinds.items():
        damage(Damage(database, folder / name))
    # Of data files a seventh has its turn each night.
    nights = [sweep(str(database), SweepOptions(night=night)) for night in (1, 4)]
    found: dict[str, set[str]] = {}
    for table in (table for night in nights for table in night.tables):
        found.setdefault(table.row.full_name, set()).update(f.kind for f in table.findings)
    assert {n: found[n] for n, (kind, _) in kinds.items() if kind not in found[n]} == {}
    assert [found[name] for name in SOUND] == [set(), set()]


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
REAL: dict[str, tuple[str, Callable[[Path], object]]] = {
    "vector-deleted": ("vector-gone", lambda at: _vector(at).unlink()),
    "vector-changed": ("vector-damaged", lambda at: _overwrite(_vector(at), 8, 6)),
    "vector-cut": ("vector-damaged", lambda at: _vector(at).write_bytes(b"\x01\x00")),
    "footer-zeroed": ("data-file-damaged", lambda at: _overwrite(_parquet(at), -60, 40)),
    "data-zeroed": ("data-file-changed", lambda at: _overwrite(_parquet(at), 0, 1 << 20)),
    "page-changed": ("data-file-changed", lambda at: _overwrite(_parquet(at), 5_000, 1)),
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
    for name in ("data-zeroed", "page-changed"):
        # Where it is decoded in its turn before its digest is compared, that tells of it.
        found[name] = {{"data-file-damaged": "data-file-changed"}.get(k, k) for k in found[name]}
    assert found == {"sound": set(), **{name: {kind} for name, (kind, _) in REAL.items()}}


def test_a_version_that_nobody_publishes_is_told(tmp_path: Path) -> None:
    table, database = write_log(tmp_path / "t", 2), tmp_path / "m.sqlite"
    dl.import_table(str(table), database=str(database))
    _ask(table, "UPDATE dl_heads SET authority = 'sql', epoch = 2 WHERE table_key = {key}")
    _ask(
        table,
        "INSERT INTO dl_outbox (table_key, version, epoch, size, digest, created_at) "
        "VALUES ({key}, 1, 1, 1, '', 1)",
    )
    report = sweep(str(database), SweepOptions(data_files=False))
    [found] = report.tables[0].findings
    assert (found.kind, report.exit_code) == ("outbox-stuck", 3)
    assert found.command("t") == "dl mirror drain t"


OWN: dict[str, tuple[str, str]] = {
    "change-deleted": (
        "history-changed",
        "DELETE FROM dl_changes WHERE table_key = {key} AND version = 2",
    ),
    "change-of-another": (
        "history-changed",
        "UPDATE dl_changes SET path_key = path_key + 1 WHERE table_key = {key} AND version = 2",
    ),
    "token-deleted": (
        "history-changed",
        "DELETE FROM dl_commits WHERE table_key = {key} AND version = 2",
    ),
    "token-of-another": (
        "history-changed",
        "UPDATE dl_commits SET token = 'x' WHERE table_key = {key} AND version = 2",
    ),
    "durable-raised": (
        "outbox-lost",
        "UPDATE dl_mirror SET durable_version = 99 WHERE table_key = {key}",
    ),
    "removed-later": (
        "history-changed",
        "UPDATE dl_files_heap SET removed_at = removed_at + 5000 WHERE load_id = {load} "
        "AND removed_version = 3",
    ),
    "dead-row-renamed": (
        "history-changed",
        "UPDATE dl_files_heap SET path = 'x' || path WHERE load_id = {load} "
        "AND removed_version = 3",
    ),
    "handed-over": (
        "authority-changed",
        "UPDATE dl_heads SET authority = 'log' WHERE table_key = {key}",
    ),
}


@pytest.mark.system
def test_what_the_catalog_wrote_itself_is_held_against_its_log(tmp_path: Path) -> None:
    database = str(tmp_path / "m.sqlite")
    rows = pa.table({"x": range(100), "s": ["a"] * 100})
    every = {
        "delta.enableDeletionVectors": "true",
        "delta.enableChangeDataFeed": "true",
        "delta.enableRowTracking": "true",
        "delta.enableInCommitTimestamps": "true",
    }
    for name in (*OWN, "sound"):
        table = dl.create_table(
            f"deltasql://sqlite:///{database}?table={name}",
            rows.schema,
            location=str(tmp_path / name),
            properties=every,
        )
        table.append(rows)
        table.append(rows)
        table.delete("x % 7 = 0")
        table.update({"s": "'b'"}, predicate="x % 11 = 0")
        table.create_checkpoint()
        table.optimize.compact()
        table.restore(2)
        table.close()
    whole = SweepOptions(night=0, full_share=1.0)
    report = sweep(database, whole)
    assert [t.findings for t in report.tables] == [[]] * len(report.tables)
    for name, (_, statement) in OWN.items():
        _ask(tmp_path / name, statement)
    found = {t.row.name: {f.kind for f in t.findings} for t in sweep(database, whole).tables}
    assert {n: found[n] for n, (kind, _) in OWN.items() if kind not in found[n]} == {}
    assert found["sound"] == set()
