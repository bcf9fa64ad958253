"""Rows that wait for their partition's file, on disk: memory stays bounded, files stay few."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.write.layout import Values


class Spill:
    """Runs of batches in files of a temporary directory; a batch is found by run and place.

    They stay until `close`: an input in no order at all takes its size on disk, compressed.
    """

    def __init__(self, directory: str | None = None) -> None:
        self._parent = directory
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._runs: list[str] = []
        self._places: dict[Values, list[tuple[int, int]]] = {}

    def __contains__(self, values: Values) -> bool:
        return values in self._places

    @property
    def partitions(self) -> list[Values]:
        return list(self._places)

    def put(self, rows: Mapping[Values, Sequence[pa.RecordBatch]], schema: pa.Schema) -> None:
        """Write the rows of some partitions as one run. SPILL_ERROR when the disk can't."""
        try:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="dl-write-", dir=self._parent)
            path = os.path.join(self._folder.name, f"{len(self._runs)}.arrow")
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, schema, options=options) as f:
                for place, (values, batches) in enumerate(rows.items()):
                    (whole,) = pa.Table.from_batches(batches).combine_chunks().to_batches()
                    f.write_batch(whole)
                    self._places.setdefault(values, []).append((len(self._runs), place))
            self._runs.append(path)
        except OSError as error:
            raise _failed(error) from error

    def take(self, values: Values) -> Iterator[pa.RecordBatch]:
        """The rows of a partition in the order they came, read as they are asked for.

        They are forgotten here.
        """
        for run, place in self._places.pop(values, ()):
            try:
                with pa.memory_map(self._runs[run]) as source:
                    found = pa.ipc.open_file(source).get_batch(place)
            except OSError as error:
                raise _failed(error) from error
            yield found

    def close(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def _failed(error: OSError) -> DeltaLakeError:
    return DeltaLakeError(
        DeltaLakeErrorKind.SPILL_ERROR,
        f"rows that wait for their partition could not be put aside in {tempfile.gettempdir()}: "
        f"{error.strerror or error}; free some space, set TMPDIR, or sort the input by partition",
    )
