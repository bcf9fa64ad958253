"""The example notebooks run from a checkout, show what they say, and are kept without outputs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pyarrow as pa
import pytest
from deltalake import write_deltalake

import deltalakedb as dl
from deltalakedb.sweep.run import sweep

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = ("analyse_table", "change_table", "incident", "migrate_tables")


def read(name: str) -> Any:
    return nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]


def run(name: str, **parameters: Any) -> Any:
    """The notebook after its run; parameters are given as papermill gives them."""
    notebook = read(name)
    if parameters:
        [place] = [n for n, c in enumerate(notebook.cells) if "parameters" in tags(c)]
        text = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
        notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(text))
    client = nbclient.NotebookClient(
        notebook, timeout=500, startup_timeout=300, resources={"metadata": {"path": str(EXAMPLES)}}
    )
    client.execute()  # raises, with the traceback, what a cell raises
    return notebook


@pytest.fixture(scope="module")
def executed() -> Any:
    return run("analyse_table")


@pytest.fixture(scope="module")
def changed() -> Any:
    return run("change_table")


def tags(cell: Any) -> list[str]:
    found: list[str] = cell.metadata.get("tags", [])
    return found


def shown(notebook: Any, kind: str) -> list[str]:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.data[kind] for output in outputs if kind in output.get("data", {})]


def test_it_shows_tables_plans_history_and_a_diff(executed: Any) -> None:
    text = "".join(shown(executed, "text/html"))
    for expected in (
        "12,000 adds, 2,000 removes",
        "10,000 files, ",
        "of 10,000 files in ",
        "7 of 300 partitions",
        "<b>sales</b>",
        "STREAMING UPDATE",
        "<b>Parity</b>",
        "<b>Lag</b>",
        "catalog and log of sales agree at version 180",
        "Caught up",
        "Ossama",
    ):
        assert expected in text, expected
    assert text.count("<svg") == 1
    assert len(shown(executed, "image/png")) == 3


def test_it_changes_a_table_and_shows_the_change_feed(changed: Any) -> None:
    text = "".join(shown(changed, "text/html"))
    for expected in ("update_preimage", "update_postimage", "paid", "shipped", "MERGE"):
        assert expected in text, expected
    plain = "".join(shown(changed, "text/plain"))
    assert "'num_deleted_rows': 1," in plain
    assert "'num_target_rows_deleted': 1" in plain
    for cell in changed.cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "stream", output.text


def test_an_incident_is_found_explained_and_rolled_back() -> None:
    incident = run("incident")
    text = "".join(shown(incident, "text/html"))
    for expected in ("files-lost", "totals-wrong", "day=2026-11-03", "verified", "<b>Parity</b>"):
        assert expected in text, expected
    assert "no commit has ever removed a file" in "".join(shown(incident, "text/plain"))
    assert len(shown(incident, "image/png")) == 1


@pytest.mark.system
def test_an_incident_is_not_over_before_the_table_is_proven(tmp_path: Path) -> None:
    """With an alert's parameters: it fails as long as the table differs, and changes nothing."""
    database, table = str(tmp_path / "m.sqlite"), str(tmp_path / "sales")
    for _ in range(2):
        write_deltalake(table, pa.table({"id": [1, 2]}), mode="append")
    dl.import_table(table, database=database)
    assert sweep(database).exit_code == 0
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM dl_files_heap WHERE added_version = 1")
    given = {"table": "sales", "database": database}
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="still differs from its log"):
        run("incident", **given)
    assert not dl.diff_table("sales", database=database).parity
    run("incident", **given, roll_back=True)
    assert dl.diff_table("sales", database=database).parity


@pytest.mark.system
def test_tables_are_moved_over_and_back() -> None:
    moved = run("migrate_tables")
    text = "".join(shown(moved, "text/html"))
    for expected in ("commit 1 is missing", "restore the missing commit", "SET AUTHORITY"):
        assert expected in text, expected
    assert "appends of the file-based writer were acknowledged" in "".join(
        shown(moved, "text/plain")
    )
    assert [o for cell in moved.cells for o in cell.get("outputs", []) if "text" in o] == []


def test_it_says_nothing_on_the_side(executed: Any) -> None:
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    assert [o.text for o in outputs if o.output_type == "stream"] == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_is_committed_without_outputs(name: str) -> None:
    for cell in read(name).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
