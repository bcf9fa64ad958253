"""How file lists are kept and read."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from deltalakedb.config.checks import check_fields, choice, optional, path, seconds, whole
from deltalakedb.record import record


class EvictionPolicy(Enum):
    """Which entry leaves a full cache: least recently used, least often used, oldest."""

    LRU = "lru"
    LFU = "lfu"
    FIFO = "fifo"


class LoadingStrategy(Enum):
    """How a table's file list is read: at once, when asked for, by pages, as a stream."""

    EAGER = "eager"
    LAZY = "lazy"
    PAGINATED = "paginated"
    STREAMING = "streaming"


class OptimizationStrategy(Enum):
    """What a migration keeps in memory of a log that was read, until it is loaded.

    IN_MEMORY: all of it; BALANCED: up to 64 MiB a process, the rest on local disk; STREAMING:
    nothing, each part goes to disk.
    """

    IN_MEMORY = "in_memory"
    BALANCED = "balanced"
    STREAMING = "streaming"


class CompressionType(Enum):
    """How what goes to disk meanwhile is packed."""

    NONE = "none"
    GZIP = "gzip"
    LZ4 = "lz4"
    ZSTD = "zstd"


@record(frozen=True)
class MemoryOptimizationConfig:
    """How much memory a migration takes: `chunk_size` files are read at a time (None: as many as
    one second's work has)."""

    strategy: Annotated[OptimizationStrategy, choice(OptimizationStrategy)] = (
        OptimizationStrategy.BALANCED
    )
    chunk_size: Annotated[int | None, optional(whole(1))] = None
    compression_type: Annotated[CompressionType, choice(CompressionType)] = CompressionType.NONE

    def __post_init__(self) -> None:
        check_fields(self)


@record(frozen=True)
class CacheConfig:
    """Bounds of the local cache of file lists.

    At most `max_size` entries and `max_bytes` bytes in `directory` (None: the user's cache
    directory); an entry older than `ttl_seconds` (None: no limit) is not used.
    """

    max_size: Annotated[int, whole(1)] = 1000
    max_bytes: Annotated[int, whole(1)] = 1 << 30
    eviction_policy: Annotated[EvictionPolicy, choice(EvictionPolicy)] = EvictionPolicy.LRU
    ttl_seconds: Annotated[float | None, optional(seconds)] = None
    directory: Annotated[str | None, optional(path)] = None

    def __post_init__(self) -> None:
        check_fields(self)


@record(frozen=True)
class AsyncTaskConfig:
    """`max_concurrent_tasks`: how many asynchronous calls may be under way at a time."""

    max_concurrent_tasks: Annotated[int, whole(1)] = 10

    def __post_init__(self) -> None:
        check_fields(self)


@record(frozen=True)
class LazyLoadingConfig:
    """How file lists are read: `chunk_size` files a page, at most `cache_size` pages kept."""

    default_strategy: Annotated[LoadingStrategy, choice(LoadingStrategy)] = LoadingStrategy.LAZY
    chunk_size: Annotated[int, whole(1)] = 1000
    cache_size: Annotated[int, whole(0)] = 100

    def __post_init__(self) -> None:
        check_fields(self)
