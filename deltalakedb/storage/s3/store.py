"""Objects in a bucket of S3 or of a server that speaks its protocol, by obstore.

obstore (delta-rs's object_store) repeats what was throttled, timed out or answered with a 5xx,
with a growing pause, and knows create-only writes. It has no names with an empty segment (`a//b`):
they are refused.
"""

from __future__ import annotations

import builtins
import contextvars
import io
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.storage.pieces import Held, compare
from deltalakedb.storage.s3.connection import Client, check_process
from deltalakedb.storage.s3.error import (
    error_code,
    is_absent,
    is_contended,
    translate,
)
from deltalakedb.storage.s3.uploads import ONE_REQUEST, abort_uploads
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import (
    DEFAULT_CONCURRENCY,
    Content,
    ObjectInfo,
    ObjectStore,
    not_found,
)
from deltalakedb.storage.traffic import count

if TYPE_CHECKING:
    import obstore.store
    import pyarrow as pa
    import pyarrow.fs

T = TypeVar("T")
_BEYOND_END = frozenset({"InvalidRange", "416"})
_WITHOUT_REASON = frozenset({"400", "401", "403", "Forbidden"})
_PAGE = 1_000
"""Objects in an answer to a listing."""


class S3Store(ObjectStore):
    """A bucket, or a prefix in it."""

    def __init__(self, spec: StoreSpec, open_store: Callable[[StoreSpec], ObjectStore]) -> None:
        super().__init__(spec, open_store)
        bucket, _, prefix = spec.url.removeprefix("s3://").partition("/")
        self._bucket = bucket
        self._prefix = prefix + "/" if prefix else ""
        self._client = Client(spec, bucket)

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
            level = self._level(self._prefix + prefix)
        except Exception as error:
            raise translate(error, self.describe(prefix)) from error
        return sorted(f"{each.rstrip('/')[skip:]}/" for each in level["common_prefixes"])

    def read(self, name: str) -> bytes:
        key = self._key(name)
        try:
            data = self._ask(lambda s3: bytes(obstore.get(s3, key).bytes()))
        except Exception as error:
            raise translate(error, self.describe(name)) from error
        count(1, len(data))
        return data

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        if length <= 0:
            return b""
        key = self._key(name)
        try:
            data = self._ask(
                lambda s3: bytes(obstore.get_range(s3, key, start=offset, length=length))
            )
        except Exception as error:
            if error_code(error) in _BEYOND_END:
                return b""
            raise translate(error, self.describe(name)) from error
        count(1, len(data))
        return data

    def read_each(
        self, names: Sequence[str], concurrency: int = DEFAULT_CONCURRENCY
    ) -> Generator[bytes]:
        """Threads wait for the answers: an event loop takes twice the CPU time for each."""
        if len(names) < 2:
            yield from map(self.read, names)
            return
        rest = iter(names)
        ahead: deque[Future[bytes]] = deque()
        pool = ThreadPoolExecutor(min(concurrency, len(names)), thread_name_prefix="dl-s3")
        try:
            for name in rest:
                try:
                    ahead.append(pool.submit(contextvars.copy_context().run, self.read, name))
                except RuntimeError:
                    # The process ends, when pools take nothing more.
                    while ahead:
                        yield ahead.popleft().result()
                    yield self.read(name)
                # As many again wait, so that no thread does while the caller is busy.
                if len(ahead) >= 2 * concurrency:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def read_tail(self, name: str, length: int) -> tuple[bytes, int]:
        """The last `length` bytes (all of a shorter object), and the object's size."""
        key = self._key(name)

        def get(s3: obstore.store.S3Store) -> tuple[bytes, int]:
            found = obstore.get(s3, key, options={"range": {"suffix": length}})
            return bytes(found.bytes()), found.meta["size"]

        try:
            data, size = self._ask(get)
        except Exception as error:
            # An empty object has no last byte; servers answer with an error or with all of it.
            if error_code(error) in _BEYOND_END or "non-partial" in str(error):
                data = self.read(name)
                return data[-length:], len(data)
            raise translate(error, self.describe(name)) from error
        count(1, len(data))
        return data, size

    def open_input(self, name: str) -> pa.NativeFile:
        from deltalakedb.storage.s3.arrow import open_input

        return open_input(self, name)

    def put_if_absent(self, name: str, data: Content) -> bool:
        """`PUT` with `If-None-Match: *`; a slot whose request failed is read back.

        A server that ignores the condition overwrites; AWS, MinIO (2024 on), R2 and Ceph (19
        on) know it.
        """
        key = self._key(name)
        try:
            # A condition goes with one request alone, which is held whole.
            body = data if isinstance(data, bytes) else _joined(data)
            self._ask(lambda s3: obstore.put(s3, key, body, mode="create", use_multipart=False))
        except Exception as error:
            if isinstance(error, AlreadyExistsError) and not is_contended(error):
                return False
            failure = translate(error, self.describe(name))
            if failure.kind is not DeltaLakeErrorKind.STORAGE_ERROR:
                raise failure from error
            # The request may have been carried out and its answer lost.
            try:
                return compare(self, name, data) is Held.SAME
            except DeltaLakeError:
                raise failure from error
        return True

    def put(self, name: str, data: Content) -> None:
        key = self._key(name)
        try:
            body = data if isinstance(data, bytes) else _joined(data)
            parts = len(body) > ONE_REQUEST
            self._ask(lambda s3: obstore.put(s3, key, body, use_multipart=parts))
        except Exception as error:
            raise translate(error, self.describe(name)) from error

    def open_output(self, name: str, *, whole: bool = False) -> pa.NativeFile:
        """As in the interface; here nobody ever sees a part."""
        from deltalakedb.storage.s3.arrow import open_output

        return open_output(self, name)

    def delete(self, names: Sequence[str]) -> None:
        if not names:
            return
        keys = [self._key(name) for name in names]
        try:
            self._ask(lambda s3: obstore.delete(s3, keys))
        except Exception as error:
            if not is_absent(error):
                raise translate(error, self.describe(names[0])) from error

    def remove_unfinished(self, before_ms: int) -> None:
        """Abort uploads in parts that were begun before then and not finished."""
        check_process()
        abort_uploads(self.spec, self._prefix, before_ms=before_ms)

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
        key = self._key(name)
        try:
            count(1)
            found = self._head(key)
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

    def _ask(self, question: Callable[[obstore.store.S3Store], T]) -> T:
        return self._client.ask(question)

    def _head(self, key: str) -> Any:
        try:
            return self._ask(lambda s3: obstore.head(s3, key))
        except Exception as error:
            if error_code(error) not in _WITHOUT_REASON:
                raise
        # The answer to a HEAD has no body, which would say that credentials have expired.
        try:
            self._ask(lambda s3: obstore.get_range(s3, key, start=0, length=1))
        except Exception as error:
            if error_code(error) not in _BEYOND_END:
                raise
        return self._ask(lambda s3: obstore.head(s3, key))

    def _pages(self, prefix: str, offset: str | None = None) -> Iterator[builtins.list[Any]]:
        """All objects whose keys begin with `prefix`, which is a folder, after `offset`.

        By pages: one that fails is asked for again, not those before it.
        """
        pages: Iterator[Any] = iter(())
        is_begun = False

        def following(s3: obstore.store.S3Store) -> builtins.list[Any] | None:
            nonlocal pages, is_begun
            if not is_begun:
                pages = obstore.list(s3, prefix or None, offset=offset, chunk_size=_PAGE)
            is_begun = False
            page: builtins.list[Any] | None = next(pages, None)
            is_begun = True
            return page

        count(1)
        while page := self._ask(following):
            offset = page[-1]["path"]
            count(len(page) // _PAGE)
            yield page

    def _level(self, prefix: str) -> Any:
        """What is right below a folder: `objects` and `common_prefixes`."""
        level = self._ask(lambda s3: obstore.list_with_delimiter(s3, prefix or None))
        count(1 + (len(level["objects"]) + len(level["common_prefixes"])) // _PAGE)
        return level

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
        pages: Iterable[builtins.list[Any]]
        if offset or recursive:
            # Names before the prefix begin with a smaller letter: start just before it.
            start = self._prefix + (start_after if start_after >= prefix else _before(prefix))
            pages = self._pages(below, start or None)
        else:
            level = self._level(below)
            pages = [level["objects"]]
            folders += level["common_prefixes"]
        parents = set(folders)
        found: dict[str, ObjectInfo] = {}
        anything = bool(folders)
        for each in chain.from_iterable(pages):
            anything = True
            parents.add(each["path"].rpartition("/")[0])
            name = each["path"][skip:]
            if (
                name > start_after
                and name.startswith(prefix)
                and (recursive or "/" not in name[len(directory) :])
            ):
                found[name] = ObjectInfo(name, each["size"], _milliseconds(each["last_modified"]))
        # Consoles mark a directory by an object whose name ends in a slash, which the library
        # shows without it.
        marks = [n for n, each in found.items() if not each.size or self._prefix + n in parents]
        for name in marks:
            if not self._is_object(self._prefix + name):
                del found[name]
        return list(found.values()), anything

    def _is_object(self, key: str) -> bool:
        try:
            count(1)
            self._head(key)
        except Exception as error:
            if is_absent(error):
                return False
            raise
        return True

    def _has_any(self, prefix: str) -> bool:
        """Whether a directory exists: it does when an object is below it (or it is a bucket)."""
        if not prefix:
            return True

        def one(s3: obstore.store.S3Store) -> bool:
            return any(True for page in obstore.list(s3, prefix, chunk_size=1) for _ in page)

        count(1)
        return self._ask(one)

    def holds_any(self, prefix: str = "") -> bool:
        try:
            return self._has_any(self._prefix + prefix)
        except Exception as error:
            raise translate(error, self.describe(prefix)) from error


def _joined(pieces: Iterable[bytes]) -> memoryview:
    """All pieces, once in memory."""
    whole = io.BytesIO()
    whole.writelines(pieces)
    return whole.getbuffer()


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
