"""What an import says of itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

_JSON = (
    "table_id",
    "table_name",
    "location",
    "run_id",
    "status",
    "mode",
    "from_version",
    "to_version",
    "checkpoint_version",
    "known_since",
    "versions",
    "adds",
    "removes",
    "live_files",
    "workers",
    "seconds",
)


@dataclass(frozen=True, repr=False)
class ImportResult:
    """An import's outcome.

    `status`: `imported` (a new load is live), `caught_up` (new commits were added), `unchanged`
    (catalog and log are at one version), `planned` (`dry_run`). `versions`, `adds`, `removes`
    count what this run read; `live_files` the table's files now. `swap_ms`: how long the
    transaction took that made it visible. `stage_seconds`: what most of an import's seconds went
    into: `parse` the log, `load` the rows, `index` them. `requests`, `read_bytes`: what the log's
    object store was asked for and gave, by this process and its workers (0 for local files).
    """

    table_id: str
    table_name: str
    location: str
    run_id: str | None
    status: str
    mode: str
    from_version: int
    to_version: int
    checkpoint_version: int | None
    known_since: int
    versions: int
    adds: int
    removes: int
    live_files: int
    workers: int
    seconds: float
    swap_ms: float | None = None
    stage_seconds: dict[str, float] = field(default_factory=dict)
    log_bytes: int | None = None
    parts: int | None = None
    requests: int = 0
    read_bytes: int = 0
    warnings: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """The machine-readable form of `dl import --json-output`."""
        facts = asdict(self)
        result = {name: facts[name] for name in _JSON}
        result["swap_ms"] = self.swap_ms
        if self.stage_seconds:
            result["stage_seconds"] = self.stage_seconds
        if self.status == "planned":
            result |= {"log_bytes": self.log_bytes, "parts": self.parts}
        if self.requests:
            result |= {"requests": self.requests, "read_bytes": self.read_bytes}
        if self.warnings:
            result["warnings"] = list(self.warnings)
        return result

    def _rows(self) -> list[tuple[str, str]]:
        span = f"{self.from_version} to {self.to_version}"
        if self.from_version == self.to_version:
            span = str(self.to_version)
        rows = [
            ("table", f"{self.table_name} ({self.table_id})" if self.table_id else self.table_name),
            ("location", self.location),
            ("versions", f"{span} ({self.versions:,} read, {self.mode})"),
        ]
        if self.checkpoint_version is not None:
            rows.append(("from checkpoint", f"version {self.checkpoint_version}"))
        rows.append(("readable since", f"version {self.known_since}"))
        if self.status == "planned":
            parts = _count(self.parts or 0, "part")
            rows.append(("to read", f"{self.log_bytes or 0:,} bytes of log, {parts}"))
        else:
            rows.append(
                ("actions", f"{_count(self.adds, 'add')}, {_count(self.removes, 'remove')}")
            )
            rows.append(("live files", f"{self.live_files:,}"))
        if self.requests:
            asked = f"{_count(self.requests, 'request')}, {self.read_bytes:,} bytes read"
            rows.append(("object store", asked))
        rows.append(("time", f"{self.seconds:.2f} s, {_count(self.workers, 'worker')}"))
        return rows

    @property
    def _title(self) -> str:
        return self.status.replace("_", " ").capitalize()

    def __str__(self) -> str:
        lines = [self._title]
        lines += [f"  {name + ':':<16} {value}" for name, value in self._rows()]
        return "\n".join([*lines, *(f"  warning: {w}" for w in self.warnings)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from deltalakedb.display.markup import card, facts

        rows = [*self._rows()[1:], *(("warning", warning) for warning in self.warnings)]
        return card(self._title, self._rows()[0][1], facts(rows))


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}" if number else f"no {thing}s"


def failure_json(kind: str, message: str, **known: Any) -> dict[str, Any]:
    """The machine-readable form of an import that failed: what isn't `known` is null."""
    facts = {name: known.get(name) for name in _JSON}
    return {**facts, "status": "failed", "error": {"kind": kind, "message": message}}
