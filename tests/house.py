"""What no linter checks: no circle of imports, public names that are described, modules that fit.

`make check` runs it as `python -m tests.house`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median

import grimp

PACKAGE = "deltalakedb"
MOST_LINES = 420
MOST_MEDIAN_LINES = 150


def circles(imports: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules each of which reaches the others, imports inside functions included."""
    ahead = {module: _reached(imports, module) for module in imports}
    together = {
        tuple(sorted(m for m in reached if module in ahead[m]))
        for module, reached in ahead.items()
        if module in reached
    }
    return [list(group) for group in sorted(together)]


def _reached(imports: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(imports[start])
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += imports[module]
    return seen


def undescribed(path: Path) -> Iterator[str]:
    """Public functions and classes of a module that have no docstring, with their places."""
    for node in ast.parse(path.read_text()).body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None:
            yield f"{path}:{node.lineno}: {node.name} has no docstring"


def complaints(root: Path) -> Iterator[str]:
    """All that is wrong with the package, one line each."""
    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=True, cache_dir=None)
    imports = {m: graph.find_modules_directly_imported_by(m) for m in graph.modules}
    for group in circles(imports):
        yield f"a circle of imports: {', '.join(group)}"
    lengths = []
    for path in sorted(root.rglob("*.py")):
        lines = path.read_text().count("\n")
        lengths.append(lines)
        if lines > MOST_LINES:
            yield f"{path}: {lines} lines, and {MOST_LINES} is the most"
        if "migrations" not in path.parts:  # Alembic names their functions
            yield from undescribed(path)
    if median(n for n in lengths if n) >= MOST_MEDIAN_LINES:
        yield f"the median module has {median(lengths)} lines, and {MOST_MEDIAN_LINES} is too many"


if __name__ == "__main__":
    found = list(complaints(Path(PACKAGE)))
    print("\n".join(found), end="\n" if found else "", file=sys.stderr)
    sys.exit(bool(found))
