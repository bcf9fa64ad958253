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


def test_the_readmes_code_runs(tmp_path: Path, generated: Path) -> None:
    reading, writing = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    places = {"/tables/sales": generated, "/var/lib/meta.sqlite": tmp_path / "m"}
    names, out = run(reading, places)
    assert out.startswith("Parity: catalog and log of sales agree at version 20")
    assert names["snapshot"].version == names["table"].version == 20
    names, _ = run(
        writing, {"/var/lib/meta.sqlite": tmp_path / "m", "/tables/visits": tmp_path / "visits"}
    )
    assert (names["done"].version, names["done"].published) == (1, True)
    left = DeltaTable(str(tmp_path / "visits")).to_pyarrow_table()
    assert sorted(zip(*left.to_pydict().values(), strict=True)) == [
        *[(1, "OSLO")] * 2,
        *[(3, "Lima")] * 2,
    ]


def run(code: str, places: dict[str, Path]) -> tuple[dict[str, Any], str]:
    """The names that a block of code leaves and what it prints, with places put in."""
    for printed, here in places.items():
        assert printed in code
        code = code.replace(printed, str(here))
    names: dict[str, Any] = {}
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "README.md", "exec"), names)
    return names, out.getvalue()
