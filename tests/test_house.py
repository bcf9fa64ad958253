"""The checks of the house find what they are for."""

from __future__ import annotations

from pathlib import Path

from tests.house import circles, undescribed


def test_circles_are_found_once_each() -> None:
    imports = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert circles(imports) == [["a", "b", "c"], ["d", "e"]]
    assert circles({"a": {"b"}, "b": set()}) == []


def test_public_names_without_a_docstring_are_found(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        'def told():\n    """It is."""\n\nclass Untold:\n    x = 1\n\ndef _own():\n    pass\n'
    )
    [line] = undescribed(module)
    assert line.endswith("module.py:4: Untold has no docstring")
