"""How many files of a version are how large."""

from __future__ import annotations

from collections.abc import Sequence

from deltalakedb.catalog.reading.proof import proven_rows
from deltalakedb.catalog.reading.queries import Readable, live_predicate
from deltalakedb.catalog.records import TableRow, load_files_name


def size_classes(
    catalog: Readable, table: TableRow, version: int, bounds: Sequence[int]
) -> list[tuple[int, int]]:
    """(files, bytes) of each class: below the first bound, from each bound to the next, above.

    Costs a look at every file of the version.
    """
    cases = " ".join(f"WHEN size < {int(b)} THEN {place}" for place, b in enumerate(bounds))
    rows = proven_rows(
        catalog.reader,
        table,
        version,
        ("place", "files", "bytes"),
        f"SELECT CASE {cases} ELSE {len(bounds)} END AS place, count(*), coalesce(sum(size), 0) "
        f"FROM {load_files_name(table.live_load)} WHERE {live_predicate(table, version)} "
        "GROUP BY 1",
    )
    found = {int(place): (int(files), int(size)) for place, files, size in rows}
    return [found.get(place, (0, 0)) for place in range(len(bounds) + 1)]
