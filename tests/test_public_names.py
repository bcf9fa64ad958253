"""The names of `import deltalakedb`: imported when they are used, known to type checkers."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import deltalakedb


def test_type_checkers_know_every_name_from_the_module_that_has_it() -> None:
    tree = ast.parse(Path(str(deltalakedb.__file__)).read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }
    assert seen == deltalakedb._HOMES
    assert sorted(seen) == deltalakedb.__all__


def test_every_name_is_there_and_described() -> None:
    for name in deltalakedb.__all__:
        found = getattr(deltalakedb, name)
        assert found.__name__ == name
        assert found.__doc__
    assert set(deltalakedb.__all__) <= set(dir(deltalakedb))


def test_importing_is_light_and_without_warnings() -> None:
    heavy = "'pyarrow', 'sqlalchemy', 'dask', 'distributed', 'fsspec', 'numpy', 'yaml'"
    code = f"import sys, deltalakedb; print([m for m in ({heavy}) if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
