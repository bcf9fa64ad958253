"""Bring many tables into a catalog, or up to date: `python -m jobs.migrate --help`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from deltalakedb.cli import options
from deltalakedb.migrate.batch import Outcome
from deltalakedb.migrate.fleet import FleetOptions, migrate_fleet
from deltalakedb.migrate.sources import Sources, as_configured, known_tables
from jobs.frame import Run, job
from jobs.outcome import DONE, FAILED, TRY_AGAIN, TableOutcome

_IMPORTS = ("deltalakedb.migrate.batch",)


@job
@options.fleet
def main(
    run: Run,
    roots: tuple[str, ...],
    mapping: str | None,
    namespace: str | None,
    mode: str | None,
    until: Literal["imported", "ready", "sql"],
    retry_failed: bool,
    fail_fast: bool,
    locations: tuple[str, ...],
) -> None:
    """Import the tables at LOCATIONS, below --discover and of --mapping, as `dl migrate` does.

    Those that aren't said are the configuration's (tables: discover, locations, mapping,
    namespace). One that fails stops none. Several runs share the tables.
    """
    given = Sources(locations, roots, mapping, namespace, storage_options=run.storage_options)
    sources = as_configured(given, run.sections)
    entries = sources.entries(known_tables(run.database))

    told: dict[str, TableOutcome] = {}

    def note(done: int, total: int, outcome: Outcome) -> None:
        if outcome.status == "left":
            run.summary.left.append(outcome.table)
        else:
            # What its strategy has brought a table to stands in the place of how it came in.
            told[outcome.location] = _outcome(outcome)
            run.summary.outcomes[:] = told.values()

    @contextmanager
    def client() -> Iterator[tuple[Any, str | None]]:
        with run.client(_IMPORTS) as found:
            yield found, run.local_directory

    fleet = FleetOptions(
        mode, run.storage_options, retry_failed, fail_fast, run.seconds_left, until=until
    )
    migrate_fleet(entries, run.database, fleet, client, note)


def _outcome(outcome: Outcome) -> TableOutcome:
    code = DONE
    if outcome.status == "failed":
        code = TRY_AGAIN if outcome.retryable else FAILED
    return TableOutcome(
        outcome.table,
        outcome.status,
        code,
        outcome.seconds,
        outcome.error,
        outcome.error_kind,
        outcome.to_json(),
    )


if __name__ == "__main__":
    main()
