"""The sections of a configuration but the database's: their keys, and what each may be."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated

from deltalakedb.config.checks import (
    check_fields,
    choice,
    optional,
    path,
    truth,
    whole,
)
from deltalakedb.config.reading import (
    AsyncTaskConfig,
    CacheConfig,
    LazyLoadingConfig,
    LoadingStrategy,
)


class MigrationStrategy(Enum):
    """How a table moves: its writers stopped, going on until the fence, or going on after it."""

    OFFLINE = "offline"
    ONLINE = "online"
    HYBRID = "hybrid"


class LogLevel(Enum):
    """From which level on something is logged."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


@dataclass(frozen=True)
class MigrationSettings:
    """The section `migration`: how a `DeltaTableMigrator` works that isn't told otherwise.

    `validate_after_migration`: compare catalog and log file by file before success is told, not
    their totals alone; `create_rollback_point`: note the version that a table came with, and keep
    its files from vacuum.
    """

    strategy: Annotated[MigrationStrategy, choice(MigrationStrategy)] = MigrationStrategy.ONLINE
    preserve_partitions: Annotated[bool, truth] = True
    validate_after_migration: Annotated[bool, truth] = True
    create_rollback_point: Annotated[bool, truth] = True

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class PerformanceSettings:
    """The section `performance`: how tables are read.

    `cache_size`: file lists kept on local disk; `lazy_loading`: file lists are read when they are
    asked for, `chunk_size` files at a time; `async_io` false lets asynchronous calls run one after
    the other, true `max_concurrent_tasks` at a time.
    """

    enable_caching: Annotated[bool, truth] = True
    cache_size: Annotated[int, whole(1)] = 1000
    lazy_loading: Annotated[bool, truth] = True
    chunk_size: Annotated[int, whole(1)] = 1000
    async_io: Annotated[bool, truth] = True
    max_concurrent_tasks: Annotated[int, whole(1)] = 10

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def cache(self) -> CacheConfig | None:
        """The cache of file lists; None for none."""
        return CacheConfig(max_size=self.cache_size) if self.enable_caching else None

    @property
    def lazy(self) -> LazyLoadingConfig:
        """How file lists are read."""
        strategy = LoadingStrategy.LAZY if self.lazy_loading else LoadingStrategy.EAGER
        return LazyLoadingConfig(strategy, chunk_size=self.chunk_size)

    @property
    def asynchronous(self) -> AsyncTaskConfig:
        """How many asynchronous calls may be under way at a time."""
        return AsyncTaskConfig(self.max_concurrent_tasks if self.async_io else 1)


_begun: list[LoggingSettings] = []
"""What this process logs by."""


@dataclass(frozen=True)
class LoggingSettings:
    """The section `logging`: to `file` (None: standard error), as JSON lines if `structured`."""

    level: Annotated[LogLevel, choice(LogLevel)] = LogLevel.INFO
    file: Annotated[str | None, optional(path)] = None
    structured: Annotated[bool, truth] = False

    def __post_init__(self) -> None:
        check_fields(self)

    def begin(self) -> None:
        """Let this process log so from now on."""
        from deltalakedb import logs

        logs.configure(self.level.value, file=self.file, structured=self.structured)
        _begun[:] = [self]


@dataclass(frozen=True)
class MonitoringSettings:
    """The section `monitoring`: `enable_metrics` measures what a `DeltaTableMigrator` does.

    `log_level` and `structured_logging` mean what `logging.level` and `logging.structured` do.
    """

    enable_metrics: Annotated[bool, truth] = False
    log_level: Annotated[LogLevel | None, optional(choice(LogLevel))] = None
    structured_logging: Annotated[bool | None, optional(truth)] = None

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Settings:
    """All sections but the database's; `logging` is None where nothing is said of it."""

    migration: MigrationSettings = field(default_factory=MigrationSettings)
    performance: PerformanceSettings = field(default_factory=PerformanceSettings)
    logging: LoggingSettings | None = None
    monitoring: MonitoringSettings = field(default_factory=MonitoringSettings)

    def begin(self) -> None:
        """Let this process log as `logging` says, if it says anything and doesn't yet."""
        if self.logging is not None and _begun[-1:] != [self.logging]:
            self.logging.begin()
