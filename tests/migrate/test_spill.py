"""Ranges that wait to be loaded: in memory, on disk, and gone when their run is over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing import spill
from deltalakedb.importing.spill import SpillKey
from deltalakedb.replay.state import RangeState
from tests.replay.generated import add, read, remove, table_commit

if TYPE_CHECKING:
    from distributed import Client

LOG = [table_commit(), [add("a"), add("b"), {"cdc": {"path": "c"}}], [remove("z"), {"new": {}}]]
KEY = SpillKey("run.0", 3, "digest")


@pytest.fixture
def state() -> RangeState:
    return RangeState.replay(read(LOG, 0, 2), 0, 2)


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_memory", "_folders"):
        monkeypatch.setattr(spill, name, {})
    monkeypatch.setattr(spill, "_ended", set())


@pytest.fixture(params=[1 << 30, 0], ids=["memory", "disk"])
def budget(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(spill, "MEMORY_BYTES", request.param)
    return int(request.param)


def test_what_is_put_is_got_but_for_the_small_actions(
    state: RangeState, budget: int, tmp_path: Path
) -> None:
    spill.put(KEY, state, tmp_path)
    assert bool(list(tmp_path.rglob("*.arrow"))) == (not budget)
    found = spill.get(KEY, 0, 2)
    assert found is not None
    assert found.first == 0
    assert found.last == 2
    for name in ("files", "closings", "versions", "changes", "others"):
        assert getattr(found, name).equals(getattr(state, name)), name
    spill.drop(KEY)
    assert spill.get(KEY, 0, 2) is None
    assert list(tmp_path.rglob("*.arrow")) == []


@pytest.mark.parametrize(
    "other", [{"attempt": "run.1"}, {"part": 4}, {"digest": "changed"}], ids=lambda o: str([*o])
)
def test_another_range_is_never_taken_for_it(
    state: RangeState, budget: int, tmp_path: Path, other: dict[str, Any]
) -> None:
    spill.put(KEY, state, tmp_path)
    assert spill.get(replace(KEY, **other), 0, 2) is None


def test_the_same_range_may_be_put_twice(state: RangeState, budget: int, tmp_path: Path) -> None:
    spill.put(KEY, state, tmp_path)
    spill.put(KEY, state, tmp_path)
    assert spill.get(KEY, 0, 2) is not None
    assert len(list(tmp_path.rglob("files.arrow"))) == (0 if budget else 1)


@pytest.mark.parametrize("ended", ["run", "run.0"])
def test_the_end_removes_all_and_lets_nothing_in_any_more(
    state: RangeState, budget: int, tmp_path: Path, ended: str
) -> None:
    dead = tmp_path / "dl-spill-run.0-4194304" / "part-1"
    dead.mkdir(parents=True)
    other = replace(KEY, attempt="other.0")
    spill.put(KEY, state, tmp_path)
    spill.put(other, state, tmp_path)
    spill.end(ended, tmp_path)
    assert not dead.exists()
    assert spill.get(KEY, 0, 2) is None
    spill.put(KEY, state, tmp_path)
    assert spill.get(KEY, 0, 2) is None
    assert list(tmp_path.glob("dl-spill-run*")) == []
    assert spill.get(other, 0, 2) is not None
    later = replace(KEY, attempt="run.1")
    spill.put(later, state, tmp_path)
    assert (spill.get(later, 0, 2) is not None) == (ended == "run.0")


def test_a_run_that_ends_while_it_spills_leaves_nothing(
    state: RangeState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spill, "MEMORY_BYTES", 0)
    write = spill._write

    def write_late(*arguments: Any) -> None:
        spill.end("run", tmp_path)
        write(*arguments)

    monkeypatch.setattr(spill, "_write", write_late)
    spill.put(KEY, state, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_memory_is_used_up_to_the_budget(
    state: RangeState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("files", "closings", "versions", "changes", "others")
    size = sum(getattr(state, name).nbytes for name in names)
    monkeypatch.setattr(spill, "MEMORY_BYTES", 2 * size)
    for part in range(4):
        spill.put(replace(KEY, part=part), state, tmp_path)
    assert len(list(tmp_path.rglob("files.arrow"))) == 2
    spill.drop(replace(KEY, part=0))
    spill.put(replace(KEY, part=5), state, tmp_path)
    assert len(list(tmp_path.rglob("files.arrow"))) == 2


def test_a_place_that_cant_be_written_is_told(
    state: RangeState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spill, "MEMORY_BYTES", 0)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DeltaLakeError) as caught:
        spill.put(KEY, state, tmp_path / "file")
    assert caught.value.kind is DeltaLakeErrorKind.SPILL_ERROR
    assert str(tmp_path / "file") in caught.value.message
    assert "DL_SPILL_DIR" in caught.value.message


def test_a_worker_spills_into_its_own_folder(
    dask_client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def folder(dask_worker: Any) -> str:
        return str(dask_worker.local_directory)

    found = dask_client.submit(spill.spill_root, pure=False).result(timeout=240)
    folders = list(dask_client.run(folder).values())
    assert str(found) in folders
    monkeypatch.setenv("DL_SPILL_DIR", str(tmp_path))
    assert spill.spill_root() == tmp_path
