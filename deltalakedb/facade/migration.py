"""What a migration says of itself: its result, and what was measured meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deltalakedb.error import DeltaLakeError
from deltalakedb.importing.result import ImportResult
from deltalakedb.migrate.options import MoveResult
from deltalakedb.parity.report import DiffReport
from deltalakedb.redact import redact_url

_SAMPLE_SECONDS = 0.02


class ShownUri(str):
    """A table's URI that is shown without its password: to connect, give it as it is."""

    __slots__ = ()

    def __str__(self) -> str:
        return redact_url(str.__str__(self))

    def __repr__(self) -> str:
        return repr(str(self))

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __reduce__(self) -> tuple[object, ...]:
        return ShownUri, (str(self),)


@dataclass(frozen=True)
class MigrationResult:
    """A migration's outcome.

    `proof`: the comparison of catalog and log that stands for it, file by file; None where it
    wasn't asked for. `head`: the log's newest version that the catalog was brought to.
    `predicted_seconds` is what the analysis said, None without one. `error`: why it failed.
    """

    table_name: str
    target_uri: str
    move: MoveResult | None = None
    error: DeltaLakeError | None = None
    validated: bool = True
    predicted_seconds: float | None = None
    seconds: float = 0.0
    metrics: MigrationMetrics | None = None
    log_version: int | None = None

    @property
    def success(self) -> bool:
        """Whether catalog and log were found equal, by a full comparison.

        Where none was asked for: whether the catalog has taken in the log's newest version.
        """
        if self.error is not None or self.move is None:
            return False
        if not self.validated:
            return self.move.success and self.version == self.log_version
        proof = self.proof
        return self.move.success and proof is not None and proof.parity

    @property
    def proof(self) -> DiffReport | None:
        """The comparison of catalog and log."""
        return None if self.move is None else self.move.proof

    @property
    def imported(self) -> ImportResult | None:
        """What the import did; None where an earlier one stands."""
        return None if self.move is None else self.move.imported

    @property
    def version(self) -> int | None:
        """The version that the catalog has and that `success` is told of."""
        if self.proof is not None:
            return self.proof.compared_version
        return None if self.imported is None else self.imported.to_version

    @property
    def migrated_versions(self) -> int:
        """Versions that this run has read."""
        return 0 if self.imported is None else self.imported.versions

    @property
    def migrated_files(self) -> int:
        """The table's live files in the catalog."""
        if self.proof is not None:
            return self.proof.num_files
        return 0 if self.imported is None else self.imported.live_files

    @property
    def error_message(self) -> str | None:
        """Why it failed and what to do; None when it didn't."""
        if self.error is not None:
            return self.error.message
        return None if self.success else "catalog and log differ; `dl diff` shows where"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the import had to pass over."""
        return () if self.imported is None else self.imported.warnings


@dataclass(frozen=True)
class MigrationMetrics:
    """Measured during a migration.

    `files`: that the log added and the import read; `log_megabytes`: of log that was read (data
    files aren't). `peak_memory_mb`: the most that this process had resident, sampled, in MiB;
    `steps`: seconds by step.
    """

    total_duration_seconds: float
    files: int
    log_megabytes: float
    peak_memory_mb: float
    workers: int
    steps: dict[str, float]

    @property
    def files_per_second(self) -> float:
        """Files of the log, by the whole duration."""
        return self.files / self.total_duration_seconds if self.total_duration_seconds else 0.0

    @property
    def megabytes_per_second(self) -> float:
        """Of log, in units of 1,000,000 bytes, by the whole duration."""
        return (
            self.log_megabytes / self.total_duration_seconds if self.total_duration_seconds else 0.0
        )


class Peak:
    """The most memory that was seen, in bytes."""

    def __init__(self) -> None:
        self.bytes = 0


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """Look at this process's resident memory while the block runs."""
    import psutil

    process, peak, ended = psutil.Process(), Peak(), threading.Event()

    def look() -> None:
        while True:
            peak.bytes = max(peak.bytes, process.memory_info().rss)
            if ended.wait(_SAMPLE_SECONDS):
                return

    thread = threading.Thread(target=look, name="dl-peak-memory", daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()
        peak.bytes = max(peak.bytes, process.memory_info().rss)
