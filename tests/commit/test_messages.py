"""How many messages a commit sends while others wait for its lock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.catalog.dialects.postgresql import writer as postgresql
from deltalakedb.catalog.dialects.reader import MOST_PARAMETERS
from deltalakedb.catalog.dialects.writer import Statement, insert, joined


class Counted:
    """A cursor that counts what it sends."""

    def __init__(self, cursor: Any, sent: list[bytes]) -> None:
        self._cursor = cursor
        self._sent = sent

    def execute(self, text: Any, *arguments: Any) -> None:
        self._sent.append(text if isinstance(text, bytes) else text.encode())
        self._cursor.execute(text, *arguments)

    def __enter__(self) -> Counted:
        return self

    def __exit__(self, *_: object) -> None:
        self._cursor.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


class CountedConnection:
    def __init__(self, connection: Any, sent: list[bytes]) -> None:
        self._connection = connection
        self._sent = sent

    def cursor(self) -> Counted:
        return Counted(self._connection.cursor(), self._sent)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def test_two_messages_between_lock_and_commit(
    pg_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []
    connect = postgresql.PostgresWriter._connect
    monkeypatch.setattr(
        postgresql.PostgresWriter,
        "_connect",
        lambda self: CountedConnection(connect(self), sent),
    )
    uri = f"deltasql://{pg_database}?table=t"
    schema = pa.schema([("x", pa.int64())])
    table = dl.create_table(uri, schema, location=str(tmp_path / "t"))
    other = dl.connect_to_table(uri)
    table.append(pa.table({"x": [1]}))
    for append in (table.append, other.append):
        del sent[:]
        append(pa.table({"x": [2]}))
        commit = [text for text in sent if _locks(text) or b"dl_commits" in text]
        commit = [text for text in commit if not text.startswith(b"PREPARE")]
        assert [_locks(text) for text in commit] == [True, False]
        assert commit[0].startswith(b"BEGIN ISOLATION LEVEL READ COMMITTED")
        assert commit[1].endswith(b"COMMIT")
        # Keys grow, but plans stay the same: the table's row is left alone.
        assert b"UPDATE dl_tables" not in commit[1]
    del sent[:]
    table.overwrite(pa.table({"x": [3]}))
    # The removes and all rows go with the COMMIT too.
    assert sum(b"dl_outbox" in text and text.endswith(b"COMMIT") for text in sent) >= 1
    assert sum(_locks(text) for text in sent) == 1


def _locks(text: bytes) -> bool:
    return text.startswith(b"BEGIN") and (
        b"FOR UPDATE" in text or b"EXECUTE select_table_key_from_dl_heads" in text
    )


def test_inserts_of_several_tables_are_one() -> None:
    add = "INSERT INTO t (a, b) VALUES (?, ?) ON CONFLICT (a) DO UPDATE SET b = t.b + excluded.b"
    update = Statement("UPDATE h SET v = ? WHERE k = ?", (1, 2), 1)
    select = Statement("INSERT INTO t (a) SELECT a FROM u WHERE b = ?", (3,))
    large = insert("t", ("a", "b"), [(1, "x" * 20_000)])
    many = [insert("u", ("a",), [(n,)]) for n in range(MOST_PARAMETERS + 1)]
    given = [
        insert("t", ("a", "b"), [(1, 2)]),
        update,
        insert("t", ("a", "b"), [(3, 4), (5, 6)]),
        Statement(add, (7, 8)),
        select,
        large,
        insert("t", ("b", "a"), [(0, 0)]),
        Statement(add, (9, 10)),
    ]
    assert joined(given) == [
        update,
        select,
        large,
        insert("t", ("a", "b"), [(1, 2), (3, 4), (5, 6)]),
        Statement(add.replace("(?, ?)", "(?, ?), (?, ?)"), (7, 8, 9, 10)),
        insert("t", ("b", "a"), [(0, 0)]),
    ]
    whole = joined(many)
    assert [len(each.params) for each in whole] == [MOST_PARAMETERS, 1]
    assert [value for each in whole for value in each.params] == list(range(len(many)))
