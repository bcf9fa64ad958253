"""The heads of tables: locked in key order, and all that a commit has to know, asked in one go."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from deltalakedb.catalog.dialects.writer import Statement, losses
from deltalakedb.catalog.records import ADDED, REMOVED, load_files_name
from deltalakedb.catalog.schema_version import SCHEMA_VERSION, check_schema_version
from deltalakedb.commit.conflict import ChangedFile, Winner
from deltalakedb.commit.slot import Reservation, slot_name
from deltalakedb.commit.staged import StagedCommit, StagedTable
from deltalakedb.log.rows import FILE_SCHEMA, LIVE, file_keys

if TYPE_CHECKING:
    from deltalakedb.catalog.dialects.writer import Writer

LISTED_BEFORE = "listed_before"
"""Our own property of a table: the time, by the database, before which files that nobody knew of
may have been deleted."""
_HEAD, _TOKEN, _TXN, _METADATA, _PROTOCOL, _DOMAIN, _SERVER, _SLOT, _MADE = range(9)
_NUMBERS, _TEXTS = 10, 6


_Asked = tuple[int | None, bool, bool]
"""Of a table its key (None for one that is made), whether domains are written, and whether the log
ratifies."""


@dataclass
class LockedHead:
    """A table under the lock of its head.

    `committed`: the version that holds our token already, `gathered` one that holds a member's, of
    which others may have made another commit. `txns`: of the app ids that the commit
    writes, the last version and the table version that set it. `metadata`, `protocol`: what
    versions after the one that was read set, in order. `slot`: who puts a version into the log.
    `listed_before`: files of nobody's that were written before this time may have been taken away.
    `lives`: by raw path, rows of FILE_SCHEMA that were asked along with the winners. `place`: where
    the row lies while it is locked, by the writer's column of that (`Writer.place`).
    """

    table_key: int
    head_version: int
    epoch: int
    live_load: int
    num_files: int
    total_bytes: int
    authority: str
    table_id: str
    location: str
    skipping: str
    changes_since: int
    published_version: int = -1
    foreign_version: int | None = None
    committed: int | None = None
    gathered: int | None = None
    txns: dict[str, tuple[int, int]] = field(default_factory=dict)
    commit_time: int | None = None
    metadata: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    protocol: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    domains: list[tuple[int, str]] = field(default_factory=list)
    slot: Reservation | None = None
    listed_before: int = -1
    lives: dict[str, dict[str, Any]] = field(default_factory=dict)
    place: str | None = None


@dataclass
class Locked:
    """What the locking message has told.

    `made`: the keys of tables, by id, that this call has made already.
    """

    heads: dict[int, LockedHead]
    now: int
    incarnation: str
    made: dict[str, int] = field(default_factory=dict)


def lock(writer: Writer, staged: StagedCommit, wait: float, *, far: bool = False) -> Locked:
    """Begin, lock the heads and ask. Raises TIMEOUT_ERROR, CATALOG_VERSION.

    `far`: the database alone can tell whether it was restored.
    """
    asked: list[_Asked] = []
    params: list[Any] = []
    for table in staged.tables:
        row = table.table
        if table.makes_table:
            asked.append((None, False, False))
            params.append(row.table_id)
            continue
        asked.append((row.table_key, bool(table.domains), table.is_ratified_by_log))
        params += [row.live_load, table.read_version] * (3 if table.domains else 2)
        if table.is_ratified_by_log:
            params.append(slot_name(row.table_id))
    apps = sorted({str(txn["appId"]) for table in staged.tables for txn in table.txns})
    tokens = (staged.token, *staged.members)
    incarnation = writer.incarnation_alone if far else writer.incarnation
    locking, question = _texts(
        writer.now, incarnation, writer.place, tuple(asked), len(tokens), len(apps)
    )
    whole = Statement(question, (*tokens, *apps, *params))
    locked = _parse(writer.begin(locking, whole, wait), writer, staged.token)
    for table in staged.tables:
        head = locked.heads.get(table.table.table_key)
        if head is not None and head.live_load != table.table.live_load:
            _ask_again(writer, table, head)
    return locked


def _ask_again(writer: Writer, table: StagedTable, head: LockedHead) -> None:
    """What is new in a load that isn't the one that was read."""
    parts = _news(head.table_key, bool(table.domains))
    question = Statement(
        " UNION ALL ".join(parts), (head.live_load, table.read_version) * len(parts)
    )
    head.metadata, head.protocol, head.domains = [], [], []
    _tell({head.table_key: head}, writer.ask(question), "")


def _row(kind: int, numbers: Sequence[str] = (), texts: Sequence[str] = ()) -> str:
    columns = [str(kind), *numbers, *["NULL"] * (_NUMBERS - len(numbers))]
    columns += [*texts, *["NULL"] * (_TEXTS - len(texts))]
    return "SELECT " + ", ".join(columns)


