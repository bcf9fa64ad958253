"""Objects in a bucket of S3 or of a server that speaks its protocol, by obstore.

obstore (delta-rs's object_store) repeats what was throttled, timed out or answered with a 5xx,
with a growing pause, and knows create-only writes. It has no names with an empty segment (`a//b`):
they are refused.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import obstore

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.storage.s3.connection import connect
from deltalakedb.storage.s3.error import error_code, is_absent, translate
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import DEFAULT_CONCURRENCY, ObjectInfo, ObjectStore, not_found

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.fs

_BEYOND_END = frozenset({"InvalidRange", "416"})


class S3Store(ObjectStore):
    """A bucket, or a prefix in it."""

    def __init__(self, spec: StoreSpec, open_store: Callable[[StoreSpec], ObjectStore]) -> None:
        super().__init__(spec, open_store)
        bucket, _, prefix = spec.url.removeprefix("s3://").partition("/")
        self._bucket = bucket
        self._prefix = prefix + "/" if prefix else ""
        self._s3 = connect(spec, bucket)

    def list(
        self, prefix: str = "", start_after: str | None = None, *, recursive: bool = False
    ) -> builtins.list[ObjectInfo]:
        directory = prefix[: prefix.rfind("/") + 1]
        try:
            found, anything = self._list(prefix, directory, start_after or "", recursive)
            if not anything and not self._has_any(self._prefix + directory):
                raise not_found(self.describe(directory))
        except Exception as error:
            raise translate(error, self.describe(prefix)) from error
        found.sort(key=itemgetter(0))
        return found

    def folders(self, prefix: str = "") -> builtins.list[str]:
        skip = len(self._prefix)
        try:
            level = obstore.list_with_delimiter(self._s3, self._prefix + prefix or None)
        except Exception as error:
            raise translate(error, self.describe(prefix)) from error
        return sorted(f"{each.rstrip('/')[skip:]}/" for each in level["common_prefixes"])

    def read(self, name: str) -> bytes:
        try:
            return bytes(obstore.get(self._s3, self._key(name)).bytes())
        except Exception as error:
            raise translate(error, self.describe(name)) from error

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        if length <= 0:
            return b""
        try:
            return bytes(obstore.get_range(self._s3, self._key(name), start=offset, length=length))
        except Exception as error:
            if error_code(error) in _BEYOND_END:
                return b""
            raise translate(error, self.describe(name)) from error

    def read_many(
        self, names: Sequence[str], concurrency: int = DEFAULT_CONCURRENCY
    ) -> builtins.list[bytes]:
        if len(names) < 2:
            return [self.read(name) for name in names]
        # A thread of its own, since the caller's may have an event loop that runs (a notebook).
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, self._get_many(names, concurrency)).result()

    def read_tail(self, name: str, length: int) -> tuple[bytes, int]:
        """The last `length` bytes (all of a shorter object), and the object's size."""
        try:
            found = obstore.get(self._s3, self._key(name), options={"range": {"suffix": length}})
            return bytes(found.bytes()), found.meta["size"]
        except Exception as error:
            # An empty object has no last byte; servers answer with an error or with all of it.
            if error_code(error) in _BEYOND_END or "non-partial" in str(error):
                data = self.read(name)
                return data[-length:], len(data)
            raise translate(error, self.describe(name)) from error

    def open_input(self, name: str) -> pa.NativeFile:
        from deltalakedb.storage.s3.arrow import open_input

        return open_input(self, name)

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """`PUT` with `If-None-Match: *`; a slot whose request failed is read back.

        A server that ignores the condition overwrites; AWS, MinIO (2024 on), R2 and Ceph (19
        on) know it.
        """
        try:
            obstore.put(self._s3, self._key(name), data, mode="create", use_multipart=False)
        except obstore.exceptions.AlreadyExistsError:
            return False
        except Exception as error:
            failure = translate(error, self.describe(name))
            if failure.kind is not DeltaLakeErrorKind.STORAGE_ERROR:
                raise failure from error
            # The request may have been carried out and its answer lost.
            try:
                return self.read(name) == data
            except DeltaLakeError:
                raise failure from error
        return True

    def put(self, name: str, data: bytes) -> None:
        try:
            obstore.put(self._s3, self._key(name), data)
        except Exception as error:
            raise translate(error, self.describe(name)) from error

    def open_output(self, name: str, *, whole: bool = False) -> pa.NativeFile:
        """As in the interface; here nobody ever sees a part."""
        from deltalakedb.storage.s3.arrow import open_output

        return open_output(self, name)

    def delete(self, names: Sequence[str]) -> None:
        if not names:
            return
        try:
            obstore.delete(self._s3, [self._key(name) for name in names])
        except Exception as error:
            if not is_absent(error):
                raise translate(error, self.describe(names[0])) from error

    def sync(self, names: Sequence[str]) -> None:
        """Nothing to do: what S3 has answered for is durable."""

    def exists(self, name: str) -> bool:
        return self.info(name) is not None

    def arrow_filesystem(self) -> tuple[pyarrow.fs.FileSystem, str]:
        from deltalakedb.storage.s3.arrow import filesystem

        root = f"{self._bucket}/{self._prefix}".rstrip("/")
        return filesystem(self._open_store(self.spec.at(f"s3://{self._bucket}"))), root

    def describe(self, name: str = "") -> str:
        return f"s3://{self._bucket}/{self._prefix}{name}".rstrip("/")

    def info(self, name: str) -> ObjectInfo | None:
        """Size and time of an object, None when there is none."""
        try:
            found = obstore.head(self._s3, self._key(name))
        except Exception as error:
            if is_absent(error):
                return None
            raise translate(error, self.describe(name)) from error
        return ObjectInfo(name, found["size"], _milliseconds(found["last_modified"]))

    def _key(self, name: str) -> str:
        key = self._prefix + name
        if "//" in key or key.startswith("/") or key.endswith("/"):
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"{self.describe(name)!r} has a name with an empty segment, which is not supported "
                "in S3; copy the object to a name without '//'",
            )
        return key

    async def _get_many(self, names: Sequence[str], concurrency: int) -> builtins.list[bytes]:
        contents = [b""] * len(names)
        positions = iter(range(len(names)))

        async def fetch() -> None:
            for position in positions:
                name = names[position]
                try:
                    found = await obstore.get_async(self._s3, self._key(name))
                    contents[position] = bytes(await found.bytes_async())
                except Exception as error:
                    raise translate(error, self.describe(name)) from error

        fetchers = [asyncio.ensure_future(fetch()) for _ in range(min(concurrency, len(names)))]
        try:
            await asyncio.gather(*fetchers)
        finally:
            for fetcher in fetchers:
                fetcher.cancel()
        return contents

    def _list(
        self, prefix: str, directory: str, start_after: str, recursive: bool
    ) -> tuple[builtins.list[ObjectInfo], bool]:
        """The objects, and whether there is anything at all below the directory.

        A prefix that ends within a name, and a start where only one level is asked for, are
        compared here: the library's listings know folders alone.
        """
        skip = len(self._prefix)
        offset = max(start_after, prefix if prefix != directory else "")
        below = self._prefix + directory
        folders: builtins.list[str] = []
        objects: builtins.list[Any] = []
        if offset or recursive:
            # Names before the prefix begin with a smaller letter: start just before it.
            start = self._prefix + (start_after if start_after >= prefix else _before(prefix))
            for page in obstore.list(self._s3, below or None, offset=start or None):
                objects += page
        else:
            level = obstore.list_with_delimiter(self._s3, below or None)
            objects += level["objects"]
            folders += level["common_prefixes"]
        parents = {*folders, *(each["path"].rpartition("/")[0] for each in objects)}
        found: dict[str, ObjectInfo] = {}
        for each in objects:
            name = each["path"][skip:]
            if (
                name <= start_after
                or not name.startswith(prefix)
                or (not recursive and "/" in name[len(directory) :])
            ):
                continue
            # Consoles mark a directory by an object whose name ends in a slash, which the library
            # shows without it.
            marks = each["size"] == 0 or each["path"] in parents
            if marks and not self._is_object(each["path"]):
                continue
            found[name] = ObjectInfo(name, each["size"], _milliseconds(each["last_modified"]))
        return list(found.values()), bool(objects or folders)

    def _is_object(self, key: str) -> bool:
        try:
            obstore.head(self._s3, key)
        except Exception as error:
            if is_absent(error):
                return False
            raise
        return True

    def _has_any(self, prefix: str) -> bool:
        """Whether a directory exists: it does when an object is below it (or it is a bucket)."""
        if not prefix:
            return True
        return any(True for page in obstore.list(self._s3, prefix, chunk_size=1) for _ in page)


def _before(prefix: str) -> str:
    """A name that sorts before all that begin with `prefix`, and after most others."""
    if not prefix or prefix.endswith("/"):
        return ""
    last = ord(prefix[-1])
    if not 33 < last < 127:
        return prefix[:-1]
    # Not the slash, which would end a segment of the name.
    return prefix[:-1] + (chr(last - 1) if prefix[-1] != "0" else ".") + "~"


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
