"""A catalog and a log that went apart: what each has that the other lacks, named, and nothing lost.

A catalog restored from an older backup, or failed over with loss, lacks versions that its log has.
A log that was given back without the catalog has slots that the catalog's own versions wait for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.dialects.writer import Statement
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.records import TableRow
from deltalakedb.commit import outbox
from deltalakedb.config import SqlConfig
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing.run import import_table
from deltalakedb.log.paths import CommitFile, parse_log_name
from deltalakedb.migrate.records import ask, migration_at
from deltalakedb.mirror import publish, tend
from deltalakedb.mirror.adopt import adopt
from deltalakedb.mirror.resolve import newest_in
from deltalakedb.storage.pieces import Held, compare
from deltalakedb.storage.store import ObjectStore
from deltalakedb.table.operations.fence import check_own_head, said_by
from deltalakedb.table.operations.rebuild import check_there

STRANDED = "_stranded"
"""The folder below `_delta_log` with copies of commits that were acknowledged, not published."""


@dataclass(frozen=True)
class Stranded:
    """A commit that the catalog acknowledged and whose slot the log has given to another.

    `copy`: its file, below `_delta_log`. `is_blind_append`: it can be committed again as it is.
    """

    version: int
    token: str | None
    operation: str | None
    is_blind_append: bool
    copy: str


@dataclass(frozen=True)
class Repair:
    """What a repair has found and done.

    `adopted`: versions (first, last) that came from the log, None for none. `rebuilt`: whether the
    catalog's image was read anew, since the log doesn't have every commit in between. `stranded`:
    commits that were acknowledged and aren't in the log; copies of them are kept.
    """

    table: str
    version: int
    epoch: int
    adopted: tuple[int, int] | None
    rebuilt: bool
    stranded: tuple[Stranded, ...]

    def to_json(self) -> dict[str, Any]:
        """The machine-readable form."""
        return asdict(self)


def repair_table(
    table: str,
    *,
    database: str | SqlConfig,
    storage_options: Mapping[str, Any] | None = None,
) -> Repair:
    """Bring a table's catalog up to a log that is ahead of it, in a new epoch.

    Nothing is committed meanwhile: who had the table open has to open it again. Raises
    LOG_DISAGREES where the log has other commits than the catalog for versions that both have,
    INVALID_LOG where it is lost, MIRROR_CONFLICT where another catalog ratifies the table by now:
    it is caught up then, and only follows.
    """
    with Catalog(database) as catalog:
        row = queries.find_table(catalog, table)
        log = publish.log_of(row, storage_options)
        check_there(catalog, row, log)
        tend.forget(catalog.reader.url, row)
        returned = given_back(catalog, row, log)
        foreign = foreign_in(catalog, row)
        since = returned if row.authority != "log" else foreign
        if since is not None and (row.authority != "log" or log.exists(_name(since))):
            return take_over(catalog, row, log, since, database, storage_options)
        return _caught_up(catalog, row, log, database, storage_options)


def given_back(catalog: Catalog, row: TableRow, log: ObjectStore) -> int | None:
    """The version by which the log took the table back without the catalog; None where it didn't.

    Looked for behind what the catalog knows to be in the log.
    """
    [(durable,)] = catalog.reader.rows(
        "SELECT durable_version FROM dl_mirror WHERE table_key = ?", (row.table_key,)
    ) or [(-1,)]
    found = [v for v in _after(log, int(durable)) if publish.gives_back(log.read(_name(v)))]
    return found[0] if found else None


def take_over(
    catalog: Catalog,
    row: TableRow,
    log: ObjectStore,
    since: int,
    database: str | SqlConfig,
    storage_options: Mapping[str, Any] | None,
) -> Repair:
    """Let the log ratify from version `since` on; what waits for those slots is kept as copies."""
    stranded = tuple(_kept(catalog, row, log, since))
    known = migration_at(catalog, row.location)
    if stranded and known is not None:
        listed = {each["copy"]: each for each in known.details.get("stranded", [])}
        listed |= {each.copy: asdict(each) for each in stranded}
        ask(catalog, row.location, stranded=list(listed.values()))
    epoch = row.epoch + 1
    key = row.table_key
    rebuilt = since <= row.head_version
    with writing(catalog.reader.url) as writer:
        writer.transact(
            [
                Statement(
                    "UPDATE dl_heads SET authority = 'log', epoch = ? WHERE table_key = ?",
                    (epoch, key),
                    rows=1,
                ),
                Statement(
                    "DELETE FROM dl_outbox WHERE table_key = ? AND version >= ?", (key, since)
                ),
                Statement(
                    "DELETE FROM dl_commits WHERE table_key = ? AND version >= ?", (key, since)
                ),
                Statement(
                    "DELETE FROM dl_changes WHERE table_key = ? AND version >= ?", (key, since)
                ),
                # Until its rows are the log's nobody commits: who dies before that is found by it.
                Statement(
                    "UPDATE dl_mirror SET foreign_version = ?, published_version = "
                    "CASE WHEN published_version >= ? THEN ? ELSE published_version END, "
                    "durable_version = CASE WHEN durable_version >= ? THEN ? "
                    "ELSE durable_version END WHERE table_key = ?",
                    (since, since, since - 1, since, since - 1, key),
                ),
            ]
        )
    # Rebuilt where its rows are those of commits that never came into the log.
    _taken_in(catalog, row, log, database, storage_options, anew=rebuilt)
    with writing(catalog.reader.url) as writer:
        writer.transact(
            [
                Statement(
                    "UPDATE dl_mirror SET foreign_version = NULL, foreign_size = NULL, "
                    "foreign_digest = NULL, foreign_found_at = NULL WHERE table_key = ?",
                    (key,),
                )
            ]
        )
    now = queries.find_table(catalog, row.table_id)
    return Repair(
        row.full_name, now.head_version, now.epoch, (since, now.head_version), rebuilt, stranded
    )


def _kept(catalog: Catalog, row: TableRow, log: ObjectStore, since: int) -> list[Stranded]:
    found: list[Stranded] = []
    for each in _waiting(catalog, row, since - 1):
        if log.exists(_name(each.version)) and _is_in(log, each):
            # Its writer was faster than whoever found the slot before it taken.
            continue
        data = publish.whole(log, each)
        copy = f"{STRANDED}/{row.epoch}-{_name(each.version)}"
        log.put(copy, data)
        log.sync([copy])
        info = said_by(data).info or {}
        found.append(
            Stranded(
                each.version,
                info.get("txnId"),
                info.get("operation"),
                bool(info.get("isBlindAppend")),
                copy,
            )
        )
    return found


def _caught_up(
    catalog: Catalog,
    row: TableRow,
    log: ObjectStore,
    database: str | SqlConfig,
    storage_options: Mapping[str, Any] | None,
) -> Repair:
    newest = newest_in(log)
    if row.authority != "log":
        _check_common(catalog, row, log)
    if row.authority == "log" or newest <= row.head_version:
        _bring_up(catalog, row, log, newest, database, storage_options)
        now = queries.find_table(catalog, row.table_id)
        adopted = (row.head_version + 1, now.head_version)
        return Repair(
            row.full_name,
            now.head_version,
            now.epoch,
            adopted if now.head_version > row.head_version else None,
            False,
            (),
        )
    # Nobody commits from here on who read the table before: neither here nor, by the fence, there.
    _set(catalog, row, "log")
    rebuilt = _bring_up(catalog, row, log, newest, database, storage_options)
    now = queries.find_table(catalog, row.table_id)
    # Another catalog may have taken over meanwhile: this one follows from here on.
    with closing(LightCatalog(catalog.reader.url)) as light:
        check_own_head(light, now)
    _set(catalog, now, "sql")
    with writing(catalog.reader.url) as writer:
        writer.transact(
            [
                Statement(
                    "DELETE FROM dl_outbox WHERE table_key = ? AND version <= ?",
                    (row.table_key, now.head_version),
                )
            ]
        )
    done = queries.find_table(catalog, row.table_id)
    return Repair(
        row.full_name,
        done.head_version,
        done.epoch,
        (row.head_version + 1, done.head_version),
        rebuilt,
        (),
    )


def _bring_up(
    catalog: Catalog,
    row: TableRow,
    log: ObjectStore,
    newest: int,
    database: str | SqlConfig,
    storage_options: Mapping[str, Any] | None,
) -> bool:
    """Adopt what the log has, or read it anew where commits are gone; whether it was the latter."""
    gone = any(not log.exists(_name(v)) for v in range(row.head_version + 1, newest + 1))
    _taken_in(catalog, row, log, database, storage_options, anew=gone)
    return gone


def _taken_in(
    catalog: Catalog,
    row: TableRow,
    log: ObjectStore,
    database: str | SqlConfig,
    storage_options: Mapping[str, Any] | None,
    *,
    anew: bool,
) -> None:
    """Bring the catalog up to the log: adopt its commits, or read all of it anew."""
    if anew:
        import_table(
            log_dir=row.log_location,
            database=database,
            table_location=row.location,
            rebuild=True,
            storage_options=storage_options,
        )
    else:
        adopt(catalog.reader.url, queries.find_table(catalog, row.table_id), log)


def _check_common(catalog: Catalog, row: TableRow, log: ObjectStore) -> None:
    """Versions that both have must be the same, or neither is the other's past."""
    version = first_foreign(catalog, row, log)
    if version is not None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.LOG_DISAGREES,
            f"version {version} of {row.full_name} is another one in its log, so both went on from "
            f"the same past; `dl rollback {row.full_name} --discard-unpublished` lets the log go "
            "on, and keeps copies of what the catalog has",
            version=version,
        )


