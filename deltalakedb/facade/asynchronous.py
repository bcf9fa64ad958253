"""The guide's asyncio names: what blocks runs in threads that have their own connections."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from deltalakedb import fork
from deltalakedb.config import AsyncTaskConfig
from deltalakedb.facade.waiting import SnapshotLoader

if TYPE_CHECKING:
    import pyarrow as pa

    from deltalakedb.snapshot.snapshot import Snapshot
    from deltalakedb.table.transaction import WriteResult

T = TypeVar("T")
_TURN_SECONDS = 0.0005


class WriteMode(Enum):
    """As `write_deltalake`'s modes."""

    APPEND = "append"
    OVERWRITE = "overwrite"
    ERROR = "error"
    IGNORE = "ignore"


class _ShortTurns:
    """While calls are under way, threads let others have the interpreter sooner.

    Python's 5 ms for each of ten threads would hold up the event loop for 50.
    """

    def __init__(self) -> None:
        self._lock = fork.Lock()
        self._calls = 0
        self._before = 0.0

    def __enter__(self) -> None:
        with self._lock:
            self._calls += 1
            if self._calls == 1:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(min(self._before, _TURN_SECONDS))

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._calls -= 1
            if self._calls == 0:
                sys.setswitchinterval(self._before)


_turns = _ShortTurns()


class AsyncIOExecutor:
    """Threads for calls that wait; each has connections of its own, kept between calls."""

    def __init__(self, config: AsyncTaskConfig | None = None) -> None:
        from deltalakedb.table.connect import own_connections

        self.config = config or AsyncTaskConfig()
        self._own_connections = own_connections
        self._is_closed = False
        self._loader = SnapshotLoader(self._submit)
        self._start()
        fork.watch(self)

    def _start(self) -> None:
        self._threads = ThreadPoolExecutor(
            self.config.max_concurrent_tasks, "deltalakedb", initializer=self._own_connections
        )

    async def run(self, call: Callable[..., T], *arguments: Any) -> T:
        """The call's result; it runs in a thread once one is free."""
        with _turns:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, call, *arguments)

    async def snapshot(self, uri: str) -> Snapshot:
        """The newest version of a table.

        Calls that wait at the same moment are answered by one question for each database.
        """
        with _turns:
            return await self._loader.load(uri)

    def _submit(self, call: Callable[[], None]) -> None:
        self._threads.submit(call)

    def before_fork(self) -> None:
        """Nothing: the parent's threads go on."""

    def after_fork(self) -> None:
        # The parent's threads aren't there.
        if not self._is_closed:
            self._start()

    def close(self) -> None:
        """Let calls that have begun end, and the threads with them."""
        self._is_closed = True
        self._threads.shutdown()

    def __enter__(self) -> AsyncIOExecutor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncDeltaLakeOperations:
    """Reading and writing tables by their URIs without blocking the event loop."""

    def __init__(self, executor: AsyncIOExecutor | None = None) -> None:
        self._executor = executor or AsyncIOExecutor()

    async def write_table_async(
        self, uri: str, data: Any, mode: WriteMode | str = WriteMode.APPEND, **options: Any
    ) -> WriteResult:
        """`write_deltalake`, whose names of modes are taken too.

        Raises INVALID_ARGUMENT for a mode that isn't one.
        """
        return await self._executor.run(_write, uri, data, mode, options)

    async def read_table_async(
        self,
        uri: str,
        predicate: Any = None,
        columns: Sequence[str] | None = None,
        version: int | None = None,
    ) -> pa.Table:
        """The rows of a version, by default the newest, that satisfy a predicate."""
        return await self._executor.run(_read, uri, predicate, columns, version)

    async def snapshot_async(self, uri: str, version: int | None = None) -> Snapshot:
        """A version, by default the newest."""
        if version is None:
            return await self._executor.snapshot(uri)
        return await self._executor.run(_snapshot, uri, version)

    async def snapshots_async(self, uris: Sequence[str]) -> list[Snapshot]:
        """The newest versions of tables of one catalog at one moment, by one question."""
        return await self._executor.run(_snapshots, list(uris))


def _write(uri: str, data: Any, mode: Any, options: dict[str, Any]) -> WriteResult:
    from deltalakedb.table.writing import write_deltalake

    name: Any = mode.value if isinstance(mode, WriteMode) else mode
    return write_deltalake(uri, data, mode=name, **options)


def _read(uri: str, predicate: Any, columns: Any, version: int | None) -> pa.Table:
    return _snapshot(uri, version).to_pyarrow_table(predicate, columns)


def _snapshot(uri: str, version: int | None) -> Snapshot:
    if version is None:
        return _snapshots([uri])[0]
    from deltalakedb.table.connect import connect_to_table

    return connect_to_table(uri).snapshot(version)


def _snapshots(uris: list[str]) -> list[Snapshot]:
    from deltalakedb.table.connect import snapshots

    return snapshots(uris)
