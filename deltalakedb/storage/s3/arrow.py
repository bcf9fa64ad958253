"""S3 for pyarrow: files with range reads, and a filesystem whose pickle holds no keys.

pyarrow's own S3FileSystem would read faster, but it finds credentials by rules of its own
(no session of ours, other profiles and endpoints) and puts the keys into its pickle in the
clear, which a dataset sent to workers would carry. This one shares the connection of the
store, takes names literally and pickles as the store's spec.
"""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
from pyarrow.fs import FileInfo, FileSelector, FileType, FSSpecHandler, PyFileSystem

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.storage.s3.store import S3Store
from deltalakedb.storage.spec import StoreSpec

TAIL = 1 << 16
"""Bytes fetched along with the size; what pyarrow reads first for a Parquet footer."""


class RangeInput(io.RawIOBase):
    """An object as a seekable file: a range request per read, one for size and footer."""

    def __init__(self, store: S3Store, name: str) -> None:
        super().__init__()
        self._store = store
        self._name = name
        self._tail, self._size = store.read_tail(name, TAIL)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def size(self) -> int:
        return self._size

    def read(self, size: int | None = -1, /) -> bytes:
        available = max(0, self._size - self._position)
        length = available if size is None or size < 0 else min(size, available)
        start = self._position - (self._size - len(self._tail))
        if start >= 0:
            data = self._tail[start : start + length]
        else:
            data = self._store.read_range(self._name, self._position, length)
        self._position += len(data)
        return data

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def open_input(store: S3Store, name: str) -> pa.NativeFile:
    return pa.PythonFile(RangeInput(store, name), mode="r")


def filesystem(bucket: S3Store, s3: Any) -> PyFileSystem:
    """The filesystem of a bucket; paths are `bucket/key`."""
    return PyFileSystem(S3Handler(bucket, s3))


class S3Handler(FSSpecHandler):  # type: ignore[misc]  # pyarrow is untyped
    """Reads through the store; writing is s3fs's."""

    def __init__(self, bucket: S3Store, s3: Any) -> None:
        super().__init__(s3)
        self._bucket = bucket

    def __reduce__(self) -> tuple[object, ...]:
        return _reopen, (self._bucket.spec,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, S3Handler) and self._bucket.spec == other._bucket.spec

    def __hash__(self) -> int:
        return hash(self._bucket.spec)

    def get_type_name(self) -> str:
        return "deltalakedb+s3"

    def open_input_file(self, path: str) -> pa.NativeFile:
        store, name = self._find(path)
        return store.open_input(name)

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return self.open_input_file(path)

    def get_file_info(self, paths: list[str]) -> list[FileInfo]:
        return [self._file_info(path) for path in paths]

    def get_file_info_selector(self, selector: FileSelector) -> list[FileInfo]:
        store, name = self._find(selector.base_dir)
        base = name.rstrip("/") + "/" if name else ""
        bucket = selector.base_dir.partition("/")[0]
        try:
            objects = store.list(base, recursive=selector.recursive)
        except DeltaLakeError as error:
            if error.kind is not DeltaLakeErrorKind.NOT_FOUND:
                raise
            if selector.allow_not_found:
                return []
            raise FileNotFoundError(error.message) from error
        return [
            FileInfo(
                f"{bucket}/{each.name}",
                FileType.File,
                size=each.size,
                mtime_ns=each.modified_ms * 1_000_000,
            )
            for each in objects
        ]

    def _file_info(self, path: str) -> FileInfo:
        store, name = self._find(path)
        info = store.info(name) if name else None
        if info is not None:
            return FileInfo(
                path, FileType.File, size=info.size, mtime_ns=info.modified_ms * 1_000_000
            )
        try:
            store.list(name.rstrip("/") + "/" if name else "")
        except DeltaLakeError as error:
            if error.kind is not DeltaLakeErrorKind.NOT_FOUND:
                raise
            return FileInfo(path, FileType.NotFound)
        return FileInfo(path, FileType.Directory)

    def _find(self, path: str) -> tuple[S3Store, str]:
        store, name = self._bucket.resolve("s3://" + path)
        assert isinstance(store, S3Store)
        return store, name


def _reopen(spec: StoreSpec) -> S3Handler:
    bucket = S3Store(spec)
    return S3Handler(bucket, bucket._s3)
