"""How a table is moved, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing.context import Sizes
from deltalakedb.importing.result import ImportResult
from deltalakedb.importing.run import CONNECTIONS
from deltalakedb.migrate.cutover import TRY_SECONDS
from deltalakedb.migrate.records import (
    LOG_WRITERS,
    STRATEGIES,
    LogWriters,
    Migration,
    Strategy,
)
from deltalakedb.migrate.steps import Pace
from deltalakedb.parity.report import DiffReport

Until = Literal["ready", "sql"]


@dataclass(frozen=True, kw_only=True)
class MoveOptions:
    """How a table is moved.

    `until`: `ready` stops before the cutover. `log_writers` declares how file-based writers take
    slots (None: as the store and the engines in the log suggest). `probation_seconds`: for so long
    after the fence every SQL commit claims its slot in the log first; `wait` until it is over.
    `validate`: prove catalog and
    log equal before the cutover and after it. `tries`, `try_seconds`, `back_off`: how often, and
    how long each, the fence is tried, and the seconds to wait after the first one that lost.
    `contact`: whom the fence names. `take_over`: the fence is another catalog's, which is lost.
    `sizes`: how much of the log the import takes at a time. `estimated_seconds`: what an analysis
    said of import and proof, kept beside what they take.
    """

    strategy: Strategy = "online"
    until: Until = "sql"
    mode: str | None = None
    log_writers: LogWriters | None = None
    probation_seconds: float = 0.0
    wait: bool = False
    validate: bool = True
    rollback_point: bool = True
    tries: int = 8
    try_seconds: float = TRY_SECONDS
    back_off: float = 0.25
    contact: str | None = None
    take_over: bool = False
    pace: Pace = field(default_factory=Pace)
    storage_options: Mapping[str, object] | None = None
    client: Any = None
    connections: int = CONNECTIONS
    sizes: Sizes | None = None
    estimated_seconds: float | None = None

    def __post_init__(self) -> None:
        known: tuple[tuple[str, object, tuple[object, ...]], ...] = (
            ("strategy", self.strategy, STRATEGIES),
            ("until", self.until, ("ready", "sql")),
            ("log_writers", self.log_writers, (*LOG_WRITERS, None)),
        )
        for name, given, allowed in known:
            if given not in allowed:
                raise DeltaLakeError(
                    DeltaLakeErrorKind.INVALID_ARGUMENT,
                    f"no {name} {given!r}; use {', '.join(str(a) for a in allowed if a)}",
                )
        if self.tries < 1 or self.try_seconds <= 0 or self.probation_seconds < 0:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                "tries have to be at least 1, their seconds above 0, a probation at least 0",
            )


@dataclass(frozen=True)
class MoveResult:
    """What a move has done.

    `success`: every step up to what was asked for is done, and where it was validated, catalog and
    log were found equal at `parity_version`. `seconds`: what the steps of this run took, by step;
    `freeze_ms`: from the newest file-based commit in the catalog to the fence in it.
    """

    migration: Migration
    success: bool
    imported: ImportResult | None = None
    proof: DiffReport | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    freeze_ms: float | None = None

    @property
    def parity_version(self) -> int | None:
        """The newest version at which catalog and log were proven equal."""
        return self.migration.parity_version
