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
    told = ""

    def until(line: str) -> None:
        nonlocal told
        deadline = time.monotonic() + 60
        while line not in told:
            assert time.monotonic() < deadline
            time.sleep(0.02)
            told += capsys.readouterr().err

    with progress.display_progress() as display:
        assert "dl-progress" in [each.name for each in threading.enumerate()]
        display.phase("opening the log")
        time.sleep(0.05)
        display("parse", 2, 2, 30)
        until("2/2 parts")
        time.sleep(0.05)
        display("load", 3, 3, 30)
        until("3/3 parts")
        time.sleep(0.05)
    lines = (told + capsys.readouterr().err).splitlines()
    assert [line.partition(", ")[0] for line in lines] == [
        "reading the log: 2/2 parts",
        "loading rows: 3/3 parts",
    ]
    assert "30 actions" in lines[0]
    assert "dl-progress" not in [each.name for each in threading.enumerate()]
