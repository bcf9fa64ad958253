"""What commits have waited for and run into, as callers and monitoring see it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError
from tests.cli.commands import dl_lines


def test_waits_conflicts_and_lag_are_counted(sqlite_url: str, tmp_path: Path) -> None:
    uri, rows = f"deltasql://{sqlite_url}?table=t", pa.table({"x": [1]})
    dl.write_deltalake(uri, rows, location=str(tmp_path / "t"))
    table = dl.connect_to_table(uri)
    before = dl.commit_metrics()
    done = table.append(rows)
    now = dl.commit_metrics()
    assert (now.commits, now.locks, now.published) == (
        before.commits + 1,
        before.locks + 1,
        before.published + 1,
    )
    assert 0 < done.lock_seconds <= now.longest_lock_seconds
    assert done.publish_seconds == now.last_publish_seconds > 0
    with pytest.raises(DeltaLakeError, match="not at 0"):
        table.append(rows, if_version=0)
    rule = "if_version"
    assert dl.commit_metrics().conflicts[rule] > now.conflicts.get(rule, 0)
    assert not table.append(rows, mirror="async").published
    assert dl.commit_metrics().unpublished == now.unpublished + 1
    [row] = dl_lines("mirror", "status", "t", "--database", sqlite_url)
    assert 0 <= row["lag_seconds"] < 60
