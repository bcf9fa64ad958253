"""Which cores a process may use, and how many workers are worth their start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deltalakedb.executor.cores import free_cores, usable_cores
from deltalakedb.importing.request import WORKER_BYTES, worthwhile_workers


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores, a load of 2.6."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(os, "getloadavg", lambda: (2.6, 0.0, 0.0))


@pytest.mark.parametrize(
    ("quota", "usable", "free"),
    [("max 100000", 8, 5), ("400000 100000", 4, 1), ("50000 100000", 1, 1), ("odd", 8, 5)],
)
def test_a_quota_of_the_control_group_bounds_them(
    tmp_path: Path, quota: str, usable: int, free: int
) -> None:
    (tmp_path / "cpu.max").write_text(quota + "\n")
    assert (usable_cores(tmp_path), free_cores(tmp_path)) == (usable, free)


def test_quotas_of_the_first_version(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == 8
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("-1\n")
    assert usable_cores(tmp_path) == 8
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("300000\n")
    assert usable_cores(tmp_path) == 3


def test_small_logs_and_busy_machines_get_no_workers() -> None:
    assert worthwhile_workers(2 * WORKER_BYTES - 1, 8) == 0
    assert worthwhile_workers(100 * WORKER_BYTES, 1) == 0
    assert worthwhile_workers(3 * WORKER_BYTES, 8) == 3
    assert worthwhile_workers(100 * WORKER_BYTES, 8) == 8
