"""Waiting until a table's log holds all that its catalog has committed."""

from __future__ import annotations

import time
from collections.abc import Mapping

import deltalakedb as dl
from deltalakedb.mirror import publish, tend


def complete_log(table: dl.Table, options: Mapping[str, str] | None = None) -> None:
    """Publish what waits, as whoever comes next does; another may hold the lease for a while."""
    row = table._head.row
    deadline = time.monotonic() + 120
    while True:
        found = tend.tend_now(table._catalog.reader.url, row, publish.log_of(row, options))
        if (found.durable_version, found.waiting) == (row.head_version, 0):
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
