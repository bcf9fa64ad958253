"""Connections to MySQL and MariaDB over pymysql, without SQLAlchemy.

Three things are added to the driver: LOAD DATA LOCAL INFILE reads from memory, never from a file
(so a server that asks for files of ours gets none); rows can be had as the bytes they came in; a
server that hangs up while it is written to is noticed.
"""

from __future__ import annotations

import hashlib
import selectors
from collections.abc import Iterable, Iterator
from typing import Any

import pymysql
from pymysql.connections import Connection, MySQLResult
from pymysql.constants import CLIENT
from pymysql.protocol import MysqlPacket

from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.uri import renewed

_PACKET_BYTES = 256 << 10
"""Of LOAD DATA; every server takes it (the least sensible max_allowed_packet is 1 MiB)."""

_STALL_SECONDS = 1.0
"""How long a write may wait before we look whether the server has hung up."""
_MOST_PACKET_BYTES = 0xFFFFFF
"""A payload that is longer goes on in the next packet."""
_ERROR, _END, _END_BYTES = 0xFF, 0xFE, 9
"""First bytes of the packets that end the rows; a long row may begin like the second one."""

_SESSION = (
    # Errors instead of silent cuts, and backslashes as everywhere, however the server is set up.
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"
    # A reader may think between two batches, and an import keeps its lease for long.
    ", SESSION net_write_timeout = 3600, SESSION wait_timeout = 604800"
    # Paths are ordered by all their bytes.
    ", SESSION max_sort_length = 8192"
)


# The stubs of pymysql leave out what is overridden here.
_PymysqlConnection: Any = Connection
_PymysqlResult: Any = MySQLResult


class MySqlConnection(_PymysqlConnection):  # type: ignore[misc]
    """A connection whose LOAD DATA LOCAL INFILE is fed with `feed`."""

    feed: Iterable[memoryview] | None = None
    _read_timeout: float | None
    _local_infile: bool

    @property
    def takes_files(self) -> bool:
        """Whether it was made for LOAD DATA LOCAL INFILE."""
        return self._local_infile

    def connect(self, sock: Any = None) -> None:
        """Connect; also a server that takes the connection has to say something in time."""
        patience: float | None = self._read_timeout
        self._read_timeout = self.connect_timeout
        try:
            super().connect(sock)
        except pymysql.OperationalError as error:
            if not isinstance(error.__context__, TimeoutError):
                raise
            raise pymysql.OperationalError(
                2003, f"no answer from {self.host!r} within {self.connect_timeout} s"
            ) from None
        finally:
            self._read_timeout = patience

    def row_packets(self) -> Iterator[bytes]:
        """The rows of an unbuffered query as they come, each as its packet's payload.

        A third of the work of a cursor's. Afterwards the connection is only good to `abandon`.
        """
        while True:
            payload = self._read_payload()
            if payload[0] == _END and len(payload) < _END_BYTES:
                return
            if payload[0] == _ERROR:
                MysqlPacket(payload, self.encoding).raise_for_error()
            yield payload

    def _read_payload(self) -> bytes:
        read = self._rfile.read
        payload = b""
        while True:
            try:
                header = read(4)
                length = int.from_bytes(header[:3], "little")
                data: bytes = read(length)
            except OSError as error:
                raise pymysql.OperationalError(2013, f"the connection was lost ({error})") from None
            if len(header) < 4 or len(data) < length:
                raise pymysql.OperationalError(2013, "the connection was lost")
            payload = payload + data if payload else data
            if length < _MOST_PACKET_BYTES:
                return payload

    def _write_bytes(self, data: bytes) -> None:
        # As the driver's, but a server that has hung up is noticed while it takes no more data:
        # its system may keep the connection half open for a minute.
        if self._write_timeout is not None:
            super()._write_bytes(data)
            return
        self._sock.settimeout(_STALL_SECONDS)
        self._current_timeout = _STALL_SECONDS
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._sock.send(rest) :]
            except TimeoutError:
                if self._is_readable():
                    self._read_packet()  # raises: an error of the server's, or the end
            except OSError as error:
                self._force_close()
                raise pymysql.OperationalError(2006, f"the connection was lost ({error})") from None

    def _is_readable(self) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self._sock, selectors.EVENT_READ)
            return bool(selector.select(0))

    def abandon(self) -> None:
        """Close at once; pymysql reads to the end first what a cursor left unread."""
        result: Any = self._result
        if result is not None:
            result.unbuffered_active = False
        if self.open:
            self.close()

    def _read_query_result(self, unbuffered: bool = False) -> Any:
        self._result = None
        result: Any = _Result(self)
        if unbuffered:
            result.init_unbuffered_query()
        else:
            result.read()
        self._result = result
        if result.server_status is not None:
            self.server_status = result.server_status
        return result.affected_rows


class _Result(_PymysqlResult):  # type: ignore[misc]
    def _read_load_local_packet(self, first_packet: Any) -> None:
        connection = self.connection
        feed, connection.feed = connection.feed, None
        if feed is None:
            connection.close()
            raise pymysql.OperationalError(2068, "the server asked for a file, and gets none")
        try:
            for data in feed:
                for start in range(0, len(data), _PACKET_BYTES):
                    connection.write_packet(data[start : start + _PACKET_BYTES])
        except BaseException:
            # The end of the data would say that this was all: only a lost connection undoes it.
            if connection.open:
                connection.close()
            raise
        connection.write_packet(b"")
        self._read_ok_packet(connection._read_packet())


def connect(url: DatabaseUrl, **options: Any) -> MySqlConnection:
    """Connect to the database of a URL; `options` are pymysql's, before those of the URL."""
    now = renewed(url)
    host, port = now.hosts[0] if now.hosts else ("", None)
    return MySqlConnection(
        **{
            **{name: _typed(name, value) for name, value in now.driver_options.items()},
            "host": host.strip("[]") or "localhost",
            "port": port or 3306,
            "user": now.user or "",
            "password": now.password.reveal() if now.password is not None else "",
            "database": now.name,
            "charset": "utf8mb4",
            "client_flag": CLIENT.FOUND_ROWS,
            "init_command": _SESSION,
            **options,
        }
    )


_SWITCHES = frozenset({"ssl_verify_cert", "ssl_verify_identity", "ssl_disabled"})
_NUMBERS = frozenset({"connect_timeout", "read_timeout", "write_timeout", "max_allowed_packet"})


def _typed(name: str, value: str) -> str | int | bool:
    """An option's value as the driver wants it. INVALID_ARGUMENT for one of another kind."""
    if name in _SWITCHES:
        if value.lower() in ("true", "1", "yes", "on"):
            return True
        if value.lower() in ("false", "0", "no", "off"):
            return False
    elif name not in _NUMBERS:
        return value
    elif value.isdecimal():
        return int(value)
    kind = "true or false" if name in _SWITCHES else "a whole number"
    raise DeltaLakeError(
        DeltaLakeErrorKind.INVALID_ARGUMENT,
        f"the database URL's option {name}={value} has to be {kind}",
        option=name,
    )


def lock_name(url: DatabaseUrl, purpose: str) -> str:
    """A name for GET_LOCK: of the whole server, 64 characters at most, so with the database."""
    database = hashlib.blake2b(url.name.encode(), digest_size=12).hexdigest()
    return f"dl.{database}.{purpose}"
