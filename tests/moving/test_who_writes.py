"""Who writes a table, of commits of any length."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deltalakedb.migrate.who_writes import recent_writers
from deltalakedb.mirror.publish import commit_name
from deltalakedb.storage.local import LocalStore
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec


class Counting(LocalStore):
    """Tells how many bytes were read by ranges and files."""

    read_bytes = 0

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        data = super().read_range(name, offset, length)
        self.read_bytes += len(data)
        return data

    def read(self, name: str) -> bytes:
        raise AssertionError(f"{name} is read whole")


@pytest.mark.parametrize("at", [0, 5_000, 10_000])
def test_of_long_commits_little_is_read(tmp_path: Path, at: int) -> None:
    """Wherever in a commit it is said, and most say it at an end."""
    lines = [json.dumps({"add": {"path": f"part-{n:060d}.parquet"}}) for n in range(10_000)]
    info = {"engineInfo": "an-engine", "operation": "WRITE", "timestamp": 7}
    lines.insert(at, json.dumps({"commitInfo": info}))
    (tmp_path / commit_name(0)).write_text("\n".join(lines) + "\n")
    store = Counting(StoreSpec(str(tmp_path)), open_store)
    [found] = recent_writers(store)
    assert (found.engine, found.last_write, found.operations) == ("an-engine", 7, {"WRITE": 1})
    assert store.read_bytes <= 1 << 17
