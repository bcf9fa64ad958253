"""Plain progress, where there is no terminal."""

from __future__ import annotations

import threading
import time

import pytest

from deltalakedb.cli import progress


def test_lines_tell_each_state_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_SECONDS", 0.01)
    threads = threading.active_count()
    with progress.display_progress() as display:
        display.phase("opening the log")
        time.sleep(0.05)
        display("parse", 2, 2, 30)
        time.sleep(0.1)
        display("load", 3, 3, 30)
        time.sleep(0.1)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(", ")[0] for line in lines] == [
        "reading the log: 2/2 parts",
        "loading rows: 3/3 parts",
    ]
    assert "30 actions" in lines[0]
    assert threading.active_count() == threads
