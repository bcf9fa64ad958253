"""The example notebook runs from a checkout and shows what it says; it is kept without outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[1] / "examples" / "analyse_table.ipynb"


def read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def executed() -> Any:
    notebook = read()
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    )
    client.execute()  # raises, with the traceback, what a cell raises
    return notebook


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


def test_it_says_nothing_on_the_side(executed: Any) -> None:
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    assert [o.text for o in outputs if o.output_type == "stream"] == []


def test_it_is_committed_without_outputs() -> None:
    for cell in read().cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
