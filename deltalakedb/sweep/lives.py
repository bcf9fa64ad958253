"""Commits' file times, and the lives of files that commits begin and end, against the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.records import TableRow, load_condition, load_files_name
from deltalakedb.log.commit import ActionRows
from deltalakedb.sweep.findings import Finding
from deltalakedb.sweep.logs import Log

_APART_MS = 1000
"""Stores tell times in whole seconds by some of their answers."""
_BEGUN = ("path", "dv_id", "size", "modification_time", "stats", "tags")


def times_changed(catalog: Catalog, row: TableRow, log: Log) -> Iterator[Finding]:
    """Commits that are found by the times of their files, which other readers see changed.

    Those with an in-commit timestamp aren't; nor is it told of the catalog's own, which were given
    their times before they had a file.
    """
    listed = {c.version: c.modified_ms for c in log.listing.commits}
    if not listed:
        return
    moved = []
    for version, known in catalog.reader.rows(
        "SELECT version, file_time FROM dl_versions v WHERE load_id = ? "
        "AND version BETWEEN ? AND ? AND in_commit_time IS NULL AND file_time IS NOT NULL "
        "AND (engine_info IS NULL OR engine_info NOT LIKE ?) AND NOT EXISTS "
        "(SELECT 1 FROM dl_commits c WHERE c.table_key = ? AND c.version = v.version) "
        "ORDER BY version",
        (row.live_load, row.known_since, row.head_version, "deltalakedb%", row.table_key),
    ):
        now = listed.get(version)
        if now is not None and abs(now - known) >= _APART_MS:
            moved.append((version, known, now))
    if moved:
        version, known, now = moved[0]
        yield Finding(
            "commit-times-changed",
            f"the file of commit {version} is of {now}, and was of {known} (ms) when it was read "
            f"({len(moved)} in all): time travel by the log finds other versions",
        )


def lives_differ(
    catalog: Catalog, row: TableRow, said: ActionRows, whole: set[int]
) -> Iterator[Finding]:
    """Rows of files that the commits `whole` have begun and ended, also of those that are gone."""
    if not whole:
        return
    source, mine = load_files_name(row.live_load), load_condition(row.live_load)
    first, last = min(whole), max(whole)
    begun = _newest(said.files, "added_version", _BEGUN, whole)
    asked = f"SELECT added_version, {', '.join(_BEGUN)} FROM {source} WHERE {mine}"
    for version, path, dv, *values in catalog.reader.rows(
        # What removes a file that isn't there leaves a row that lives for no version.
        f"{asked}added_version BETWEEN {first} AND {last} AND added_version < removed_version"
    ):
        theirs = begun.get((int(version), path, dv))
        if int(version) in whole and theirs != tuple(values):
            yield Finding(
                "history-changed",
                f"the row of {path} isn't what commit {version} says of it",
            )
            return
    ended = _newest(said.closings, "removed_version", ("path", "dv_id", "removed_at"), whole)
    for version, path, dv, at in catalog.reader.rows(
        f"SELECT removed_version, path, dv_id, removed_at FROM {source} "
        f"WHERE {mine}removed_version BETWEEN {first} AND {last}"
    ):
        key = (int(version), path, dv)
        if key in ended and key not in begun and ended[key] != (at,):
            yield Finding(
                "history-changed",
                f"{path} was removed at {at} by its row, and at {ended[key][0]} by commit "
                f"{version}",
            )
            return


def _newest(
    rows: pa.Table, which: str, columns: Sequence[str], whole: set[int]
) -> dict[tuple[int, str, str | None], tuple[object, ...]]:
    """What the last action of a version says of each file, by version, path and vector."""
    found = {}
    for version, path, dv, *values in zip(
        *(rows.column(name).to_pylist() for name in (which, *columns)), strict=True
    ):
        if version in whole:
            found[version, path, dv] = tuple(values)
    return found
