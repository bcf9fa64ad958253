"""Replayed ranges between parsing and loading: in memory up to a budget, then on local disk.

A spill is a cache, not a dependency: what is gone with a worker is parsed again. A range is known
by its content (`digest`) as well as by its place, so that one parsed from a log that has changed,
or for an earlier plan of the same run, is never taken for another.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.ipc

from deltalakedb import fork
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.executor.dask import worker_folder
from deltalakedb.replay.state import RangeState

MEMORY_BYTES = 64 << 20
"""Ranges kept in a process's memory; more goes to disk."""
_Compression = Literal["none", "gzip", "lz4", "zstd"]
_TABLES = ("files", "closings", "versions", "changes", "others")
_PREFIX = "dl-spill-"


@dataclass(frozen=True)
class SpillKey:
    """Which range: of which attempt (`<run id>.<number>`), which part, with which content."""

    attempt: str
    part: int
    digest: str


@dataclass(frozen=True)
class SpillPolicy:
    """What a process keeps of an import.

    `held_bytes`: of ranges in memory (None: MEMORY_BYTES; 0: all of them go to disk);
    `compression`: of those on disk.
    """

    held_bytes: int | None = None
    compression: _Compression = "none"


BALANCED = SpillPolicy()
"""What is kept where nobody says otherwise."""


_lock = fork.Lock()
_memory: dict[SpillKey, tuple[RangeState, int]] = {}
_folders: dict[str, Path] = {}
_ended: set[str] = set()


def spill_root() -> Path:
    """Where spills go: `DL_SPILL_DIR`, else a Dask worker's own folder, else the temporary one."""
    chosen = os.environ.get("DL_SPILL_DIR")
    return Path(chosen or worker_folder() or tempfile.gettempdir())


def put(key: SpillKey, state: RangeState, root: Path, policy: SpillPolicy = BALANCED) -> None:
    """Keep a range; of an attempt that has ended nothing is kept.

    Raises SPILL_ERROR when the disk is full or can't be written.
    """
    size = sum(getattr(state, name).nbytes for name in _TABLES)
    with _lock:
        if _has_ended(key.attempt):
            return
        used = sum(s for _, s in _memory.values())
        held = MEMORY_BYTES if policy.held_bytes is None else policy.held_bytes
        if used + size <= held:
            _memory[key] = (state, size)
            return
        folder = _folders.setdefault(key.attempt, root / f"{_PREFIX}{key.attempt}-{os.getpid()}")
    try:
        _write(state, folder, _name(key), policy.compression)
    except OSError as error:
        raise DeltaLakeError(
            DeltaLakeErrorKind.SPILL_ERROR,
            f"can't spill {size >> 20} MiB to {folder}: {error.strerror or error}; free space "
            "there, or name another folder with DL_SPILL_DIR (Dask: --local-directory)",
            folder=str(folder),
            bytes=size,
        ) from None
    finally:
        with _lock:
            ended = _has_ended(key.attempt)
        if ended:
            shutil.rmtree(folder, ignore_errors=True)


def _name(key: SpillKey) -> str:
    return f"part-{key.part}-{key.digest}"


def _write(state: RangeState, folder: Path, name: str, compression: _Compression) -> None:
    """Under another name first: what has the right name is whole."""
    unfinished = folder / f"unfinished-{uuid.uuid4()}"
    try:
        unfinished.mkdir(parents=True)
        for table_name in _TABLES:
            _write_table(getattr(state, table_name), unfinished / table_name, compression)
        if not (folder / name).exists():
            unfinished.rename(folder / name)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write_table(table: pa.Table, path: Path, compression: _Compression) -> None:
    """As an Arrow file, which is mapped when it is read, or as a stream that is packed whole."""
    if compression == "gzip":
        with (
            pa.CompressedOutputStream(f"{path}.arrows.gz", "gzip") as sink,
            pa.ipc.new_stream(sink, table.schema) as writer,
        ):
            writer.write_table(table)
        return
    packed = None if compression == "none" else compression
    options = pa.ipc.IpcWriteOptions(compression=packed)
    with (
        pa.OSFile(f"{path}.arrow", "wb") as sink,
        pa.ipc.new_file(sink, table.schema, options=options) as writer,
    ):
        writer.write_table(table)


def _read_table(path: Path) -> pa.Table:
    if not Path(f"{path}.arrows.gz").exists():
        with pa.memory_map(f"{path}.arrow") as source:
            return pa.ipc.open_file(source).read_all()
    with pa.CompressedInputStream(f"{path}.arrows.gz", "gzip") as source:
        return pa.ipc.open_stream(source).read_all()


def get(key: SpillKey, first: int, last: int) -> RangeState | None:
    """A range put by this process, without its small actions; None when it isn't here."""
    with _lock:
        held = _memory.get(key)
        folder = _folders.get(key.attempt)
    if held is not None:
        return held[0]
    if folder is None:
        return None
    try:
        tables = {name: _read_table(folder / _name(key) / name) for name in _TABLES}
    except FileNotFoundError:
        return None
    return RangeState(first, last, **tables, state=())


def drop(key: SpillKey) -> None:
    """Forget one range."""
    with _lock:
        _memory.pop(key, None)
        folder = _folders.get(key.attempt)
    if folder is not None:
        shutil.rmtree(folder / _name(key), ignore_errors=True)


def end(run: str, root: Path) -> None:
    """Forget a run, or one attempt of it, for good; also what processes left that have died."""
    with _lock:
        _ended.add(run)
        for key in [k for k in _memory if _has_ended(k.attempt)]:
            del _memory[key]
        folders = [_folders.pop(attempt) for attempt in [*_folders] if _has_ended(attempt)]
    for folder in (*folders, *root.glob(f"{_PREFIX}{run}*")):
        shutil.rmtree(folder, ignore_errors=True)


def _has_ended(attempt: str) -> bool:
    return attempt in _ended or attempt.partition(".")[0] in _ended
