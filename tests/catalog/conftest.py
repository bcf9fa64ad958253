"""Here a catalog comes to be as it does for everybody, each time."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def catalogs_made_by_repetition() -> None:
    """Not here."""
