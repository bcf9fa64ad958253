"""YAML files: their values, and the line of each setting. A key that stands twice is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deltalakedb.config.checks import invalid


def read_yaml(path: str) -> tuple[object, dict[str, int]]:
    """A file's content, and the line (from 1) of `section.key` and deeper ones.

    Raises CONFIGURATION_ERROR, with line and column, for what is no YAML or has a key twice.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise invalid(f"configuration file {path!r} does not exist; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise invalid(f"configuration file {path!r} could not be read: {error}") from error
    return parse_yaml(text, path)


def parse_yaml(text: str, path: str) -> tuple[object, dict[str, int]]:
    """As `read_yaml`, of a text; `path` is what messages call it."""
    import yaml

    loader = yaml.SafeLoader
    try:
        reader = loader(text)
        try:
            node = reader.get_single_node()
            lines: dict[str, int] = {}
            _walk(node, "", lines, path)
            value = None if node is None else reader.construct_document(node)
        finally:
            reader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        # Not the whole error: it quotes the line, which may hold a password.
        problem = getattr(error, "problem", None) or "unreadable character"
        raise _at(path, mark, f"not valid YAML: {problem}; correct that line") from None
    return value, lines


def _walk(node: Any, where: str, lines: dict[str, int], path: str) -> None:
    """Collect lines. Raises CONFIGURATION_ERROR for a key that a mapping has twice."""
    import yaml

    if isinstance(node, yaml.SequenceNode):
        for number, each in enumerate(node.value):
            _walk(each, f"{where}[{number}]", lines, path)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        name = str(key.value)
        below = f"{where}.{name}" if where else name
        if name in seen:
            told = f"{below} stands there twice; keep one of them"
            raise _at(path, key.start_mark, told)
        seen.add(name)
        lines[below] = key.start_mark.line + 1
        _walk(value, below, lines, path)


def _at(path: str, mark: Any, what: str) -> Exception:
    where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    facts = {"line": mark.line + 1, "column": mark.column + 1} if mark else {}
    return invalid(f"{path!r}{where}: {what}", **facts)
