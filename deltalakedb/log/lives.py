"""How long rows are part of a table: half-open intervals of versions."""

from __future__ import annotations

LIVE = 2**63 - 1
"""`removed_version` of what is live still; no version is as great."""
