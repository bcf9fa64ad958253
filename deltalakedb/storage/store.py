"""What a store of objects can do, whatever holds the objects."""

from __future__ import annotations

import builtins
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from deltalakedb import logs
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.fs

    from deltalakedb.storage.spec import StoreSpec

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")

_log = logging.getLogger(__name__)

DEFAULT_CONCURRENCY = 32
"""Requests that `ObjectStore.read_each` keeps under way at a time."""


class ObjectInfo(NamedTuple):
    """An object in a listing."""

    name: str
    """Relative to the store's root, with forward slashes."""
    size: int
    """Bytes."""
    modified_ms: int
    """Milliseconds since 1970-01-01 UTC."""


class Pieces(Protocol):
    """Bytes that are too many to be held: some at a time, from the beginning whenever asked for."""

    @property
    def size(self) -> int:
        """All of them, in bytes."""
        ...

    def __iter__(self) -> Iterator[bytes]: ...


Content: TypeAlias = "bytes | Pieces"
"""What an object is written with."""


class ObjectStore(ABC):
    """Objects below one root, named relative to it with forward slashes.

    Names are literal: nothing in them is URL-decoded, expanded or treated as a pattern.
    Every method raises DeltaLakeError: NOT_FOUND for what is not there, AUTHENTICATION_ERROR
    for denied access or bad credentials, STORAGE_ERROR otherwise, naming the place.
    A store may be used from many threads. It pickles as its `spec`.
    """

    def __init__(self, spec: StoreSpec, open_store: Callable[[StoreSpec], ObjectStore]) -> None:
        """`open_store` opens any spec: paths of a log may lead to stores of another kind."""
        self.spec = spec
        self._open_store = open_store
        self._elsewhere: dict[str, ObjectStore] = {}

    @abstractmethod
    def list(
        self, prefix: str = "", start_after: str | None = None, *, recursive: bool = False
    ) -> builtins.list[ObjectInfo]:
        """Objects whose names begin with `prefix`, sorted by name.

        Directories are not listed; only one level (that of the prefix) is, unless
        `recursive`. `start_after` is a full name: only greater names are listed. NOT_FOUND
        when the prefix's directory (up to its last slash) does not exist; a store without
        directories says so when it has no object below it.
        """

    @abstractmethod
    def holds_any(self, prefix: str = "") -> bool:
        """Whether there is a folder `prefix` ("" or ending in a slash).

        A store without folders says so when it has an object below it.
        """

    @abstractmethod
    def folders(self, prefix: str = "") -> builtins.list[str]:
        """Names of the folders right below `prefix` ("" or ending in a slash), each with a slash.

        Sorted. Links to folders are folders. None where there is no such place.
        """

    def identity(self, name: str) -> str:
        """What is the same for two names of one folder, however links lead there."""
        return self.describe(name)

    @abstractmethod
    def read(self, name: str) -> bytes:
        """All bytes of an object."""

    @abstractmethod
    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; fewer at the object's end, none beyond it."""

    @abstractmethod
    def read_each(
        self, names: Sequence[str], concurrency: int = DEFAULT_CONCURRENCY
    ) -> Generator[bytes]:
        """All bytes of each object, in the order of `names`, as they are asked for.

        Where reads wait for a network at most `concurrency` are under way at a time, and no more
        than twice as many objects are in memory.
        """

    def read_many(
        self, names: Sequence[str], concurrency: int = DEFAULT_CONCURRENCY
    ) -> builtins.list[bytes]:
        """`read_each`, all in memory at once: pass no more names than fit."""
        return list(self.read_each(names, concurrency))

    @abstractmethod
    def open_input(self, name: str) -> pa.NativeFile:
        """A seekable file for pyarrow's readers; close it after use."""

    @abstractmethod
    def put_if_absent(self, name: str, data: Content) -> bool:
        """Create an object with `data`, or return False when the name exists.

        Of concurrent callers exactly one gets True. The object is seen whole or not at all;
        `sync` makes it durable where a store does not do so itself. False may mean the caller's
        own bytes, where the answer of a repeated request was lost: who must know compares them.
        """

    @abstractmethod
    def put(self, name: str, data: Content) -> None:
        """Create or replace an object: readers see the old one or the new one, whole."""

    @abstractmethod
    def open_output(self, name: str, *, whole: bool = False) -> pa.NativeFile:
        """A file to write to in order, of any length; the object is whole once it is closed.

        With `whole` nobody sees it before, which costs a local store a little.
        """

    @abstractmethod
    def delete(self, names: Sequence[str]) -> None:
        """Remove objects; those that are not there are none the less removed."""

    def discard(self, names: Sequence[str]) -> None:
        """`delete` of objects that nothing names; those that can't be are left to a vacuum.

        That they are left is no error of what was done, or failed, before.
        """
        try:
            self.delete(names)
        except DeltaLakeError as error:
            told = f"{len(names)} files that nothing names were left ({error}); a vacuum takes them"
            logs.note(_log, logging.INFO, told)

    def remove_empty_folders(self) -> None:
        """Remove folders below the root that hold nothing, and a root that does.

        A store that has no folders has nothing to remove.
        """
        return

    def remove_unfinished(self, before_ms: int) -> None:
        """Remove what dead writers left of objects that they hadn't finished, at any level.

        `before_ms`: only what was changed last before then (Unix epoch). Listings leave it out. A
        store where an object is there whole or not at all has nothing to remove.
        """
        return

    @abstractmethod
    def sync(self, names: Sequence[str]) -> None:
        """Make objects and their names survive a power cut; S3 has done so when it answers."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether an object (not a directory) has this name."""

    @abstractmethod
    def arrow_filesystem(self) -> tuple[pyarrow.fs.FileSystem, str]:
        """The store for pyarrow datasets: a filesystem, and the root's path in it.

        The path of an object is `f"{root}/{name}"`, also where the root is empty.
        """

    def resolve(self, path: str) -> tuple[ObjectStore, str]:
        """The store and the name of a `path` as Delta logs hold it, already decoded.

        A relative path is a name in this store. An absolute path or URL (`/dir/x`,
        `file:/dir/x`, `file:///dir/x`, `s3://bucket/key`, `s3a://…`) leads to the store of
        its bucket or file system, opened once with this store's options, or to this store
        when it is inside. Nothing is decoded here: a log's paths are URL-encoded once and
        their reader decodes them once.
        """
        if not is_absolute(path):
            return self, path
        place, name = split_absolute(path)
        own = self.spec.url.rstrip("/") + "/"
        whole = f"{place.rstrip('/')}/{name}"
        if whole.startswith(own):
            return self, whole[len(own) :]
        store = self._elsewhere.get(place)
        if store is None:
            store = self._elsewhere.setdefault(place, self._open_store(self.spec.at(place)))
        return store, name

    @abstractmethod
    def describe(self, name: str = "") -> str:
        """The place of an object (of the root for ""), for messages; without secrets."""

    def __reduce__(self) -> tuple[object, ...]:
        return self._open_store, (self.spec,)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.describe()!r})"