def _news(table_key: int, has_domains: bool) -> list[str]:
    """What versions after one have set, of a load; each asks for (load, version)."""
    names = [(_METADATA, "dl_metadata", "body"), (_PROTOCOL, "dl_protocols", "body")]
    names += [(_DOMAIN, "dl_domains", "domain")] * has_domains
    return [
        _row(kind, [str(int(table_key)), "x.added_version"], [f"x.{column}"])
        + f" FROM {name} x WHERE x.load_id = ? AND x.added_version > ?"
        for kind, name, column in names
    ]


@lru_cache(256)
def _texts(
    now: str, incarnation: str, place: str | None, asked: tuple[_Asked, ...], tokens: int, apps: int
) -> tuple[Statement, str]:
    """The lock of some heads, and the question after it.

    That is one SELECT of rows that begin with their kind; so many numbers and texts each. A head is
    looked up once, as that is slow where another session's snapshot keeps all that it was.
    """
    # The keys of rows are positive.
    listed = ", ".join(map(str, sorted(key for key, _, _ in asked if key is not None))) or "-1"
    locking = Statement(
        f"SELECT table_key FROM dl_heads WHERE table_key IN ({listed}) "
        "ORDER BY table_key FOR UPDATE"
    )
    parts = [
        _row(
            _HEAD,
            [
                "h.table_key",
                "h.head_version",
                "h.epoch",
                "h.live_load",
                "h.num_files",
                "h.total_bytes",
                "t.changes_since",
                "m.published_version",
                "m.foreign_version",
                "v.commit_time",
            ],
            [
                "h.authority",
                "t.location",
                "t.skipping",
                "t.table_id",
                "(SELECT p.value FROM dl_properties p WHERE p.table_key = h.table_key "
                f"AND p.name = '{LISTED_BEFORE}')",
                f"CAST(h.{place} AS text)" if place else "NULL",
            ],
        )
        + " FROM dl_heads h JOIN dl_tables t ON t.table_key = h.table_key "
        "LEFT JOIN dl_mirror m ON m.table_key = h.table_key "
        "LEFT JOIN dl_versions v ON v.load_id = h.live_load AND v.version = h.head_version "
        f"WHERE h.table_key IN ({listed})",
        _row(_TOKEN, ["c.table_key", "c.version"], ["c.token"])
        + f" FROM dl_commits c WHERE c.table_key IN ({listed}) "
        f"AND c.token IN ({', '.join('?' * tokens)})",
        _row(_SERVER, [now], ["v.version_num", incarnation]) + " FROM dl_schema_version v",
    ]
    if apps:
        marks = ", ".join("?" * apps)
        parts.append(
            _row(_TXN, ["h.table_key", "x.version", "x.added_version"], ["x.app_id"])
            + " FROM dl_heads h JOIN dl_txns x ON x.load_id = h.live_load "
            f"AND x.removed_version = {LIVE} AND x.app_id IN ({marks}) "
            f"WHERE h.table_key IN ({listed})"
        )
    for key, has_domains, has_slot in asked:
        if key is None:
            parts.append(
                _row(_MADE, ["t.table_key"], ["t.table_id"])
                + " FROM dl_tables t WHERE t.table_id = ?"
            )
            continue
        parts += _news(key, has_domains)
        if has_slot:
            parts.append(
                _row(_SLOT, [str(int(key)), "l.expires_at"], ["l.token", "l.holder"])
                + " FROM dl_leases l WHERE l.name = ?"
            )
    return locking, " UNION ALL ".join(parts)


def _parse(rows: Sequence[tuple[Any, ...]], writer: Writer, token: str) -> Locked:
    heads: dict[int, LockedHead] = {}
    made: dict[str, int] = {}
    now, incarnation = 0, ""
    rest = []
    for row in rows:
        kind, key, *numbers = row[: 1 + _NUMBERS]
        texts = row[1 + _NUMBERS :]
        if kind == _HEAD:
            heads[key] = LockedHead(
                table_key=key,
                head_version=numbers[0],
                epoch=numbers[1],
                live_load=numbers[2],
                num_files=numbers[3],
                total_bytes=numbers[4],
                authority=texts[0],
                table_id=str(texts[3]),
                location=texts[1],
                skipping=texts[2],
                changes_since=numbers[5],
                published_version=-1 if numbers[6] is None else numbers[6],
                foreign_version=numbers[7],
                commit_time=numbers[8],
                listed_before=-1 if texts[4] is None else int(texts[4]),
                place=texts[5],
            )
        elif kind == _SERVER:
            if texts[0] != SCHEMA_VERSION:
                check_schema_version(texts[0], repr(writer.url))
            now, incarnation = int(key), f"{texts[1]} {losses(writer.url)}"
        elif kind == _MADE:
            made[texts[0]] = key
        else:
            rest.append(row)
    _tell(heads, rest, token)
    return Locked(heads, now, incarnation, made)


def _tell(heads: dict[int, LockedHead], rows: Sequence[tuple[Any, ...]], token: str) -> None:
    """Give each head what was found of it."""
    for kind, key, number, other, *more in rows:
        head, text = heads[key], more[_NUMBERS - 3]
        if kind == _TOKEN and text == token:
            head.committed = number
        elif kind == _TOKEN:
            head.gathered = number
        elif kind == _TXN:
            head.txns[text] = (number, other)
        elif kind == _METADATA:
            head.metadata.append((number, json.loads(text)))
        elif kind == _PROTOCOL:
            head.protocol.append((number, json.loads(text)))
        elif kind == _DOMAIN:
            head.domains.append((number, text))
        else:
            head.slot = Reservation(number, text, more[_NUMBERS - 2])
    for head in heads.values():
        head.metadata.sort(key=lambda found: found[0])
        head.protocol.sort(key=lambda found: found[0])


