"""Statements that a connection sends again and again, prepared: planning costs more than running.

Of the server's time for a small commit two thirds went into planning the same statements anew. A
pooler (pgbouncer) hands a transaction to any of its sessions, where what another one has prepared
isn't there: there nothing is prepared. It is known by the process id that it gives, which isn't
that of the session behind it.
"""

from __future__ import annotations

import itertools
import re
from functools import lru_cache
from typing import Any

import psycopg2
import xxhash
from psycopg2 import errors

from deltalakedb.catalog.dialects.reader import MOST_PARAMETERS

_USUAL = 3
"""Uses after which a text is prepared."""
_MOST_PREPARED = 100
_MOST_COUNTED = 1_000
_SHOWN = 46


class Prepared:
    """What one connection has prepared, by text; `wanted` is what it should prepare next."""

    def __init__(self, *, allowed: bool) -> None:
        self.allowed = allowed
        self.wanted: list[str] = []
        self._names: dict[str, str] = {}
        self._uses: dict[str, int] = {}
        self._is_direct: bool | None = None if allowed else False

    @property
    def is_direct(self) -> bool:
        """Whether the session is known to stay this connection's."""
        return self._is_direct is True

    def call(self, sql: str, parameters: int, *, is_there: bool = True) -> str:
        """What to send for a statement: itself or an EXECUTE, `%s` for each of its parameters.

        `is_there` False: the session may be another than the one that has prepared it, and the
        message can't be sent again.
        """
        name = self._names.get(sql)
        if name is not None and not is_there:
            return _marked(sql, parameters)
        if name is not None:
            return _execution(name, parameters)
        if self._is_direct is False or parameters > MOST_PARAMETERS or sql.startswith("BEGIN"):
            return _marked(sql, parameters)
        uses = self._uses[sql] = self._uses.get(sql, 0) + 1
        if uses == _USUAL and len(self._names) + len(self.wanted) < _MOST_PREPARED:
            self.wanted.append(sql)
        elif len(self._uses) > _MOST_COUNTED:
            self._uses.clear()
        return _marked(sql, parameters)

    def make(self, connection: Any) -> None:
        """Outside a transaction: prepare what is wanted, where the session stays the same."""
        wanted, self.wanted = self.wanted, []
        with connection.cursor() as cursor:
            if self._is_direct is None:
                cursor.execute("SELECT pg_backend_pid()")
                self._is_direct = cursor.fetchone()[0] == connection.info.backend_pid
            if not self._is_direct:
                return
            if self._names:
                known = "SELECT count(*) FROM pg_prepared_statements WHERE name = %s"
                cursor.execute(known, (next(iter(self._names.values())),))
                if cursor.fetchone()[0] == 0:
                    # Another session than the one before, whatever number it has.
                    self._names, self._is_direct = {}, False
                    return
            for sql in wanted:
                name = _name(sql)
                try:
                    cursor.execute(f"PREPARE {name} AS {_numbered(sql)}")
                except errors.DuplicatePreparedStatement:
                    pass
                except psycopg2.ProgrammingError:
                    # What can't be prepared is sent as it is.
                    continue
                self._names[sql] = name


@lru_cache(1_000)
def _execution(name: str, parameters: int) -> str:
    marks = f" ({', '.join(['%s'] * parameters)})" if parameters else ""
    return f"EXECUTE {name}{marks}"


def _marked(sql: str, parameters: int) -> str:
    return sql.replace("?", "%s") if parameters else sql


def _name(sql: str) -> str:
    """By its text, so that no session can have another statement under the name; 63 bytes at most.

    It begins with the text for those who look at sessions.
    """
    begins = re.sub(r"\W+", "_", sql[:_SHOWN], flags=re.ASCII).lower()
    return f"{begins}_{xxhash.xxh3_64_hexdigest(sql.encode())}"


def _numbered(sql: str) -> str:
    numbers = itertools.count(1)
    first, *rest = sql.split("?")
    return first + "".join(f"${next(numbers)}{part}" for part in rest)
