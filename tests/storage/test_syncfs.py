"""Many files made durable at once."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deltalakedb.error import DeltaLakeError
from deltalakedb.storage import local, syncfs
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec


@pytest.mark.parametrize("whole", [True, False])
def test_many_files_are_synced_at_once_or_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    """Either the file system that holds them all is synced, or each file and folder is."""
    asked: list[str] = []
    synced: list[int] = []

    # The logs of other tests' tables may be synced meanwhile.
    sync, fsync = local.sync_whole, os.fsync

    def is_ours(descriptor: int) -> bool:
        return Path(os.readlink(f"/proc/self/fd/{descriptor}")).is_relative_to(tmp_path)

    def sync_whole(descriptor: int) -> bool:
        if not is_ours(descriptor):
            return sync(descriptor)
        asked.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        return whole

    def sync_one(descriptor: int) -> None:
        if is_ours(descriptor):
            synced.append(descriptor)
        else:
            fsync(descriptor)

    monkeypatch.setattr(local, "sync_whole", sync_whole)
    monkeypatch.setattr(os, "fsync", sync_one)
    names = [f"{number}.json" for number in range(8)]
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"{}")
    store = open_store(StoreSpec(str(folder)))
    store.sync(names)
    assert asked == [str(folder)]
    assert len(synced) == (0 if whole else len(names) + 2)
    with pytest.raises(DeltaLakeError, match="missing"):
        store.sync([*names, "missing.json"])
    del asked[:]
    store.sync(names[:2])
    assert asked == []


def test_a_file_system_that_takes_long_is_left_alone_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ext4 = syncfs._KNOWN_TYPES[0]
    now = [100.0]

    def sync(_: int) -> int:
        now[0] += 2 * syncfs._LONG_SECONDS
        return 0

    def status(_: int, into: Any) -> int:
        into._obj[0] = ext4
        return 0

    monkeypatch.setattr(syncfs, "_calls", lambda: (sync, status))
    monkeypatch.setattr(syncfs, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(syncfs._Pause, "until", 0.0)
    assert syncfs.sync_whole(0)
    assert not syncfs.sync_whole(0)
    now[0] += syncfs._PAUSE_SECONDS
    assert syncfs.sync_whole(0)


def test_the_real_thing(tmp_path: Path) -> None:
    names = [str(number) for number in range(5)]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    open_store(StoreSpec(str(tmp_path))).sync(names)