def is_absolute(path: str) -> bool:
    """Whether a decoded path of a log is absolute: begins with a slash or a URL scheme."""
    # `a:b/part.parquet` is a legal relative name: a scheme is followed by a slash.
    return path.startswith("/") or _SCHEME.match(path) is not None


def split_absolute(path: str) -> tuple[str, str]:
    """An absolute path or URL, literally, as (place, name).

    The place is "/" for files and `s3://bucket` for S3. INVALID_ARGUMENT for other schemes.
    """
    match = _SCHEME.match(path)
    if match is None:
        return "/", path.lstrip("/")
    scheme, rest = match.group(1).lower(), path[match.end() :]
    if scheme == "file":
        # file:/x and file:///x are what Hadoop writes; file://host/x names a machine.
        if rest.startswith("/"):
            host, _, rest = rest[1:].partition("/")
            if host not in ("", "localhost"):
                raise _unsupported(path)
        return "/", rest.lstrip("/")
    if scheme in ("s3", "s3a", "s3n") and rest.startswith("/"):
        bucket, _, key = rest[1:].partition("/")
        return f"s3://{bucket}", key
    raise _unsupported(path)


def not_found(place: str) -> DeltaLakeError:
    """The error for an object or a directory that is not there."""
    return DeltaLakeError(
        DeltaLakeErrorKind.NOT_FOUND, f"{place!r} does not exist; check the path", url=place
    )


def _unsupported(path: str) -> DeltaLakeError:
    return DeltaLakeError(
        DeltaLakeErrorKind.INVALID_ARGUMENT,
        f"{path!r} is at a kind of place that is not supported: local files, file:// and s3:// are",
        path=path,
    )
