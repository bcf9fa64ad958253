"""Real Delta tables with the facts expected of them (README.md beside this file)."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tests.tables.compare import compare_facts
from tests.tables.data_digest import digest_arrow

FOLDER = Path(__file__).parent

Expectation = Literal["valid", "reject", "either"]


def names(*expectations: Expectation, trait: str | None = None) -> list[str]:
    """Names of the tables, sorted; only those with one of the expectations, with the trait."""
    found = sorted(path.stem for path in (FOLDER / "expected").glob("*.json"))
    return [
        name
        for name in found
        if (not expectations or expected(name)["expectation"] in expectations)
        and (trait is None or trait in expected(name)["traits"])
    ]


def path(name: str) -> Path:
    """The table's own folder, only to be read: tests that write take a `copy`."""
    return FOLDER / "tables" / name


@functools.cache
def expected(name: str) -> Mapping[str, Any]:
    """What must be found in the table; only to be read."""
    facts: dict[str, Any] = json.loads((FOLDER / "expected" / f"{name}.json").read_bytes())
    return facts


def versions(name: str) -> list[int]:
    """Versions with expected facts, ascending."""
    return sorted(int(version) for version in expected(name).get("versions", {}))


def copy(name: str, folder: Path) -> Path:
    """A copy of the table in `folder` that the test may change."""
    return shutil.copytree(path(name), folder / name)


def differences(name: str, version: int, got: Mapping[str, Any]) -> list[str]:
    """Where `got` (any of the facts of a version) is not what is expected; [] when accepted."""
    found: list[str] = compare_facts(expected(name), version, got)
    return found


def data_sha256(table: Any, schema: Any) -> str:
    """Digest of an Arrow table's rows, whatever their order, to compare with data.sha256."""
    digest: str = digest_arrow(table, schema)["sha256"]
    return digest
