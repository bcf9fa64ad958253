"""Rows out of PostgreSQL by binary COPY, made columns of Arrow by numpy.

A message is a row (PostgreSQL's documentation, "Message Formats", CopyData), a row its number of
fields, and of each its length, -1 for null, and bytes ("COPY", "Binary Format"). Field by field
all rows of a piece are taken at once; texts are copied by Arrow.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import psycopg2
import pyarrow as pa

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.columns import array_of

_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_HEADER = len(_SIGNATURE) + 8
_TRAILER = b"\xff\xff"
_PIECE_BYTES = 8 << 20
_WAIT_SECONDS = 0.2
"""Between looks whether anybody still wants what doesn't fit into the queue."""
_CASTS = {
    pa.int64(): "int8",
    pa.int32(): "int4",
    pa.bool_(): "bool",
    pa.string(): "text",
}
_NUMBERS: dict[pa.DataType, np.dtype[Any]] = {
    pa.int64(): np.dtype(">i8"),
    pa.int32(): np.dtype(">i4"),
    pa.bool_(): np.dtype("u1"),
}

Ints = np.ndarray[Any, np.dtype[np.int64]]


def copied(
    connection: Any, sql: str, schema: pa.Schema, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """The rows of a query as batches of `schema`, of 8 MiB or `batch_rows`.

    `schema`: of int64, int32, bool and string. A thread receives them while those before are made
    columns; it ends with the iterator.
    """
    names = [f"c{number}" for number in range(len(schema))]
    casts = (f"{name}::{_CASTS[f.type]}" for name, f in zip(names, schema, strict=True))
    statement = (
        f"COPY (SELECT {', '.join(casts)} FROM ({sql}) q ({', '.join(names)})) TO STDOUT "
        "(FORMAT binary, ENCODING 'UTF8')"
    )
    pieces = _Pieces(batch_rows)
    receiver = threading.Thread(
        target=pieces.receive, args=(connection, statement), name="dl-copy", daemon=True
    )
    process = os.getpid()
    receiver.start()
    try:
        while (piece := pieces.next()) is not None:
            batch = _batch(piece, schema)
            if batch.num_rows:
                yield batch
    finally:
        if os.getpid() == process:
            pieces.stop()
            if receiver.is_alive():
                with suppress(psycopg2.Error):
                    connection.cancel()
            receiver.join()


class _Stopped(Exception):
    """Nobody wants more rows."""


class _Pieces:
    """What COPY writes to: rows, handed on by the piece to another thread."""

    def __init__(self, most_rows: int) -> None:
        self._most_rows = most_rows
        self._rows: list[bytes] = []
        self._size = 0
        self._full: queue.Queue[list[bytes] | BaseException | None] = queue.Queue(1)
        self._stopped = threading.Event()

    def receive(self, connection: Any, statement: str) -> None:
        """In a thread: all rows, then None or the error."""
        end: BaseException | None = None
        try:
            with connection.cursor() as cursor:
                cursor.copy_expert(statement, self)
            self._hand_on()
        except _Stopped:
            return
        except BaseException as error:  # noqa: BLE001 - the other thread raises it
            end = error
        try:
            self._put(end)
        except _Stopped:
            return

    def write(self, row: bytes) -> None:
        """A row, the first behind the header; the last message is the trailer."""
        self._rows.append(row)
        self._size += len(row)
        if self._size >= _PIECE_BYTES or len(self._rows) >= self._most_rows:
            self._hand_on()

    def read(self, size: int = -1) -> bytes:
        """Nothing: psycopg2 wants files to have it."""
        return b""

    def next(self) -> list[bytes] | None:
        """The next rows; None after the last. Raises what the driver did."""
        found = self._full.get()
        if isinstance(found, BaseException):
            raise found
        return found

    def stop(self) -> None:
        self._stopped.set()

    def _hand_on(self) -> None:
        if self._rows:
            self._put(self._rows)
            self._rows, self._size = [], 0

    def _put(self, piece: list[bytes] | BaseException | None) -> None:
        while not self._stopped.is_set():
            try:
                return self._full.put(piece, timeout=_WAIT_SECONDS)
            except queue.Full:
                continue
        raise _Stopped


def _batch(rows: list[bytes], schema: pa.Schema) -> pa.RecordBatch:
    if rows[0].startswith(_SIGNATURE):
        rows[0] = rows[0][_HEADER:]
    if rows[-1] == _TRAILER:
        rows.pop()
    rows = rows if not rows or rows[0] else rows[1:]  # a header of its own
    count = len(rows)
    data = b"".join(rows)
    sizes = np.fromiter(map(len, rows), np.int64, count)
    ends = np.cumsum(sizes)
    at = ends - sizes
    _expect(count == 0 or bool((_take(data, at, np.dtype(">i2")) == len(schema)).all()))
    at = at + 2
    columns = []
    for field in schema:
        width = _take(data, at, np.dtype(">i4")).astype(np.int64)
        at = at + 4
        missing = width < 0
        width[missing] = 0
        if field.type in _NUMBERS:
            columns.append(_numbers(data, at, width, missing, field.type))
        else:
            columns.append(_texts(data, at, width, missing))
        at = at + width
    _expect(bool((at == ends).all()))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _expect(holds: bool) -> None:
    if not holds:
        raise DeltaLakeError(
            DeltaLakeErrorKind.DATABASE_ERROR,
            "the server's binary COPY isn't in rows as PostgreSQL documents it; connect to it "
            "without what stands between",
        )


def _take(data: bytes, at: Ints, kind: np.dtype[Any]) -> np.ndarray[Any, np.dtype[Any]]:
    """Numbers that begin at bytes `at`, wherever those are."""
    if not len(at):
        return np.empty(0, kind)
    _expect(bool(at.max() + kind.itemsize <= len(data)))
    everywhere = np.ndarray((len(data) - kind.itemsize + 1,), kind, data, strides=(1,))
    return everywhere[at]


def _numbers(
    data: bytes, at: Ints, width: Ints, missing: np.ndarray[Any, Any], kind: pa.DataType
) -> pa.Array:
    wire = _NUMBERS[kind]
    present = None
    if missing.any():
        present = ~missing
        at, width = at[present], width[present]
    _expect(bool((width == wire.itemsize).all()))
    found = _take(data, at, wire).astype(np.bool_ if kind == pa.bool_() else wire.newbyteorder("="))
    if present is None:
        return array_of(found)
    values = np.zeros(len(missing), found.dtype)
    values[present] = found
    return array_of(values, missing)


def _texts(data: bytes, at: Ints, width: Ints, missing: np.ndarray[Any, Any]) -> pa.Array:
    """Of an array in which texts and what lies between them take turns, the texts."""
    count = len(at)
    offsets = np.empty(2 * count + 1, np.int32)
    offsets[0:-1:2], offsets[1::2] = at, at + width
    offsets[-1] = offsets[-2] if count else 0
    validity = None
    if missing.any():
        valid = np.ones(2 * count, np.bool_)
        valid[::2] = ~missing
        validity = pa.py_buffer(np.packbits(valid, bitorder="little"))
    turns = pa.StringArray.from_buffers(
        2 * count, pa.py_buffer(offsets), pa.py_buffer(data), validity
    )
    return turns.take(array_of(np.arange(0, 2 * count, 2)))
