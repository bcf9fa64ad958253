"""What a process keeps of the logs it has written to."""

from __future__ import annotations

from pathlib import Path

import pytest

from deltalakedb.mirror import publish
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec


def test_how_long_puts_take_is_kept_of_the_last_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "_puts", type(publish._puts)())
    monkeypatch.setattr(publish, "_MOST_STORES", 3)
    logs = [open_store(StoreSpec(str(tmp_path / str(number)))) for number in range(6)]
    for seconds in (0.5, 0.25):
        for log in logs:
            publish._note_put(log, seconds)
            publish._note_put(logs[0], seconds)
    assert len(publish._puts) == 3
    known = [publish.put_seconds(log) for log in logs]
    assert known == [0.25, None, None, None, 0.25, 0.25]
