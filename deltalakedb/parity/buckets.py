"""Records split by their key, in memory or on disk, so that one bucket is all that is held."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

import numpy as np

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.parity.facts import Records, bucket_of

BUCKET_RECORDS = 2_000_000
"""Records a bucket is meant to hold: about 80 MB, and twice that while it is sorted."""
_MOST = 1024


def bucket_count(records: int) -> int:
    """How many buckets (a power of two) an expected number of records needs."""
    return min(_MOST, 1 << max(0, (records - 1) // BUCKET_RECORDS).bit_length())


class Buckets:
    """Records of one kind, by bucket. Use as a context manager: the files go at its end.

    One bucket stays in memory; several are files in `DL_SPILL_DIR` or the temporary folder.
    """

    def __init__(self, count: int, kind: np.dtype[np.void]) -> None:
        self._count = count
        self._kind = kind
        self._held: list[Records] = []
        self._folder: Path | None = None
        self._written = 0

    def __enter__(self) -> Buckets:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all records."""
        self._held.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def add(self, records: Records) -> None:
        """Keep records. Raises SPILL_ERROR when the disk is full or can't be written."""
        if self._count == 1:
            self._held.append(records)
            return
        which = bucket_of(records["key"], self._count)
        order = np.argsort(which, kind="stable")
        edges = np.searchsorted(which[order], np.arange(self._count + 1))
        try:
            if self._folder is None:
                root = os.environ.get("DL_SPILL_DIR") or tempfile.gettempdir()
                self._folder = Path(tempfile.mkdtemp(prefix="dl-parity-", dir=root))
            for bucket in range(self._count):
                piece = records[order[edges[bucket] : edges[bucket + 1]]]
                if len(piece):
                    with open(self._folder / str(bucket), "ab") as file:
                        file.write(piece.tobytes())
            self._written += records.nbytes
        except OSError as error:
            raise DeltaLakeError(
                DeltaLakeErrorKind.SPILL_ERROR,
                f"can't spill after {self._written >> 20} MiB in "
                f"{self._folder or tempfile.gettempdir()}: {error.strerror or error}; free space "
                "there, or name another folder with DL_SPILL_DIR",
            ) from None

    def take(self, bucket: int) -> Records:
        """The records of a bucket, which are given up."""
        if self._count == 1:
            records = np.concatenate(self._held) if self._held else np.empty(0, dtype=self._kind)
            self._held.clear()
            return records
        if self._folder is None or not (file := self._folder / str(bucket)).exists():
            return np.empty(0, dtype=self._kind)
        records = np.fromfile(file, dtype=self._kind)
        file.unlink()
        return records
