"""The judges of `docker/`, found or named as missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import may_start
from tests.servers.places import ADVICE, debian_tool, wheel_tool


@pytest.fixture(scope="session")
def judge() -> Callable[[str], str]:
    """The path of a program by its name; the test fails, or is skipped, where there is none."""

    def find(name: str) -> str:
        found: Path | str | None = wheel_tool(name) or debian_tool(name)
        may_start("places", found, f"{name} is missing; {ADVICE}")
        return str(found)

    return find
