"""A data file that is being written, and the threads that encode its row groups.

PROTOCOL.md, "Data Files". Encoding and compressing take most of a write's time, and pyarrow does
them on one core for each file; so files are encoded side by side, the groups of each in order.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.storage.output import give_up
from deltalakedb.storage.store import ObjectStore
from deltalakedb.write.target import FileTarget

_BUFFER_BYTES = 1 << 20


class OpenFile:
    """A data file that is open. What is submitted for it is done in order, by whoever is free."""

    def __init__(
        self, store: ObjectStore, name: str, target: FileTarget, arguments: Mapping[str, Any]
    ) -> None:
        self.name = name
        self.rows = 0
        self.known_size = 0
        """Bytes of what has been encoded and was waited for."""
        self.ahead = 0
        """Arrow bytes of what is submitted and wasn't waited for."""
        self._tasks: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._busy = False
        self._lock = threading.Lock()
        self._target = target
        self._place = store.describe(name)
        self._statistics = target.collector()
        # Parquet writes page by page; a small file is one call of the system this way.
        self._file = store.open_output(name)
        self._sink = pa.BufferedOutputStream(self._file, _BUFFER_BYTES)
        try:
            with self._told():
                self._writer = pq.ParquetWriter(
                    self._sink,
                    target.file_schema,
                    version="2.6",
                    store_schema=False,
                    store_decimal_as_integer=True,
                    **arguments,
                )
        except BaseException:
            give_up(self._file)
            self._sink.close()
            raise

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What pyarrow and the disk refuse, as our errors."""
        try:
            yield
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError, TypeError) as error:
            raise self._refused(error) from error
        except OSError as error:
            # The Parquet library's own errors have no number.
            if error.errno is None:
                raise self._refused(error) from error
            raise DeltaLakeError(
                DeltaLakeErrorKind.STORAGE_ERROR,
                f"{self._place} could not be written: {error.strerror or error}; check the space "
                "and the permissions there, and write again",
                url=self._place,
            ) from error

    def _refused(self, error: Exception) -> DeltaLakeError:
        return DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"{self._place} can't be written with these writer properties: {error}; change "
            "compression, encodings or sizes",
            url=self._place,
        )

    @property
    def size(self) -> int:
        """Bytes so far."""
        found: int = self._sink.tell()
        return found

    def write(self, rows: pa.Table | pa.RecordBatch) -> int:
        """Add a row group; the file's bytes so far."""
        self._statistics.add(rows)
        found = [rows] if isinstance(rows, pa.RecordBatch) else rows.to_batches()
        batches = [self._target.in_file(batch) for batch in found]
        group = pa.Table.from_batches(batches, self._target.file_schema)
        with self._told():
            self._writer.write_table(group, row_group_size=rows.num_rows)
        self.rows += rows.num_rows
        return self.size

    def finish(self) -> tuple[int, str]:
        """Size in bytes, and statistics."""
        with self._told():
            self._writer.close()
            size = self.size
            self._sink.close()
        tight = True if self._target.tight_bounds else None
        return size, self._statistics.text(tight_bounds=tight)

    def submitted(self, threads: ThreadPoolExecutor, task: Callable[[], Any]) -> Future[Any]:
        """A task of this file, done by one of the threads after those that came before."""
        future: Future[Any] = Future()
        with self._lock:
            self._tasks.append((task, future))
            if self._busy:
                return future
            self._busy = True
        threads.submit(self._work)
        return future

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._tasks:
                    self._busy = False
                    return
                task, future = self._tasks.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(task())
            except BaseException as error:  # noqa: BLE001 - raised where the file is waited for
                future.set_exception(error)

    def give_up(self) -> None:
        """Close what is open, without an error; it becomes no object where that can be."""
        give_up(self._file)
        # What fails here is told by the error that led here.
        with contextlib.suppress(OSError, pa.ArrowException, DeltaLakeError):
            self._writer.close()
        with contextlib.suppress(OSError, pa.ArrowException, DeltaLakeError):
            self._sink.close()


class Encoding:
    """What of a writer's files is being encoded, oldest first.

    Which file a group goes to mustn't hang on who was quicker: a part of a write that is done
    again makes the same files. So sizes are learned in the order of what was submitted, and what
    isn't encoded yet counts as what has been so far.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._submitted: deque[tuple[OpenFile, int, Future[Any], Callable[[Any], None]]] = deque()
        self._arrow = self._parquet = 0
        self.waiting = 0
        """Arrow bytes that are submitted and not waited for."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is waited for."""
        return not self._submitted

    def write(self, file: OpenFile, rows: pa.Table | pa.RecordBatch, least: int) -> None:
        """Add a row group to a file: here, until `least` Arrow bytes have been."""
        size = rows.nbytes
        if self._pool is None and (self._threads <= 1 or self._arrow < least):
            self._learned(file, size, file.write(rows))
            return
        self._submit(file, size, lambda: file.write(rows), lambda now: self._learned(file, 0, now))

    def finish(self, file: OpenFile, then: Callable[[tuple[int, str]], None]) -> None:
        """Close a file, and hand its size and statistics on."""
        if self._pool is None:
            then(file.finish())
        else:
            self._submit(file, 0, file.finish, then)

    def size(self, file: OpenFile) -> float:
        """A file's bytes, those included that aren't encoded yet."""
        return file.known_size + file.ahead * self._parquet / max(self._arrow, 1)

    def settle(self) -> None:
        """Wait for the oldest that is submitted. Raises what its encoding raised."""
        file, size, future, then = self._submitted.popleft()
        self.waiting -= size
        file.ahead -= size
        found = future.result()
        self._arrow += size
        then(found)

    def stop(self) -> None:
        """Let what isn't begun be, and wait for what is."""
        for _, _, future, _ in self._submitted:
            future.cancel()
        self._submitted.clear()
        self.close()

    def close(self) -> None:
        """End the threads, once they have done what they are at."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _submit(
        self,
        file: OpenFile,
        size: int,
        task: Callable[[], Any],
        then: Callable[[Any], None],
    ) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="deltalakedb-encode")
        self._submitted.append((file, size, file.submitted(self._pool, task), then))
        self.waiting += size
        file.ahead += size

    def _learned(self, file: OpenFile, size: int, now: int) -> None:
        self._arrow += size
        self._parquet += now - file.known_size
        file.known_size = now
