"""Commands that change and maintain tables."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import deltalakedb as dl
from tests.cli.commands import dl as run
from tests.cli.commands import error_of


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dl.Table:
    """A table of two small files, in the catalog of commands that name none."""
    path = tmp_path / "catalog.sqlite"
    monkeypatch.setenv("DL_DATABASE", str(path))
    uri = f"deltasql://sqlite:///{path}?table=t"
    dl.write_deltalake(uri, pa.table({"id": [1, 2]}), location=str(tmp_path / "t"))
    dl.write_deltalake(uri, pa.table({"id": [3]}), mode="append")
    return dl.connect_to_table(uri)


def test_alter(table: dl.Table) -> None:
    done = run(
        "alter", "t", "--set", "delta.columnMapping.mode=name", "--add-columns", "n int, d double",
        "--rename-column", "id=key", "--add-constraint", "positive=key > 0", "--description", "d",
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "describe: version 6"
    assert table.refresh().schema.names == ["key", "n", "d"]
    assert table.metadata.description == "d"
    message = error_of("alter", "t", "--add-constraint", "small=key < 3")
    assert "break the constraint small" in message


def test_optimize(table: dl.Table) -> None:
    done = run("optimize", "t")
    assert done.stdout.startswith("2 files of")
    assert "became 1 of" in done.stdout
    assert "; 1 were fine" in run("optimize", "t").stdout
    run("optimize", "t", "--z-order", "id")
    assert table.refresh().version == 3


def test_vacuum_and_restore(table: dl.Table) -> None:
    run("optimize", "t")
    assert "Version 3 of t: 2 files came back, 1 went" in run("restore", "t", "--to", "1").stdout
    assert "below the retention" in error_of("vacuum", "t", "--retention-hours", "0")
    now = ("--retention-hours", "0", "--force")
    assert len(run("vacuum", "t", *now, "--dry-run").stdout.splitlines()) == 2
    assert run("vacuum", "t", *now).stdout == "Deleted 1 file of t\n"
    assert table.refresh().count() == 3


def test_maintain_does_what_is_due(table: dl.Table) -> None:
    planned = run("maintain", "t", "--dry-run").stdout
    assert "t optimize: due, 2 files in 1 bin" in planned
    assert table.refresh().version == 1
    table.alter.set_table_properties(
        {
            "delta.deletedFileRetentionDuration": "interval 0 seconds",
            "delta.logRetentionDuration": "interval 0 seconds",
        }
    )
    said = run("maintain", "--all").stdout.splitlines()
    assert [line.rpartition(" -> ")[2] for line in said if " -> " in line] == [
        "2 files became 1",
        "2 files deleted",
        "known since version 3",
    ]
    assert all(": not due," in line for line in run("maintain", "t").stdout.splitlines())
    assert table.refresh().count() == 3
