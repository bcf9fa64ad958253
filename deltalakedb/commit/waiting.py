"""Blind appends that wait in the catalog for whoever commits next to a table, of any process.

A row has what is to be committed, and is taken away by the transaction that commits it, which
leaves the row's name in `dl_commits`. So there is one of three: the row, its name there, or
neither, and then nobody will commit it any more.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson
import pyarrow as pa
import xxhash

from deltalakedb.catalog.dialects.writer import Statement, Writer, WrongCountError
from deltalakedb.catalog.records import TableRow
from deltalakedb.commit.staged import StagedTable

MOST_BYTES = 256 << 10
"""Of a row: what is larger isn't worth a way through the database."""
_EXPIRY_MS = 120_000
"""Nobody waits for so long; a row that is older is that of a dead or halted process."""


@dataclass(frozen=True)
class Appends:
    """Appends of one process that wait together; `staged` has the files and `txn`s of all.

    `tokens` are those of the calls. `began_ms`: how long ago the first of their files was begun.
    """

    staged: StagedTable
    tokens: tuple[str, ...]
    began_ms: float

    @property
    def kind(self) -> str:
        """What appends have to have in common to be one commit."""
        row, info = self.staged.table, self.staged.info
        common = (
            row.table_id,
            row.location,
            row.epoch,
            info.isolation_level,
            info.operation,
            dict(info.parameters),
        )
        return xxhash.xxh3_128_hexdigest(orjson.dumps(common))

    def body(self) -> bytes:
        """What another process needs of them."""
        staged = self.staged
        said = orjson.dumps(
            {
                "read_version": staged.read_version,
                "metrics": staged.info.metrics,
                "txns": staged.txns,
                "tokens": self.tokens,
                "began_ms": self.began_ms,
            }
        )
        sink = io.BytesIO()
        sink.write(len(said).to_bytes(4, "big"))
        sink.write(said)
        with pa.ipc.new_stream(sink, staged.adds.schema) as stream:
            stream.write_table(staged.adds)
        return sink.getvalue()


@dataclass(frozen=True)
class Waiting:
    """A row of others, or our own. `age_ms`: by the database's clock."""

    name: str
    body: bytes
    age_ms: int

    def appends(self, like: StagedTable) -> Appends:
        """What waits there, as a commit of the same kind as `like`."""
        size = int.from_bytes(self.body[:4], "big")
        said = orjson.loads(self.body[4 : 4 + size])
        with pa.ipc.open_stream(self.body[4 + size :]) as stream:
            adds = stream.read_all()
        staged = replace(
            like,
            read_version=said["read_version"],
            info=replace(like.info, metrics=said["metrics"]),
            added=adds,
            txns=tuple(said["txns"]),
        )
        return Appends(staged, tuple(said["tokens"]), said["began_ms"] + self.age_ms)


@dataclass(frozen=True)
class Found:
    """What has become of a row.

    `version`: of the commit that took it; None for none yet. `holder` has the lease that was asked
    for; None where it is free. `waiting`: how many rows of the table there are.
    """

    is_there: bool
    version: int | None
    commit_time: int | None
    holder: str | None
    waiting: int = 0


def put(writer: Writer, table: TableRow, kind: str, body: bytes) -> str:
    """Let appends wait; the name of their row. It may be lost when the server crashes."""
    name = str(uuid.uuid4())
    row = Statement(
        "INSERT INTO dl_waiting (table_key, waiting_name, kind, body, created_at) "
        f"VALUES (?, ?, ?, ?, {writer.now})",
        (table.table_key, name, kind, body),
    )
    writer.transact([row], relaxed=True)
    return name


def of_kind(writer: Writer, table: TableRow, kind: str, most: int) -> list[Waiting]:
    """Those that wait, the longest first. What nobody waits for any more is removed."""
    found = writer.select(
        Statement(
            f"SELECT waiting_name, body, {writer.now} - created_at FROM dl_waiting "
            f"WHERE table_key = ? AND kind = ? ORDER BY created_at LIMIT {int(most)}",
            (table.table_key, kind),
        )
    )
    rows = [Waiting(name, bytes(body), int(age)) for name, body, age in found]
    old = [row.name for row in rows if row.age_ms > _EXPIRY_MS]
    send_away(writer, table, old)
    return [row for row in rows if row.age_ms <= _EXPIRY_MS]


def taken(table: TableRow, names: Sequence[str]) -> Statement:
    """For the transaction that commits them: they wait no longer, and did until now."""
    return _deletion(table, names)._replace(rows=len(names))


def withdraw(writer: Writer, table: TableRow, name: str) -> bool:
    """Let it be committed by nobody else; False where it has been taken, or sent away."""
    try:
        writer.transact([taken(table, [name])])
    except WrongCountError:
        return False
    return True


def send_away(writer: Writer, table: TableRow, names: Sequence[str]) -> None:
    """Let those that wait yet commit by themselves."""
    if names:
        writer.transact([_deletion(table, names)], relaxed=True)


def find(writer: Writer, table: TableRow, name: str, lease: str) -> Found:
    """One statement, so that it sees a row, or the commit that has taken it, which has its name
    for a token."""
    [(there, version, commit_time, holder, many)] = writer.select(
        Statement(
            "SELECT (SELECT count(*) FROM dl_waiting w "
            "WHERE w.table_key = ? AND w.waiting_name = ?), c.version, "
            "(SELECT v.commit_time FROM dl_heads h JOIN dl_versions v "
            "ON v.load_id = h.live_load AND v.version = c.version "
            "WHERE h.table_key = c.table_key), "
            "(SELECT l.holder FROM dl_leases l "
            f"WHERE l.name = ? AND l.expires_at >= {writer.now}), "
            "(SELECT count(*) FROM dl_waiting w WHERE w.table_key = ?) "
            "FROM dl_schema_version s "
            "LEFT JOIN dl_commits c ON c.table_key = ? AND c.token = ?",
            (table.table_key, name, lease, table.table_key, table.table_key, name),
        )
    )
    return Found(bool(there), version, commit_time, holder, many)


def count(writer: Writer, table: TableRow) -> int:
    """How many rows of a table there are."""
    [(many,)] = writer.select(
        Statement("SELECT count(*) FROM dl_waiting WHERE table_key = ?", (table.table_key,))
    )
    return int(many)


def _deletion(table: TableRow, names: Sequence[str]) -> Statement:
    marks = ", ".join("?" * len(names))
    return Statement(
        f"DELETE FROM dl_waiting WHERE table_key = ? AND waiting_name IN ({marks})",
        (table.table_key, *names),
    )
