"""The code blocks of docs/migration_guide.md, and the names that Python ones take from others."""

from __future__ import annotations

import builtins
import re
import symtable
from dataclasses import dataclass
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "migration_guide.md"


@dataclass(frozen=True)
class Block:
    """A block of code in its language, and the line of the guide on which it begins."""

    language: str
    line: int
    text: str


def blocks() -> list[Block]:
    """All of them, as they follow each other. The guide indents none."""
    text = GUIDE.read_text(encoding="utf-8")
    found = re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.S | re.M)
    return [Block(m[1], text.count("\n", 0, m.start()) + 2, m[2]) for m in found]


def taken_names(code: str) -> set[str]:
    """Global names that a block uses and doesn't make itself, built-in ones left out."""
    top = symtable.symtable(code, "guide", "exec")
    made = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    return _globals(top) - made - set(dir(builtins))


def _globals(table: symtable.SymbolTable) -> set[str]:
    module = table.get_type() == "module"
    found = {s.get_name() for s in table.get_symbols() if module or s.is_global()}
    for child in table.get_children():
        found |= _globals(child)
    return found
