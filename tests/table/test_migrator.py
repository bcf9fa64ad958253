"""`DeltaTableMigrator`: what it tells, that its parameters act, and that nothing is claimed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

import deltalakedb as dl
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing import spill
from deltalakedb.migrate.points import rollback_points
from deltalakedb.parity import run as parity
from tests.table.opening import GrowingTable, add, first_actions, remove


@pytest.fixture
def source(tmp_path: Path) -> GrowingTable:
    """A log of 21 versions, 19 live files."""
    table = GrowingTable(tmp_path, f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    table.commit(*first_actions())
    for number in range(19):
        table.commit(add(f"f{number}", size=1 << 20))
    table.commit(remove("f0"), add("g"))
    return table


def migrator(source: GrowingTable, **sections: dict[str, Any]) -> dl.DeltaTableMigrator:
    """One whose configuration has these sections."""
    config = dl.ConfigLoader.load_mapping({"database": {"url": source.database}, **sections})
    return dl.DeltaTableMigrator(
        str(source.folder), dl.ConfigFactory.create_sql_config(config["database"])
    )


def parts(database: str) -> int:
    """How many parts the imports had."""
    with Catalog(database) as catalog, catalog.read() as connection:
        found: int = connection.exec_driver_sql("SELECT count(*) FROM dl_import_parts").scalar()
    return found


def test_a_migration(source: GrowingTable) -> None:
    moving = migrator(source)
    found = moving.analyze_source()
    assert (found.total_versions, found.total_files) == (21, 19)
    assert found.total_size_mb == pytest.approx(18 + 100 / (1 << 20))
    assert found.estimated_time_minutes > 0
    assert not (source.folder.parent / "catalog.sqlite").exists()
    result = moving.migrate_table("moved.sales")
    assert result.success, result.error_message
    assert (result.migrated_versions, result.migrated_files, result.version) == (21, 19, 20)
    assert result.error_message is None
    assert result.predicted_seconds == found.estimated_seconds
    assert result.seconds > 0
    table = dl.connect_to_table(result.target_uri)
    assert (table.name, table.version, table.known_since) == ("moved.sales", 20, 0)
    # Again: what has come meanwhile, and a proof of its own.
    source.commit(add("h"))
    again = moving.migrate_table("moved.sales")
    assert again.success
    assert (again.migrated_versions, again.migrated_files, again.version) == (1, 20, 21)


def test_success_is_what_the_comparison_says(
    source: GrowingTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving = migrator(source)
    assert moving.migrate_table("sales").success
    with Catalog(source.database) as catalog, catalog.write() as connection:
        connection.exec_driver_sql("UPDATE dl_files_heap SET size = size + 1")
    result = moving.migrate_table("sales")
    assert not result.success
    assert "dl diff" in str(result.error_message)
    # Where nothing is compared it is the version that counts.
    unproven = migrator(source, migration={"validate_after_migration": False})
    monkeypatch.setattr(parity, "compare", None)
    result = unproven.migrate_table("sales")
    assert result.proof is None
    assert result.success


def test_what_fails_is_told_in_the_result(source: GrowingTable, tmp_path: Path) -> None:
    nowhere = dl.DeltaTableMigrator(str(tmp_path / "none"), source.database)
    result = nowhere.migrate_table("sales")
    assert not result.success
    assert str(tmp_path / "none") in str(result.error_message)
    assert (result.migrated_versions, result.migrated_files) == (0, 0)
    (tmp_path / "bad" / "_delta_log").mkdir(parents=True)
    (tmp_path / "bad" / "_delta_log" / f"{0:020}.json").write_text("{")
    damaged = dl.DeltaTableMigrator(str(tmp_path / "bad"), source.database).migrate_table("bad")
    assert damaged.error is not None
    assert damaged.error.kind is DeltaLakeErrorKind.CORRUPT_COMMIT
    assert migrator(source).migrate_table("sales").success
    other = migrator(source).migrate_table("other")
    assert "already, as sales" in str(other.error_message)
    for wrong in ({"target_table_name": "a/b"}, {"batch_size": 0}, {"log_writers": "all"}):
        with pytest.raises(DeltaLakeError):
            migrator(source).migrate_table(**wrong)
    with pytest.raises(DeltaLakeError, match="did you mean 'batch_size'"):
        migrator(source).migrate_table("sales", batchsize=5)
    with pytest.raises(DeltaLakeError, match="'contacts'; did you mean 'contact'"):
        migrator(source).cutover("sales", contacts="me")
    section: Any = {"url": "postgresql://u:h1dden@host/db"}
    with pytest.raises(DeltaLakeError, match="create_sql_config") as told:
        dl.DeltaTableMigrator(str(tmp_path / "bad"), section)
    assert "h1dden" not in str(told.value)
    with pytest.raises(DeltaLakeError, match="MemoryOptimizationConfig, not a dict"):
        migrator(source).set_memory_config(section)
    with pytest.raises(ValueError, match="fast"):
        migrator(source).migrate_table("sales", strategy="fast")


def test_partitions_are_kept_or_it_is_refused(source: GrowingTable, tmp_path: Path) -> None:
    moving = migrator(source, migration={"preserve_partitions": False})
    refused = moving.migrate_table("sales")
    assert "partitioned by day" in str(refused.error_message)
    assert not (source.folder.parent / "catalog.sqlite").exists()
    kept = moving.migrate_table("sales", preserve_partitions=True)
    assert kept.success
    assert dl.connect_to_table(kept.target_uri).metadata.partition_columns == ["day"]
    write_deltalake(str(tmp_path / "plain"), pa.table({"id": [1]}))
    plain = dl.DeltaTableMigrator(str(tmp_path / "plain"), moving.config)
    assert plain.migrate_table("plain", preserve_partitions=False).success


def test_files_are_read_in_batches(source: GrowingTable) -> None:
    assert migrator(source).migrate_table("sales", batch_size=5000).success
    few = parts(source.database)
    other = source.database.replace("catalog", "other")
    small = dl.DeltaTableMigrator(str(source.folder), other)
    assert small.migrate_table("sales", batch_size=2).success
    assert parts(other) > few + 5


@pytest.mark.parametrize(
    ("strategy", "packed"),
    [
        (dl.OptimizationStrategy.IN_MEMORY, dl.CompressionType.NONE),
        (dl.OptimizationStrategy.BALANCED, dl.CompressionType.ZSTD),
        (dl.OptimizationStrategy.STREAMING, dl.CompressionType.NONE),
        (dl.OptimizationStrategy.STREAMING, dl.CompressionType.GZIP),
    ],
)
def test_memory(
    source: GrowingTable,
    strategy: dl.OptimizationStrategy,
    packed: dl.CompressionType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spill, "MEMORY_BYTES", 4_000)
    written: list[str] = []
    before = spill._write_table

    def note(table: pa.Table, path: Path, compression: Any) -> None:
        before(table, path, compression)
        written.extend(each.name for each in path.parent.glob(f"{path.name}.*"))

    monkeypatch.setattr(spill, "_write_table", note)
    moving = migrator(source)
    moving.set_memory_config(
        dl.MemoryOptimizationConfig(strategy=strategy, chunk_size=4, compression_type=packed)
    )
    assert moving.migrate_table("sales").success
    ranges = sum(name.startswith("files.") for name in written)
    if strategy is dl.OptimizationStrategy.IN_MEMORY:
        assert ranges == 0
    elif strategy is dl.OptimizationStrategy.STREAMING:
        assert ranges == parts(source.database) - 1
    else:
        assert 0 < ranges < parts(source.database) - 1
    ends = {name.partition(".")[2] for name in written}
    assert ends <= {"arrows.gz" if packed is dl.CompressionType.GZIP else "arrow"}


def test_metrics_are_measured(source: GrowingTable) -> None:
    moving = migrator(source)
    moving.migrate_table("sales")
    with pytest.raises(DeltaLakeError, match="enable_metrics"):
        moving.get_migration_metrics()
    source.commit(*(add(f"n{number}") for number in range(50)))
    moving.enable_metrics()
    result = moving.migrate_table("sales")
    found = moving.get_migration_metrics()
    assert found.files == 50
    assert found.files_per_second == pytest.approx(50 / found.total_duration_seconds)
    assert 0 < found.total_duration_seconds <= result.seconds + 0.01
    size = sum(p.stat().st_size for p in (source.folder / "_delta_log").glob("*.json"))
    assert 0 < found.log_megabytes * 1e6 <= size
    assert 30 < found.peak_memory_mb < 100_000
    assert found.megabytes_per_second > 0


def test_strategies(tmp_path: Path) -> None:
    """Online and hybrid leave the log in charge until the cutover, offline hands over at once."""
    database = f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    rows = pa.table({"id": [1, 2]})
    for strategy in ("online", "hybrid", "offline"):
        folder = str(tmp_path / strategy)
        write_deltalake(folder, rows)
        old = DeltaTable(folder)
        config = dl.ConfigLoader.load_mapping(
            {"database": {"url": database}, "migration": {"strategy": strategy}}
        )
        sql = dl.ConfigFactory.create_sql_config(config["database"])
        moving = dl.DeltaTableMigrator(folder, sql)
        result = moving.migrate_table(strategy)
        assert result.success, result.error_message
        assert result.move is not None
        assert result.move.migration.strategy == strategy
        table = dl.connect_to_table(result.target_uri)
        points = rollback_points(strategy, database=database)
        assert [p.version for p in points] == [0]
        if strategy == "offline":
            assert result.move.migration.state == "sql"
        else:
            assert result.move.migration.state == "ready"
            write_deltalake(old, rows, mode="append")
            # Both sides write.
            table.append(rows)
            assert table.snapshot().count_rows() == 6
            moving.cutover()
        with pytest.raises(Exception, match=r"(?i)feature|metadata|protocol"):
            write_deltalake(old, rows, mode="append")
        table.append(rows)
        moving.rollback()
        write_deltalake(folder, rows, mode="append")
        assert DeltaTable(folder).version() == dl.connect_to_table(result.target_uri).version + 1


def test_a_rollback_point_is_made_where_it_is_wanted(source: GrowingTable) -> None:
    moving = migrator(source, migration={"create_rollback_point": False})
    moving.migrate_table("sales")
    assert rollback_points("sales", database=source.database) == []
    moving = migrator(source)
    for _ in range(2):
        moving.migrate_table("sales")
    assert [p.version for p in rollback_points("sales", database=source.database)] == [20]


def test_a_uri_is_shown_without_its_password() -> None:
    shown = dl.DeltaTableMigrator("/t", "postgresql://u:hidden@h/d")._uri("sales")
    assert "hidden" in "".join(shown)
    assert "hidden" not in f"{shown} {shown!r} {shown!s} {shown:>10}"


SCRIPT = """
import json, deltalakedb as dl
# No guard of the main module: workers must not begin this anew.
moving = dl.DeltaTableMigrator({source!r}, {database!r})
result = moving.migrate_table("sales", parallel_processing=True, workers=1)
print(json.dumps([result.success, result.migrated_files, result.imported.workers]))
"""


@pytest.mark.system
def test_local_workers_do_the_work(source: GrowingTable) -> None:
    code = SCRIPT.format(source=str(source.folder), database=source.database)
    script = source.folder.parent / "script.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [True, 19, 1]


@pytest.mark.system
def test_a_client_does_the_work(source: GrowingTable, dask_client: Any) -> None:
    moving = dl.DeltaTableMigrator(str(source.folder), source.database, client=dask_client)
    result = moving.migrate_table("sales", parallel_processing=True)
    assert result.success
    assert result.imported is not None
    assert result.imported.workers == len(dask_client.scheduler_info()["workers"])
