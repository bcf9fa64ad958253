"""Some seconds of damaged logs; `make fuzz` tries as many as one likes."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tests.fuzz.__main__ import TABLES
from tests.fuzz.damage import damage
from tests.fuzz.run import Fuzz


def test_damaged_logs_end_in_a_result_or_one_clear_error() -> None:
    fuzz = Fuzz(TABLES, seed=7, seconds=4, count=60)
    fuzz.work()
    # On a busy machine the seconds are few.
    assert fuzz.tried >= 1
    assert fuzz.faults == []


def test_a_dead_process_is_a_fault(tmp_path: Path) -> None:
    """There is nothing to damage in a log without files, over which a trial dies."""
    log = tmp_path / "t" / "_delta_log"
    log.mkdir(parents=True)
    fuzz = Fuzz(tmp_path, seed=1, seconds=20, count=1)
    fuzz.work()
    [fault] = fuzz.faults
    assert "the process ended with 1" in fault


def test_damage_is_the_same_for_a_seed(tmp_path: Path) -> None:
    path = tmp_path / "0.json"
    found = set()
    for seed in [3, 3, *range(40)]:
        path.write_text('{"add":{"path":"a","stats":"{\\"numRecords\\":1}"}}\n')
        before = path.read_bytes()
        found.add((damage(path, random.Random(seed)), path.read_bytes()))
        assert path.read_bytes() != before or seed != 3
    assert len(found) > 30
    assert any("(text)" in how and json.loads(data) for how, data in found)
