"""S3 for pyarrow: files with range reads, and a filesystem whose pickle holds no keys.

pyarrow's own S3FileSystem would read faster, but it finds credentials by rules of its own
(no session of ours, other profiles and endpoints) and puts the keys into its pickle in the
clear, which a dataset sent to workers would carry. This one shares the connection of the
store, takes names literally and pickles as the store's spec.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, cast

import obstore
import pyarrow as pa
from pyarrow.fs import FileInfo, FileSelector, FileSystemHandler, FileType, PyFileSystem

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.storage.output import Output, OutputFile
from deltalakedb.storage.s3.connection import check_process
from deltalakedb.storage.s3.error import translate
from deltalakedb.storage.s3.uploads import ONE_REQUEST, abort_uploads

if TYPE_CHECKING:
    from deltalakedb.storage.s3.store import S3Store
    from deltalakedb.storage.store import ObjectStore

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
    """A seekable file over an object, for pyarrow; reads it range by range."""
    return pa.PythonFile(RangeInput(store, name), mode="r")


def open_output(store: S3Store, name: str) -> pa.NativeFile:
    """Small objects by one PUT, larger ones in parts; what is given up leaves none of them."""
    check_process()
    return OutputFile(PartsOutput(store, name), mode="w")


class PartsOutput(Output):
    """An object that is written in order."""

    def __init__(self, store: S3Store, name: str) -> None:
        self._store = store
        self._name = name
        self._key = store._key(name)
        self._held: list[bytes] = []
        self._size = 0
        self._file: obstore.WritableFile | None = None
        self._is_begun = False
        super().__init__()

    def _add(self, data: memoryview) -> None:
        if self._file is None:
            self._held.append(bytes(data))
            self._size += len(data)
            if self._size > ONE_REQUEST:
                self._file = self._store._ask(lambda s3: obstore.open_writer(s3, self._key))
                self._is_begun = True
                held, self._held = self._held, []
                for piece in held:
                    self._put(memoryview(piece))
        else:
            self._put(data)

    def _put(self, data: memoryview) -> None:
        assert self._file is not None
        try:
            self._file.write(data)
        except Exception as error:
            raise translate(error, self._store.describe(self._name)) from error

    def _complete(self) -> None:
        if self._file is None:
            held, self._held = self._held, []
            self._store.put(self._name, b"".join(held))
            return
        file, self._file = self._file, None
        try:
            file.close()
        except Exception as error:
            raise translate(error, self._store.describe(self._name)) from error

    def _drop(self) -> None:
        self._held, self._file = [], None

    def _discard(self) -> None:
        if self._is_begun:
            abort_uploads(self._store.spec, self._key)


def filesystem(bucket: ObjectStore) -> PyFileSystem:
    """The filesystem of a bucket; paths are `bucket/key`."""
    return PyFileSystem(S3Handler(bucket))


class S3Handler(FileSystemHandler):  # type: ignore[misc]  # pyarrow is untyped
    """Reads and writes through the store. S3 has no directories: making one does nothing."""

    def __init__(self, bucket: ObjectStore) -> None:
        super().__init__()
        self._bucket = bucket

    def __reduce__(self) -> tuple[object, ...]:
        return S3Handler, (self._bucket,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, S3Handler) and self._bucket.spec == other._bucket.spec

    def __hash__(self) -> int:
        return hash(self._bucket.spec)

    def get_type_name(self) -> str:
        return "deltalakedb+s3"

    def normalize_path(self, path: str) -> str:
        return path

    def open_input_file(self, path: str) -> pa.NativeFile:
        store, name = self._find(path)
        return store.open_input(name)

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return self.open_input_file(path)

    def open_output_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        store, name = self._find(path)
        return store.open_output(name)

    def open_append_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        raise NotImplementedError("an object of S3 can't be appended to")

    def create_dir(self, path: str, recursive: bool) -> None:
        """Nothing: a directory is there when an object is below it."""

    def delete_dir(self, path: str) -> None:
        self.delete_dir_contents(path, missing_dir_ok=True)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        store, name = self._find(path)
        try:
            below = store.list(name.rstrip("/") + "/" if name else "", recursive=True)
        except DeltaLakeError as error:
            if error.kind is DeltaLakeErrorKind.NOT_FOUND and missing_dir_ok:
                return
            raise
        store.delete([each.name for each in below])

    def delete_root_dir_contents(self) -> None:
        raise NotImplementedError("all buckets are not deleted at once")

    def delete_file(self, path: str) -> None:
        store, name = self._find(path)
        store.delete([name])

    def move(self, source: str, target: str) -> None:
        self.copy_file(source, target)
        self.delete_file(source)

    def copy_file(self, source: str, target: str) -> None:
        store, name = self._find(source)
        destination, new_name = self._find(target)
        destination.put(new_name, store.read(name))

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
        return cast("S3Store", store), name