def first_foreign(catalog: Catalog, row: TableRow, log: ObjectStore) -> int | None:
    """The first version of which the catalog and the log have different bytes; None for none."""
    for each in _waiting(catalog, row, -1):
        name = _name(each.version)
        if log.exists(name) and not _is_in(log, each):
            return each.version
    return None


def unpublished(catalog: Catalog, row: TableRow, log: ObjectStore) -> list[int]:
    """Versions that were acknowledged and aren't in the log: not there, or another's."""
    return [
        each.version
        for each in _waiting(catalog, row, -1)
        if not log.exists(_name(each.version)) or not _is_in(log, each)
    ]


def _is_in(log: ObjectStore, row: outbox.OutboxRow) -> bool:
    return compare(log, _name(row.version), publish.content(log, row)) is Held.SAME


def _waiting(catalog: Catalog, row: TableRow, after: int) -> Iterator[outbox.OutboxRow]:
    return outbox.each_waiting(catalog.reader.url, row, after)


def _set(catalog: Catalog, row: TableRow, authority: str) -> None:
    with writing(catalog.reader.url) as writer:
        writer.transact(
            [
                Statement(
                    "UPDATE dl_heads SET authority = ?, epoch = epoch + 1 WHERE table_key = ?",
                    (authority, row.table_key),
                    rows=1,
                )
            ]
        )


def foreign_in(catalog: Catalog, row: TableRow) -> int | None:
    """The version whose slot in the log is known to be another's; None for none."""
    [(found,)] = catalog.reader.rows(
        "SELECT foreign_version FROM dl_mirror WHERE table_key = ?", (row.table_key,)
    ) or [(None,)]
    return None if found is None else int(found)


def _after(log: ObjectStore, version: int) -> list[int]:
    """Versions of the commits after one that a log has, in order."""
    names = [parse_log_name(each.name) for each in log.list("", _name(max(version, 0)))]
    return sorted(n.version for n in names if isinstance(n, CommitFile) and n.version > version)


def _name(version: int) -> str:
    return publish.commit_name(version)
