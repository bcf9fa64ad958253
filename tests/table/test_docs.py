"""The code of docs/reading.md and the README runs as printed, and prints what it says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from benchmarks.data_files import ROWS
from benchmarks.generate import Variant, generate
from benchmarks.synthetic import Shape
from deltalakedb.importing.run import import_table

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reading.md"
BLOCK = re.compile(r"```python\n(.*?)```\n(?:\n```\n(.*?)```\n)?", re.S)


@pytest.fixture
def uri(tmp_path: Path) -> str:
    generate(tmp_path / "sales", Shape(1000, 100, 10, 11, ROWS), Variant(50, data=True))
    database = str(tmp_path / "meta.sqlite")
    import_table(str(tmp_path / "sales"), database=database, mode="full-history")
    return f"deltasql://sqlite:///{database}?table=sales"


def timeless(text: str) -> list[str]:
    """Lines without the milliseconds that a step took."""
    return [re.sub(r" +[\d.]+ ms", " ms", line) for line in text.splitlines()]


def test_the_page_is_right(uri: str) -> None:
    blocks = BLOCK.findall(PAGE.read_text())
    assert len(blocks) == 9
    assert all(printed for _, printed in blocks)
    names: dict[str, Any] = {}
    for code, printed in blocks:
        code = code.replace("deltasql://sqlite:////var/lib/meta.sqlite?table=sales", uri)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, "reading.md", "exec"), names)
        assert timeless(out.getvalue()) == timeless(printed)


def test_the_page_of_transactions_is_right(tmp_path: Path) -> None:
    blocks = BLOCK.findall((ROOT / "docs" / "transactions.md").read_text())
    assert len(blocks) == 8
    names: dict[str, Any] = {"database": f"sqlite:///{tmp_path / 'm.sqlite'}", "folder": tmp_path}
    for code, printed in blocks:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, "transactions.md", "exec"), names)
        assert out.getvalue() == printed


def test_the_readmes_code_runs(tmp_path: Path, generated: Path) -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S))
    for printed, here in (
        ("/tables/sales", generated),
        ("/tables/", f"{tmp_path}/"),
        ("/var/lib/meta.sqlite", tmp_path / "m"),
    ):
        assert printed in code
        code = code.replace(printed, str(here))
    names: dict[str, Any] = {}
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "README.md", "exec"), names)
    assert out.getvalue().startswith("Parity: catalog and log of sales agree at version 20")
    assert names["snapshot"].version == names["table"].version == 20
    assert out.getvalue().endswith("{'orders': 1, 'payments': 1}\n")
    assert (names["done"].version, names["done"].published) == (1, True)
    visits = DeltaTable(str(tmp_path / "visits")).to_pyarrow_table().to_pydict()
    assert sorted(zip(visits["id"], visits["city"], strict=True)) == [
        *[(1, "OSLO")] * 2,
        *[(3, "Lima")] * 2,
    ]


def test_the_page_of_maintenance_is_right(tmp_path: Path) -> None:
    blocks = BLOCK.findall((ROOT / "docs" / "maintenance.md").read_text())
    assert len(blocks) == 7
    names: dict[str, Any] = {
        "uri": f"deltasql://sqlite:///{tmp_path / 'm.sqlite'}?table=t",
        "location": str(tmp_path / "t"),
    }
    for code, printed in blocks:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, "maintenance.md", "exec"), names)
        assert out.getvalue() == printed
