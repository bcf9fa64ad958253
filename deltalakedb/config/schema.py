"""The JSON Schema of configurations, for editors: made of the same checks that loading uses."""

from __future__ import annotations

from enum import Enum
from typing import Any

from deltalakedb.config.checks import Check
from deltalakedb.config.known import SECTIONS, defaults

_VARIABLE = {"type": "string", "pattern": r"\$\{[^}]*\}"}
"""Any value may come from a variable."""


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a configuration file."""
    known = defaults()
    sections = {
        name: {"type": "object"}
        if isinstance(keys, Check)
        else {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                key: _of(check, known.get(f"{name}.{key}")) for key, check in keys.items()
            },
        }
        for name, keys in SECTIONS.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "deltalakedb configuration",
        "type": "object",
        "additionalProperties": False,
        "properties": sections,
    }


def _of(check: Check, default: Any) -> dict[str, Any]:
    value = default.value if isinstance(default, Enum) else default
    found: dict[str, Any] = {"anyOf": [dict(check.schema), _VARIABLE]}
    return found if value is None else {**found, "default": value}
