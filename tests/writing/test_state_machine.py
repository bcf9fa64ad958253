"""Whatever is done to a table, in whatever order: all readers see the rows of the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import deltalake
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests import lengths
from tests.servers.duckdb import DuckDbServer
from tests.servers.postgres import PostgresServer
from tests.servers.process import ServerError
from tests.servers.spark import SparkError, SparkServer
from tests.writing.changing import ChangingMachine, told
from tests.writing.columns import rows_of
from tests.writing.machine import Kept, Run, TableMachine


def run_machines(
    run: Run,
    examples: int,
    steps: int,
    machine: Callable[[Run], TableMachine] = TableMachine,
    *,
    repeatable: bool = False,
) -> None:
    """`repeatable`: the same steps each time."""
    run_state_machine_as_test(
        lambda: machine(run),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=repeatable,
            database=None if repeatable else settings().database,
            # A shorter example isn't worth the minutes that looking for it takes.
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


def sqlite(folder: Path) -> str:
    return f"sqlite:///{folder / 'catalog.sqlite'}"


def test_what_others_read_equals_the_model(tmp_path: Path) -> None:
    run_machines(Run(tmp_path, sqlite), examples=5, steps=8)


def test_changes_equal_the_model(tmp_path: Path) -> None:
    run_machines(Run(tmp_path, sqlite), 3, 8, ChangingMachine, repeatable=True)


@pytest.mark.long
def test_many_changes(tmp_path: Path) -> None:
    run_machines(Run(tmp_path, sqlite), lengths.rounds(30), 20, ChangingMachine)


@pytest.mark.long
def test_many_steps_on_postgresql(postgres_server: PostgresServer, tmp_path: Path) -> None:
    def database(folder: Path) -> str:
        return postgres_server.url(postgres_server.create_database())

    run_machines(Run(tmp_path, database), lengths.rounds(20), 30)


@pytest.mark.system
def test_spark_and_duckdb_read_the_tables_of_the_machines(
    spark_server: SparkServer, duckdb_server: DuckDbServer, tmp_path: Path
) -> None:
    """One pass of each over all tables that the machines have made."""
    run = Run(tmp_path, sqlite, keep=True)
    run_machines(run, lengths.rounds(20), 12, repeatable=True)
    run_machines(run, lengths.rounds(15), 12, ChangingMachine, repeatable=True)
    assert len(run.kept) > 30 * lengths.LENGTH
    read_by_duckdb = compared = 0
    for number, kept in enumerate(run.kept):
        found = spark_server.rows(f"SELECT * FROM delta.`{kept.place}`")
        assert rows_of(found.cast(kept.schema)) == kept.rows
        half = sorted(row["n"] for row in kept.rows)[: len(kept.rows) // 2]
        if half:
            found = spark_server.rows(f"SELECT n FROM delta.`{kept.place}` WHERE n <= {half[-1]}")
            assert sorted(found.column("n").to_pylist()) == half
        for version, feed in sorted(kept.feeds.items())[-2:]:
            try:
                found = spark_server.rows(
                    f"SELECT * FROM table_changes_by_path('{kept.place}', {version}, {version})"
                )
            except SparkError as error:
                # Where a later version has another schema it reads no changes of earlier ones.
                if "DELTA_CHANGE_DATA_FEED_INCOMPATIBLE" not in str(error):
                    raise
                continue
            names = [name for name in feed.schema.names if name != "_commit_timestamp"]
            schema = feed.select(names).schema
            compared += 1
            assert Counter(map(told, found.select(names).cast(schema).to_pylist())) == Counter(
                map(told, feed.select(names).to_pylist())
            )
        read_by_duckdb += _duckdb_reads(duckdb_server, kept, tmp_path / f"rows-{number}.arrow")
    assert read_by_duckdb > len(run.kept) // 4
    assert compared > 0


def _duckdb_reads(server: DuckDbServer, kept: Kept, to: Path) -> bool:
    metadata = deltalake.DeltaTable(str(kept.place)).metadata()
    mode = metadata.configuration.get("delta.columnMapping.mode")
    if (mode in ("name", "id") and metadata.partition_columns) or "%" in str(kept.place):
        # It gives nulls for partition columns that are mapped (duckdb-delta's issue 343), and
        # decodes folders' names.
        return False
    try:
        found = server.rows(f"SELECT * FROM delta_scan('{kept.place}')", to)
    except ServerError as error:
        print(error)
        return False
    assert rows_of(pa.table(found).cast(kept.schema)) == kept.rows
    return True
