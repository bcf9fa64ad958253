"""What the catalog has of each commit beside its live files, against the commit itself.

And what follows from the catalog's own rows: times of versions, changes, tokens, partitions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import xxhash

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.records import (
    ADDED,
    REMOVED,
    TableRow,
    load_condition,
    load_files_name,
    run_of,
)
from deltalakedb.catalog.rows import STATE_TABLES
from deltalakedb.log.commit import ActionReader, ActionRows
from deltalakedb.log.rows import LIVE, VERSION_SCHEMA
from deltalakedb.log.segment import CommitEntry
from deltalakedb.mirror.fingerprints import READ_ANYWAY_BYTES, READ_ANYWAY_COMMITS, known_commits
from deltalakedb.replay.intervals import StateInterval, commit_times
from deltalakedb.storage.open import open_store
from deltalakedb.sweep.findings import Finding
from deltalakedb.sweep.lives import lives_differ
from deltalakedb.sweep.logs import Log

_COLUMNS = tuple(name for name in VERSION_SCHEMA.names if name != "file_time")
"""A log that was copied or restored has other times of files."""
_PRIME = 1_000_003
_SMALL = {"dl_metadata": "", "dl_protocols": "", "dl_txns": ", app_id", "dl_domains": ", domain"}
"""What names a row of each, beside its version."""


def findings(catalog: Catalog, row: TableRow, log: Log, night: int) -> Iterator[Finding]:
    """All of it. Raises what reading commits raises."""
    yield from commits_differ(catalog, row, log, night)
    yield from since_moved(catalog, row)
    yield from times_wrong(catalog, row)
    yield from changes_wrong(catalog, row)
    yield from tokens_lost(catalog, row)
    yield from partitions_wrong(catalog, row)


def commits_differ(catalog: Catalog, row: TableRow, log: Log, night: int) -> Iterator[Finding]:
    """Commits whose turn it is, against `dl_versions` and the rows that belong to a version.

    Of a long history READ_ANYWAY_COMMITS a night, of READ_ANYWAY_BYTES at most.
    """
    known = known_commits(catalog, row)
    listed = [c for c in log.listing.commits if row.known_since <= c.version <= row.head_version]
    unknown = [c.version for c in listed if c.version not in known]
    if unknown and len(listed) > len(unknown):
        yield Finding(
            "history-changed",
            f"version {unknown[0]} is in the log and not in the catalog's history "
            f"({len(unknown)} in all)",
        )
    some = _turn([c for c in listed if c.version in known], night)
    texts = open_store(log.store).read_many([c.name for c in some])
    reader = ActionReader()
    for entry, data in zip(some, texts, strict=True):
        # Another commit in its place is told of as such.
        if xxhash.xxh3_128_hexdigest(data) == known[entry.version].digest:
            reader.commit(entry.version, data, name=entry.name, file_time=entry.modified_ms)
    yield from _differ(catalog, row, reader.finish())


def _turn(commits: Sequence[CommitEntry], night: int) -> list[CommitEntry]:
    if not commits:
        return []
    first = night * READ_ANYWAY_COMMITS % len(commits)
    found, size = [], 0
    for entry in [*commits[first:], *commits[:first]][:READ_ANYWAY_COMMITS]:
        size += entry.size
        if size > READ_ANYWAY_BYTES:
            break
        found.append(entry)
    return sorted(found)


def _differ(catalog: Catalog, row: TableRow, said: ActionRows) -> Iterator[Finding]:
    theirs = {each["version"]: each for each in said.versions.to_pylist()}
    if not theirs:
        return
    between = (row.live_load, min(theirs), max(theirs))
    asked = "FROM {} WHERE load_id = ? AND version BETWEEN ? AND ?"
    for version, *values in catalog.reader.rows(
        f"SELECT version, {', '.join(_COLUMNS)} {asked.format('dl_versions')}", between
    ):
        if version not in theirs:
            continue
        for name, ours in zip(_COLUMNS, values, strict=True):
            if not _equal(ours, theirs[version][name]):
                yield Finding(
                    "history-changed",
                    f"{name} of version {version} is {_short(ours)}, its commit says "
                    f"{_short(theirs[version][name])}",
                )
                return
    # Of a version that came from a checkpoint, what its commit holds besides wasn't taken in.
    whole = {version for version in theirs if version > row.known_since or version == 0}
    for name, rows, columns in (
        ("dl_change_files", said.changes, ("version", "path")),
        ("dl_other_actions", said.others, ("version", "action", "body")),
    ):
        ours = sorted(
            tuple(each)
            for each in catalog.reader.rows(
                f"SELECT {', '.join(columns)} {asked.format(name)}", between
            )
            if each[0] in whole
        )
        expected = sorted(
            tuple(each[c] for c in columns) for each in rows.to_pylist() if each["version"] in whole
        )
        if ours != expected:
            version = next(
                v
                for v in sorted(whole)
                if [o for o in ours if o[0] == v] != [e for e in expected if e[0] == v]
            )
            yield Finding("history-changed", f"rows of {name} aren't what commit {version} says")
    yield from lives_differ(catalog, row, said, whole)
    for name, key in _SMALL.items():
        begun = {
            (int(version), *keys)
            for version, *keys in catalog.reader.rows(
                f"SELECT added_version{key} FROM {name} WHERE load_id = ? "
                "AND added_version BETWEEN ? AND ?",
                between,
            )
        }
        missing = [
            change.version
            for change in said.state
            if STATE_TABLES[change.action][0] == name
            and change.version in whole
            and not change.body.get("removed")
            and (change.version, *([change.key] if key else [])) not in begun
        ]
        if missing:
            yield Finding("history-changed", f"{name} has no row of what commit {missing[0]} says")


def _equal(ours: object, theirs: object) -> bool:
    if ours == theirs:
        return True
    if isinstance(ours, str) and isinstance(theirs, str) and theirs[:1] in ("{", "["):
        try:
            return bool(_said(json.loads(ours)) == _said(json.loads(theirs)))
        except ValueError:
            return False
    return False


def _said(value: object) -> object:
    """A JSON value without what it says is null."""
    if isinstance(value, dict):
        return {key: _said(inner) for key, inner in value.items() if inner is not None}
    return value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "…"


def changes_wrong(catalog: Catalog, row: TableRow) -> Iterator[Finding]:
    """`dl_changes`, by which writers find conflicts, against the files that came and went."""
    source, mine = load_files_name(row.live_load), load_condition(row.live_load)
    since = max(row.changes_since, row.known_since)
    sums = f"count(*), sum(path_key % {_PRIME}), sum(partition_id % {_PRIME})"
    expected: dict[tuple[int, int], tuple[int, ...]] = {}
    for kind, column in ((ADDED, "added_version"), (REMOVED, "removed_version")):
        for version, *values in catalog.reader.rows(
            f"SELECT {column}, {sums} FROM {source} WHERE {mine}{column} > {since} "
            f"AND {column} <= {row.head_version} AND added_version < removed_version "
            f"GROUP BY {column}"
        ):
            expected[int(version), kind] = tuple(map(int, values))
    found = {
        (int(version), int(kind)): tuple(map(int, values))
        for version, kind, *values in catalog.reader.rows(
            # Where there are parameters, a percent sign means another thing to some drivers.
            f"SELECT version, kind, {sums} FROM dl_changes WHERE table_key = {row.table_key} "
            f"AND version > {since} AND version <= {row.head_version} GROUP BY version, kind"
        )
    }
    wrong = sorted(
        {v for v, k in expected.keys() | found.keys() if expected.get((v, k)) != found.get((v, k))}
    )
    if wrong:
        yield Finding(
            "history-changed",
            f"rows of dl_changes of version {wrong[0]} aren't the files that it added and removed "
            f"({len(wrong)} versions in all): writers wouldn't find conflicts",
        )


def partitions_wrong(catalog: Catalog, row: TableRow) -> Iterator[Finding]:
    """The counts of partitions, by which they are skipped, against their live files."""
    source, mine = load_files_name(row.live_load), load_condition(row.live_load)
    counted = {
        int(ident): (int(count), int(size))
        for ident, count, size in catalog.reader.rows(
            f"SELECT partition_id, count(*), coalesce(sum(size), 0) FROM {source} "
            f"WHERE {mine}removed_version = {LIVE} GROUP BY partition_id"
        )
    }
    wrong = []
    for ident, text, count, size, emptied in catalog.reader.rows(
        "SELECT partition_id, partition_values, num_files, total_bytes, emptied_at "
        "FROM dl_partitions WHERE load_id = ?",
        (row.live_load,),
    ):
        ours = (int(count), int(size))
        if ours != counted.get(int(ident), (0, 0)) or (ours[0] and emptied is not None):
            wrong.append(str(text))
    if wrong:
        yield Finding(
            "partitions-changed",
            f"{len(wrong)} partitions don't count their files, such as {wrong[0]}",
        )


def since_moved(catalog: Catalog, row: TableRow) -> Iterator[Finding]:
    """The oldest version that can be read, against what is there: forgetting takes rows along."""
    [(begun,)] = catalog.reader.rows(
        "SELECT min(from_version) FROM dl_import_runs WHERE run_key = ?", (run_of(row.live_load),)
    )
    there = {
        int(version)
        for (version,) in catalog.reader.rows(
            "SELECT version FROM dl_versions WHERE load_id = ? AND version IN (?, ?)",
            (row.live_load, row.known_since, begun),
        )
    }
    if row.known_since not in there:
        yield Finding(
            "history-changed",
            f"versions are known since {row.known_since}, of which the catalog has no row",
        )
    elif begun is not None and int(begun) < row.known_since and int(begun) in there:
        yield Finding(
            "history-changed",
            f"versions are known since {row.known_since}, yet the rows of {begun} are there",
        )


def times_wrong(catalog: Catalog, row: TableRow) -> Iterator[Finding]:
    """Times of versions, by which older ones are found, against what they were made of."""
    spans = [
        StateInterval("metaData", "", json.loads(body), int(added), int(removed))
        for added, removed, body in catalog.reader.rows(
            "SELECT added_version, removed_version, body FROM dl_metadata WHERE load_id = ?",
            (row.live_load,),
        )
    ]
    last: int | None = None
    for version, time, written, told, info in catalog.reader.rows(
        "SELECT version, commit_time, file_time, in_commit_time, info_time FROM dl_versions "
        "WHERE load_id = ? AND version BETWEEN ? AND ? ORDER BY version",
        (row.live_load, row.known_since, row.head_version),
    ):
        # A commit of ours had no file yet, and was given the time of its database.
        file_time = info if written is None else written
        if file_time is None or (written is None and last is not None and file_time <= last):
            last = int(time)
            continue
        [expected] = commit_times([(version, file_time, told)], spans, last)
        if last is not None and int(time) != expected:
            yield Finding(
                "history-changed",
                f"the time of version {version} is {time}, and {expected} by what it was made of",
            )
            return
        last = int(time)


def tokens_lost(catalog: Catalog, row: TableRow) -> Iterator[Finding]:
    """`dl_commits`, by which a writer that tries again finds its commit, against the versions."""
    if row.authority == "log":
        return
    # Batches of OPTIMIZE, which are no harm when they are made again, have tokens of their own.
    rows = catalog.reader.rows(
        "SELECT v.version FROM dl_versions v WHERE v.load_id = ? AND v.version > ? "
        "AND v.version <= ? AND v.txn_id IS NOT NULL AND v.engine_info LIKE ? "
        "AND NOT EXISTS (SELECT 1 FROM dl_commits c "
        "WHERE c.table_key = ? AND c.version = v.version "
        "AND (c.token = v.txn_id OR v.operation = 'OPTIMIZE')) "
        "ORDER BY v.version",
        (
            row.live_load,
            max(row.changes_since, row.known_since - 1),
            row.head_version,
            "deltalakedb%",
            row.table_key,
        ),
    )
    if rows:
        yield Finding(
            "history-changed",
            f"the token of version {rows[0][0]} is gone from dl_commits ({len(rows)} in all): a "
            "writer that tries again would write twice",
        )