def stands(before: Locked, after: Locked) -> bool:
    """Whether the heads are where they were, and the server is the same."""

    def seen(locked: Locked) -> list[tuple[object, ...]]:
        return [
            (h.table_key, h.table_id, h.head_version, h.epoch, h.live_load, h.authority)
            for h in locked.heads.values()
        ]

    return seen(before) == seen(after) and before.incarnation == after.incarnation


def winners(writer: Writer, staged: StagedTable, head: LockedHead) -> list[Winner]:
    """What others committed after the version that was read, in order.

    The cost is that of what they changed. Of blind appends to a table whose schema and properties
    stand, nothing is asked.
    """
    if head.head_version == staged.read_version:
        return []
    found: dict[int, dict[str, Any]] = {}
    for version, body in head.metadata:
        found.setdefault(version, {})["metadata"] = body
    for version, body in head.protocol:
        found.setdefault(version, {})["protocol"] = body
    for version, domain in head.domains:
        mine = found.setdefault(version, {})
        mine["domains"] = mine.get("domains", frozenset()) | {domain}
    if not staged.is_blind_append:
        for version, what in _changed(writer, staged, head).items():
            found.setdefault(version, {}).update(what)
    return [Winner(version=version, **what) for version, what in sorted(found.items())]


_VERSION = 2
_COMMON = ("data_change", "path", "stats", "dv_id", "partition_values")
_REST = tuple(n for n in FILE_SCHEMA.names if n not in (*_COMMON, "path_key2"))


def _changed(writer: Writer, staged: StagedTable, head: LockedHead) -> dict[int, dict[str, Any]]:
    """By version: its operation, whether it only appended, and the files that it changed.

    For a commit that unites vectors, `head.lives` gets those of the files that still live.
    """
    files, since = load_files_name(head.live_load), staged.read_version
    whole = [f"f.{name}" for name in _REST] if staged.rebase is not None else []
    parts, params = [], []
    # What was added comes first, as it says of what types the columns are.
    for kind, version, rest in (
        (ADDED, "added_version", whole),
        (REMOVED, "removed_version", ["NULL"] * len(whole)),
    ):
        columns = [str(kind), "c.version", "c.data_change", "f.path", "f.stats", "f.dv_id"]
        columns += ["p.partition_values", *rest]
        parts.append(
            f"SELECT {', '.join(columns)} FROM dl_changes c "
            f"JOIN {files} f ON f.path_key = c.path_key "
            # Either way the life ends later: who begins with the load leaves out all that are over.
            f"AND f.load_id = ? AND f.removed_version > ? AND f.{version} = c.version "
            "JOIN dl_partitions p ON p.load_id = f.load_id AND p.partition_id = f.partition_id "
            f"WHERE c.table_key = ? AND c.version > ? AND c.kind = {kind}"
        )
        params += [head.live_load, since, head.table_key, since]
    parts.append(
        f"SELECT {_VERSION}, v.version, v.is_blind_append, v.operation"
        f"{', NULL' * (3 + len(whole))} FROM dl_versions v WHERE v.load_id = ? AND v.version > ?"
    )
    params += [head.live_load, since]
    found: dict[int, dict[str, Any]] = {}
    changed: dict[int, tuple[list[ChangedFile], list[ChangedFile]]] = {}
    for kind, at, said, text, stats, dv_id, values, *more in writer.ask(
        Statement(" UNION ALL ".join(parts), tuple(params))
    ):
        if kind == _VERSION:
            found.setdefault(at, {}).update(blind_append=bool(said), operation=text)
            continue
        data_change = None if said is None else bool(said)
        both = changed.setdefault(at, ([], []))
        both[kind].append(ChangedFile(text, values, stats, dv_id, data_change))
        if kind == ADDED and more:
            life = dict(zip(_REST, more, strict=True))
            if life["removed_version"] == LIVE:
                common = zip(_COMMON, (data_change, text, stats, dv_id, values), strict=True)
                second = int(file_keys([text], [dv_id])[1][0])
                head.lives[text] = life | dict(common) | {"path_key2": second}
    for at, (adds, removes) in changed.items():
        found.setdefault(at, {}).update(_with_vectors(adds, removes))
    return found


def _with_vectors(
    adds: list[ChangedFile], removes: list[ChangedFile]
) -> dict[str, tuple[ChangedFile, ...]]:
    both = {file.path for file in adds} & {file.path for file in removes}

    def marked(files: list[ChangedFile]) -> tuple[ChangedFile, ...]:
        return tuple(
            ChangedFile(f.path, f.partition_values, f.stats, f.dv_id, f.data_change, True)
            if f.path in both
            else f
            for f in files
        )

    return {"adds": marked(adds), "removes": marked(removes)}
