"""The example notebooks run from a checkout, show what they say, and are kept without outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = ("analyse_table", "change_table")


def read(name: str) -> Any:
    return nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]


def run(name: str) -> Any:
    notebook = read(name)
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(EXAMPLES)}}
    )
    client.execute()  # raises, with the traceback, what a cell raises
    return notebook


@pytest.fixture(scope="module")
def executed() -> Any:
    return run("analyse_table")


@pytest.fixture(scope="module")
def changed() -> Any:
    return run("change_table")


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


def test_it_says_nothing_on_the_side(executed: Any) -> None:
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    assert [o.text for o in outputs if o.output_type == "stream"] == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_is_committed_without_outputs(name: str) -> None:
    for cell in read(name).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
