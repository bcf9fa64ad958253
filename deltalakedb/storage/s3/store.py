"""Objects in a bucket of S3 or of a server that speaks its protocol, by s3fs.

Requests go to the S3 calls of s3fs directly, not through its path functions, because those
treat `*`, `?` and `[` in names as patterns and cut names at `?versionId=`. s3fs repeats what
was throttled or timed out with a growing pause, on top of botocore's own repetition of failed
requests and 5xx answers; only a body that breaks off while it is read is repeated here.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable, Coroutine, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

from fsspec.asyn import sync
from s3fs.core import S3_RETRYABLE_ERRORS

from deltalakedb.storage.s3.connection import connect
from deltalakedb.storage.s3.error import error_code, translate
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import DEFAULT_CONCURRENCY, ObjectInfo, ObjectStore, not_found

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.fs

T = TypeVar("T")

_ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})
_TAKEN = frozenset({"PreconditionFailed", "412"})
_CONFLICT = frozenset({"ConditionalRequestConflict", "OperationAborted", "409"})
_BEYOND_END = frozenset({"InvalidRange", "416"})
_ATTEMPTS = 5


class S3Store(ObjectStore):
    """A bucket, or a prefix in it."""

    def __init__(self, spec: StoreSpec) -> None:
        super().__init__(spec)
        bucket, _, prefix = spec.url.removeprefix("s3://").partition("/")
        self._bucket = bucket
        self._prefix = prefix + "/" if prefix else ""
        self._s3 = connect(spec)

    def list(
        self, prefix: str = "", start_after: str | None = None, *, recursive: bool = False
    ) -> builtins.list[ObjectInfo]:
        return self._run(self._list, prefix, start_after, recursive)

    def read(self, name: str) -> bytes:
        return self._run(self._get, name)

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        if length <= 0:
            return b""
        return self._run(self._get, name, f"bytes={offset}-{offset + length - 1}")

    def read_many(
        self, names: Sequence[str], concurrency: int = DEFAULT_CONCURRENCY
    ) -> builtins.list[bytes]:
        return self._run(self._get_many, names, concurrency)

    def read_tail(self, name: str, length: int) -> tuple[bytes, int]:
        """The last `length` bytes (all of a shorter object), and the object's size."""
        return self._run(self._get_tail, name, length)

    def open_input(self, name: str) -> pa.NativeFile:
        from deltalakedb.storage.s3.arrow import open_input

        return open_input(self, name)

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """`PUT` with `If-None-Match: *`.

        A server that ignores the condition overwrites; AWS, MinIO (2024 on), R2 and Ceph (19
        on) know it. When the answer of a successful request was lost and s3fs repeated it,
        False is returned for the caller's own bytes: who must know compares them.
        """
        return self._run(self._put_if_absent, name, data)

    def exists(self, name: str) -> bool:
        return self._run(self._head, name) is not None

    def arrow_filesystem(self) -> tuple[pyarrow.fs.FileSystem, str]:
        from deltalakedb.storage.s3.arrow import filesystem

        root = f"{self._bucket}/{self._prefix}".rstrip("/")
        return filesystem(S3Store(self.spec.at(f"s3://{self._bucket}")), self._s3), root

    def describe(self, name: str = "") -> str:
        return f"s3://{self._bucket}/{self._prefix}{name}".rstrip("/")

    def info(self, name: str) -> ObjectInfo | None:
        """Size and time of an object, None when there is none."""
        answer = self._run(self._head, name)
        if answer is None:
            return None
        return ObjectInfo(name, answer["ContentLength"], _milliseconds(answer["LastModified"]))

    def _run(self, function: Callable[..., Coroutine[Any, Any, T]], *arguments: object) -> T:
        """Run a coroutine on fsspec's event loop (a thread of its own) and wait for it."""
        result: T = sync(self._s3.loop, function, *arguments)
        return result

    async def _call(self, operation: str, **arguments: object) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = await self._s3._call_s3(
            operation, Bucket=self._bucket, **arguments
        )
        return answer

    async def _get(self, name: str, byte_range: str | None = None) -> bytes:
        try:
            data, _ = await self._fetch(name, byte_range)
        except Exception as error:
            if byte_range is not None and error_code(error) in _BEYOND_END:
                return b""
            raise translate(error, self.describe(name)) from error
        return data

    async def _fetch(self, name: str, byte_range: str | None) -> tuple[bytes, str]:
        """The body and its Content-Range."""
        arguments = {} if byte_range is None else {"Range": byte_range}
        for attempt in range(_ATTEMPTS):
            answer = await self._call("get_object", Key=self._prefix + name, **arguments)
            try:
                return await answer["Body"].read(), answer.get("ContentRange", "")
            except S3_RETRYABLE_ERRORS:
                if attempt + 1 == _ATTEMPTS:
                    raise
                await asyncio.sleep(0.1 * 2**attempt)
            finally:
                answer["Body"].close()
        raise AssertionError("unreachable")

    async def _get_tail(self, name: str, length: int) -> tuple[bytes, int]:
        try:
            data, content_range = await self._fetch(name, f"bytes=-{length}")
        except Exception as error:
            if error_code(error) in _BEYOND_END:
                return b"", 0  # an empty object has no last byte
            raise translate(error, self.describe(name)) from error
        _, _, size = content_range.rpartition("/")
        return data, int(size) if size.isdigit() else len(data)

    async def _get_many(self, names: Sequence[str], concurrency: int) -> builtins.list[bytes]:
        contents = [b""] * len(names)
        positions = iter(range(len(names)))

        async def fetch() -> None:
            for position in positions:
                contents[position] = await self._get(names[position])

        fetchers = [asyncio.ensure_future(fetch()) for _ in range(min(concurrency, len(names)))]
        try:
            await asyncio.gather(*fetchers)
        finally:
            for fetcher in fetchers:
                fetcher.cancel()
        return contents

    async def _head(self, name: str) -> Mapping[str, Any] | None:
        try:
            return await self._call("head_object", Key=self._prefix + name)
        except Exception as error:
            if error_code(error) in _ABSENT:
                return None
            raise translate(error, self.describe(name)) from error

    async def _put_if_absent(self, name: str, data: bytes) -> bool:
        for attempt in range(_ATTEMPTS):
            try:
                await self._call("put_object", Key=self._prefix + name, Body=data, IfNoneMatch="*")
            except Exception as error:
                code = error_code(error)
                if code in _TAKEN:
                    return False
                if code in _CONFLICT and attempt + 1 < _ATTEMPTS:
                    # Another request for the same name was under way: ask who won.
                    await asyncio.sleep(0.05 * 2**attempt)
                    continue
                raise translate(error, self.describe(name)) from error
            return True
        raise AssertionError("unreachable")

    async def _list(
        self, prefix: str, start_after: str | None, recursive: bool
    ) -> builtins.list[ObjectInfo]:
        arguments: dict[str, object] = {"Prefix": self._prefix + prefix}
        if not recursive:
            arguments["Delimiter"] = "/"
        if start_after is not None:
            arguments["StartAfter"] = self._prefix + start_after
        directory = prefix[: prefix.rfind("/") + 1]
        found: builtins.list[ObjectInfo] = []
        anything = False
        skip = len(self._prefix)
        try:
            while True:
                page = await self._call("list_objects_v2", **arguments)
                for entry in page.get("Contents", ()):
                    anything = True
                    name = entry["Key"][skip:]
                    # Consoles mark a directory by an empty object whose name ends in a slash.
                    if name and not name.endswith("/"):
                        modified = _milliseconds(entry["LastModified"])
                        found.append(ObjectInfo(name, entry["Size"], modified))
                anything = anything or bool(page.get("CommonPrefixes"))
                if not page.get("IsTruncated"):
                    break
                arguments["ContinuationToken"] = page["NextContinuationToken"]
            if not anything and not await self._has_any(self._prefix + directory):
                raise not_found(self.describe(directory))
        except Exception as error:
            raise translate(error, self.describe(prefix)) from error
        found.sort(key=itemgetter(0))
        return found

    async def _has_any(self, prefix: str) -> bool:
        """Whether a directory exists: it does when an object is below it (or it is a bucket)."""
        if not prefix:
            return True
        page = await self._call("list_objects_v2", Prefix=prefix, MaxKeys=1)
        return bool(page.get("Contents"))


def _milliseconds(moment: Any) -> int:
    return int(moment.timestamp() * 1000)
