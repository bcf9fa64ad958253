"""Objects that are files below a directory."""

from __future__ import annotations

import builtins
import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Generator, Iterable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import (
    DEFAULT_CONCURRENCY,
    Content,
    ObjectInfo,
    ObjectStore,
    not_found,
)
from deltalakedb.storage.syncfs import sync_whole

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.fs

_TEMPORARY = ".dl-put-"
_FIRST_READ = 1 << 16
_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_SYNCED_ALONE = 3
"""Files that are synced one by one."""
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class LocalStore(ObjectStore):
    """A directory, through `os` alone: no layer between, and no heavy import."""

    def __init__(self, spec: StoreSpec, open_store: Callable[[StoreSpec], ObjectStore]) -> None:
        super().__init__(spec, open_store)
        # "/" + name for the root directory too.
        self._root = spec.url.rstrip("/")

    def list(
        self, prefix: str = "", start_after: str | None = None, *, recursive: bool = False
    ) -> builtins.list[ObjectInfo]:
        """As in the interface; links to files count as files, links to directories as nothing."""
        top = prefix[: prefix.rfind("/") + 1]
        directories = [top]
        found: builtins.list[ObjectInfo] = []
        while directories:
            directory = directories.pop()
            try:
                with os.scandir(self._path(directory)) as entries:
                    below = _scan(entries, directory, prefix, start_after or "", found)
            except FileNotFoundError as error:
                if directory == top:
                    raise self._error(error, top) from error
            except OSError as error:
                raise self._error(error, directory) from error
            else:
                if recursive:
                    directories += below
        found.sort(key=itemgetter(0))
        return found

    def holds_any(self, prefix: str = "") -> bool:
        return os.path.isdir(self._path(prefix))

    def folders(self, prefix: str = "") -> builtins.list[str]:
        try:
            with os.scandir(self._path(prefix)) as entries:
                return sorted(f"{prefix}{e.name}/" for e in entries if e.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise self._error(error, prefix) from error

    def identity(self, name: str) -> str:
        return os.path.realpath(self._path(name))

    def read(self, name: str) -> bytes:
        try:
            return _read_whole(self._path(name))
        except OSError as error:
            raise self._error(error, name) from error

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        try:
            with open(self._path(name), "rb", buffering=0) as file:
                pieces = []
                while length > 0:
                    piece = os.pread(file.fileno(), length, offset)
                    if not piece:
                        break
                    pieces.append(piece)
                    offset += len(piece)
                    length -= len(piece)
                return b"".join(pieces)
        except OSError as error:
            raise self._error(error, name) from error

    def read_each(
        self, names: Sequence[str], concurrency: int = DEFAULT_CONCURRENCY
    ) -> Generator[bytes]:
        """One after the other: a local file is there before a thread could start."""
        root = self._root + "/"
        for name in names:
            try:
                data = _read_whole(root + name)
            except OSError as error:
                raise self._error(error, name) from error
            yield data

    def open_input(self, name: str) -> pa.NativeFile:
        import pyarrow as pa

        try:
            return pa.OSFile(self._path(name), "rb")
        except OSError as error:
            raise self._error(error, name) from error

    def put_if_absent(self, name: str, data: Content) -> bool:
        """A hard link to a complete temporary file is what makes it atomic (as in delta-rs)."""
        path = self._path(name)
        try:
            if os.path.lexists(path):
                return False
            temporary = _write_temporary(os.path.dirname(path), data)
            try:
                return _link(temporary, path)
            finally:
                _remove(temporary)
        except OSError as error:
            raise self._error(error, name) from error

    def put(self, name: str, data: Content) -> None:
        path = self._path(name)
        try:
            temporary = _write_temporary(os.path.dirname(path), data)
            try:
                os.replace(temporary, path)
            except BaseException:
                _remove(temporary)
                raise
        except OSError as error:
            raise self._error(error, name) from error

    def open_output(self, name: str, *, whole: bool = False) -> pa.NativeFile:
        import pyarrow as pa

        from deltalakedb.storage.output import OutputFile, WholeFile

        path = self._path(name)

        def opened() -> pa.NativeFile:
            if not whole:
                return pa.OSFile(path, "wb")
            temporary = _temporary_name(os.path.dirname(path))
            return OutputFile(WholeFile(path, temporary), mode="w")

        try:
            try:
                return opened()
            except FileNotFoundError:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                return opened()
        except OSError as error:
            raise self._error(error, name) from error

    def delete(self, names: Sequence[str]) -> None:
        name = ""
        try:
            for name in names:
                _remove(self._path(name))
        except OSError as error:
            raise self._error(error, name) from error

    def remove_empty_folders(self) -> None:
        for folder, _, _ in os.walk(self._root, topdown=False):
            # What isn't empty, or isn't ours to remove, stays.
            with contextlib.suppress(OSError):
                os.rmdir(folder)

    def remove_unfinished(self, before_ms: int) -> None:
        for folder, _, names in os.walk(self._root):
            for name in names:
                if name.startswith(_TEMPORARY):
                    path = os.path.join(folder, name)
                    with contextlib.suppress(OSError):
                        if os.stat(path).st_mtime_ns < before_ms * 1_000_000:
                            os.unlink(path)

    def sync(self, names: Sequence[str]) -> None:
        """fsync of the files, then of their folders up to the store's parent, each once.

        Of more than a few, a sync of their file system, where it can be relied upon.
        """
        folders: set[str] = set()
        name = ""
        try:
            if len(names) > _SYNCED_ALONE and self._sync_at_once(names):
                return
            for name in names:
                path = self._path(name)
                _sync(path)
                folder = os.path.dirname(path)
                while len(folder) >= len(self._root) and folder not in folders:
                    folders.add(folder)
                    folder = os.path.dirname(folder)
            for folder in sorted(folders, reverse=True):
                _sync(folder)
            if self._root and names:
                _sync(os.path.dirname(self._root))
        except OSError as error:
            raise self._error(error, name) from error

    def _sync_at_once(self, names: Sequence[str]) -> bool:
        """Whether they lie in one file system, and that has been synced."""
        descriptor = os.open(self._root or "/", _READ_FLAGS)
        try:
            device = os.fstat(descriptor).st_dev
            if any(os.stat(self._path(name)).st_dev != device for name in names):
                return False
            return sync_whole(descriptor)
        except FileNotFoundError:
            # One by one it is found out which.
            return False
        finally:
            os.close(descriptor)

    def exists(self, name: str) -> bool:
        try:
            return not stat.S_ISDIR(os.stat(self._path(name)).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise self._error(error, name) from error

    def arrow_filesystem(self) -> tuple[pyarrow.fs.FileSystem, str]:
        import pyarrow.fs

        return pyarrow.fs.LocalFileSystem(), self._root

    def describe(self, name: str = "") -> str:
        return self._path(name).rstrip("/") or "/"

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _error(self, error: OSError, name: str) -> DeltaLakeError:
        return _translate(error, self.describe(name))


def _scan(
    entries: Iterable[os.DirEntry[str]],
    directory: str,
    prefix: str,
    start_after: str,
    found: list[ObjectInfo],
) -> list[str]:
    """Append a directory's matching files to `found`; the directories to look into next."""
    below: list[str] = []
    for entry in entries:
        name = directory + entry.name
        if entry.is_dir():
            if name.startswith(prefix) and not entry.is_symlink():
                below.append(name + "/")
        elif (
            name > start_after and name.startswith(prefix) and not entry.name.startswith(_TEMPORARY)
        ):
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue  # deleted since, or a link that leads nowhere
            found.append(ObjectInfo(name, status.st_size, status.st_mtime_ns // 1_000_000))
    return below


def _read_whole(path: str) -> bytes:
    """All bytes of a file; two system calls beside open and close for a small one."""
    descriptor = os.open(path, _READ_FLAGS)
    try:
        first = os.read(descriptor, _FIRST_READ)
        if len(first) < _FIRST_READ:
            rest = os.read(descriptor, _FIRST_READ)
            if not rest:
                return first
        else:
            rest = os.read(descriptor, os.fstat(descriptor).st_size - len(first) + 1)
        pieces = [first]
        while rest:
            pieces.append(rest)
            rest = os.read(descriptor, _FIRST_READ)
        return b"".join(pieces)
    finally:
        os.close(descriptor)


def _link(temporary: str, path: str) -> bool:
    """Give a complete file its name; False when the name is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno in _NO_HARD_LINKS:
            raise DeltaLakeError(
                DeltaLakeErrorKind.STORAGE_ERROR,
                f"{path!r} cannot be created atomically: the file system does not support hard "
                f"links ({error.strerror}); keep the table on a local disk or in S3",
                url=path,
            ) from error
        raise
    return True


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def _temporary_name(directory: str) -> str:
    return os.path.join(directory, _TEMPORARY + secrets.token_hex(8))


def _write_temporary(directory: str, data: Content) -> str:
    """A complete file under a name that listings leave out; its directories are made."""
    temporary = _temporary_name(directory)
    try:
        descriptor = os.open(temporary, _CREATE_FLAGS, 0o666)
    except FileNotFoundError:
        os.makedirs(directory, exist_ok=True)
        descriptor = os.open(temporary, _CREATE_FLAGS, 0o666)
    try:
        for piece in (data,) if isinstance(data, bytes) else data:
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
    except BaseException:
        _remove(temporary)
        raise
    finally:
        os.close(descriptor)
    return temporary


def _sync(path: str) -> None:
    """Make a file's bytes, or a directory's names, durable."""
    descriptor = os.open(path, _READ_FLAGS)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _translate(error: OSError, path: str) -> DeltaLakeError:
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return not_found(path)
    if error.errno in (errno.EACCES, errno.EPERM):
        return DeltaLakeError(
            DeltaLakeErrorKind.AUTHENTICATION_ERROR,
            f"access to {path!r} is denied ({reason}); give this user the permission",
            url=path,
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = "free some space and try again"
    elif error.errno == errno.EISDIR:
        advice = "it is a directory where a file is expected"
    else:
        advice = "check the disk or the mount"
    return DeltaLakeError(
        DeltaLakeErrorKind.STORAGE_ERROR,
        f"{path!r} could not be read or written: {reason}; {advice}",
        url=path,
    )
