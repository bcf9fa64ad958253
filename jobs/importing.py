"""Importing tables one after the other; the parts of each are spread over the cluster."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from deltalakedb import import_table
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from jobs.frame import Run
from jobs.outcome import TableOutcome

_IMPORTS = ("deltalakedb.importing.tasks",)


def locations_of(given: Sequence[str], file: str | None) -> dict[str, str | None]:
    """Locations and the names to import them under (None: the folder's), in the order given.

    Raises CONFIGURATION_ERROR when there is none, or when one stands twice under two names.
    """
    locations: dict[str, str | None] = dict.fromkeys(given)
    lines = Path(file).read_text().splitlines() if file else []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, tab, location = text.rpartition("\t")
        wanted = name.strip() or None if tab else None
        if locations.get(location, wanted) != wanted:
            raise DeltaLakeError(
                DeltaLakeErrorKind.CONFIGURATION_ERROR,
                f"{file}, line {number}: {location} stands twice, under two names",
            )
        locations[location] = wanted
    if not locations:
        raise DeltaLakeError(
            DeltaLakeErrorKind.CONFIGURATION_ERROR,
            "no table to import: give locations, or a file of them with --from-file",
        )
    return locations


def import_each(run: Run, locations: Mapping[str, str | None], mode: str | None) -> None:
    """Import each location into the run's catalog; the facts are the import's JSON."""
    with run.client(_IMPORTS) as client:

        def work(location: str) -> TableOutcome:
            began = time.monotonic()
            result = import_table(
                location,
                database=run.database,
                mode=mode,
                table_name=locations[location],
                storage_options=run.storage_options or None,
                client=client,
                spill_dir=run.local_directory,
            )
            return TableOutcome(
                result.table_name,
                result.status,
                seconds=time.monotonic() - began,
                facts=result.to_json(),
            )

        run.each(locations, work)
