"""What a migration will meet, table by table, before anything is done: it reads logs alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from deltalakedb.display.text import time_text
from deltalakedb.error import DeltaLakeError
from deltalakedb.migrate.analysis import SourceAnalysis, analyze_source
from deltalakedb.migrate.mapping import Entry
from deltalakedb.migrate.rates import Rates, known_rates, measured_rates
from deltalakedb.migrate.who_writes import WhoWrites

_AT_ONCE = 8
_LIST_PAGE = 1_000


@dataclass(frozen=True)
class Assessment:
    """What is known of a table before it is moved; `refusal`: why it can't be imported.

    `seconds` is an estimate; `requests` is what the import will ask of the store, 0 on a disk.
    """

    entry: Entry
    found: SourceAnalysis | None
    refusal: str | None
    seconds: float = 0.0
    requests: int = 0

    @property
    def limits(self) -> tuple[str, ...]:
        """What won't be possible once it is imported, and why."""
        refused = () if self.found is None else self.found.refusals
        return tuple(f"{r.what}: {r.why}" for r in refused if r.what != "import")

    @property
    def writers(self) -> tuple[str, ...]:
        """Who has to be switched, for people."""
        return () if self.found is None else tuple(map(_writer_text, self.found.writers))

    def to_json(self) -> dict[str, Any]:
        """The machine-readable form: the analysis, what it is for, and what it will cost."""
        known = {} if self.found is None else self.found.to_json()
        return {
            **known,
            "location": self.entry.location,
            "table": self.entry.full_name,
            "owner": self.entry.owner,
            "refusal": self.refusal,
            "estimated_seconds": round(self.seconds, 3),
            "requests": self.requests,
        }

    def told(self) -> dict[str, Any]:
        """What is added to the table's line of a mapping file."""
        found = self.found
        features = () if found is None else found.features
        return {
            "version": "" if found is None else found.version,
            "files": "" if found is None else found.total_files,
            "bytes": "" if found is None else found.total_bytes,
            "seconds": round(self.seconds, 2),
            "writers": "; ".join(self.writers),
            "features": " ".join(features),
            "refusal": self.refusal or "; ".join(self.limits),
        }


def assess(
    entries: Sequence[Entry], storage_options: Mapping[str, Any] | None, database: str
) -> list[Assessment]:
    """Look at each table; what can't be read is that table's `refusal`.

    `database`: whose past imports tell how fast it is, where there were any.
    """
    rates = known_rates(database) or measured_rates()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda entry: _assessed(entry, storage_options, rates), entries))


def _assessed(entry: Entry, options: Mapping[str, Any] | None, rates: Rates) -> Assessment:
    try:
        found = analyze_source(
            entry.location, table_location=entry.location, storage_options=options
        )
    except DeltaLakeError as error:
        return Assessment(entry, None, error.message)
    refused = next((r.why for r in found.refusals if r.what == "import"), None)
    # Lists and looks for the log, then reads each commit.
    commits = found.total_versions
    requests = 1 + 2 * (1 + commits // _LIST_PAGE) + commits
    return Assessment(
        entry,
        found,
        refused,
        rates.seconds_of_import(found.actions, commits),
        requests if "://" in entry.location else 0,
    )


def _writer_text(who: WhoWrites) -> str:
    names = [n for n in (who.user, who.job, who.notebook) if n]
    by = f" by {', '.join(names)}" if names else ""
    last = "" if who.last_write is None else f", last {time_text(who.last_write)}"
    return f"{who.engine}{by} ({who.commits} commits{last})"
