"""kill -9 at any point: what was acknowledged is there once, nothing by half, the log complete."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

import deltalakedb as dl
from tests.faults.killed import Pair

POINTS = int(os.environ.get("DL_KILL_POINTS", "15"))
SEED = os.environ.get("DL_KILL_SEED", "")


def kill_again_and_again(pair: Pair, points: int, seed: str) -> None:
    print(f"DL_KILL_SEED={seed}")
    chance = random.Random(seed)
    pair.make()
    killed = 0
    while killed < points:
        killed += pair.round(chance) == "killed"
        pair.drain()
    pair.drain()
    print(f"{pair.acknowledged} acknowledged, {pair.committed_unheard} committed and not heard of")
    for name in ("a", "b"):
        assert dl.diff_table(name, database=pair.database).parity


def test_killed_at_a_few_points(sqlite_url: str, tmp_path: Path) -> None:
    kill_again_and_again(Pair(sqlite_url, tmp_path), 3, "1")


@pytest.mark.long
@pytest.mark.parametrize("authority", ["sql", "log"])
def test_killed_at_many_points(any_catalog_url: str, tmp_path: Path, authority: str) -> None:
    seed = SEED or str(random.SystemRandom().randrange(1 << 32))
    kill_again_and_again(Pair(any_catalog_url, tmp_path, authority), POINTS, seed)
