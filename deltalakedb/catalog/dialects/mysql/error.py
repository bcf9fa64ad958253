"""What MySQL's and MariaDB's error numbers mean to us, and what to advise."""

from __future__ import annotations

from deltalakedb.error import DeltaLakeErrorKind

LOCK_WAIT_TIMEOUT = 1205
LOCAL_INFILE_OFF = frozenset({1148, 3948, 4166})
"""The server, or something between, doesn't allow LOAD DATA LOCAL INFILE."""
NO_SUCH_TABLE = 1146
BUSY = frozenset({1040, 1203, 1226})
"""All connections are in use, those of the server or of the user."""
LOST = frozenset({0, 1053, 1927, 2006, 2013, 2014, 2055, 4031})
"""The connection is gone: server restarted, session killed, network cut."""

_Case = tuple[DeltaLakeErrorKind, str]

_K = DeltaLakeErrorKind
_LOST: _Case = (_K.DATABASE_ERROR, "check that the server runs (its log says more), and run again")
_FULL: _Case = (_K.DATABASE_ERROR, "free disk space on the server, and run again")
_READ_ONLY: _Case = (
    _K.DATABASE_ERROR,
    "the server is read-only: connect to the primary, or SET GLOBAL read_only = OFF",
)
_CASES: dict[int, _Case] = {
    1045: (
        _K.AUTHENTICATION_ERROR,
        "check user and password in the URL (percent-encode special characters); if the "
        "password was changed, open the table again with the new one",
    ),
    1698: (_K.AUTHENTICATION_ERROR, "this account has no password login; use another user"),
    1049: (_K.NOT_FOUND, "create it with CREATE DATABASE, then run again"),
    NO_SUCH_TABLE: (_K.DATABASE_ERROR, "it was removed meanwhile; run again"),
    1040: (_K.DATABASE_ERROR, "raise max_connections, or use fewer --connections"),
    1203: (_K.DATABASE_ERROR, "raise max_user_connections, or use fewer --connections"),
    1226: (_K.DATABASE_ERROR, "raise the user's limits, or use fewer --connections"),
    2002: (_K.DATABASE_ERROR, "check that the server runs and listens"),
    2003: (_K.DATABASE_ERROR, "check host and port, and that the server runs and listens"),
    2005: (_K.DATABASE_ERROR, "check the host in the URL"),
    LOCK_WAIT_TIMEOUT: (
        _K.TIMEOUT_ERROR,
        "another session holds a lock (SHOW PROCESSLIST tells which); run again",
    ),
    1213: (_K.DATABASE_ERROR, "another session was in the way; run again"),
    1020: (_K.DATABASE_ERROR, "another session changed the row meanwhile; run again"),
    1412: (_K.DATABASE_ERROR, "the table was changed meanwhile; run again"),
    1290: _READ_ONLY,
    1792: _READ_ONLY,
    1836: _READ_ONLY,
    1114: _FULL,
    1021: _FULL,
    1030: _FULL,
    1153: (_K.DATABASE_ERROR, "raise max_allowed_packet on the server (64M holds any row)"),
    1273: (_K.DATABASE_ERROR, "use MySQL 8.0.17 or newer, or MariaDB 10.6 or newer"),
    3750: (_K.DATABASE_ERROR, "SET GLOBAL sql_require_primary_key = OFF"),
    3159: (_K.AUTHENTICATION_ERROR, "the server wants TLS: add ?ssl_ca=… to the URL"),
    **dict.fromkeys(LOST, _LOST),
    **dict.fromkeys(
        (1048, 1264, 1265, 1364, 1366, 1406),
        (_K.INVALID_LOG, "the log has a value that the catalog can't hold"),
    ),
    **dict.fromkeys(
        LOCAL_INFILE_OFF, (_K.DATABASE_ERROR, "SET GLOBAL local_infile = ON on the server")
    ),
}


def number_and_text(error: BaseException) -> tuple[int, str]:
    """Number and message of a driver's error, also inside SQLAlchemy's; 0 where it has none."""
    inner = getattr(error, "orig", None) or error
    if len(inner.args) > 1 and isinstance(inner.args[0], int):
        number, text = inner.args[:2]
    else:
        number, text = -1, str(inner)
    lines = str(text).strip().splitlines()
    if not lines and number in LOST:
        lines = ["the connection was lost"]
    return number, lines[0] if lines else type(inner).__name__


def kind_and_advice(number: int) -> tuple[DeltaLakeErrorKind, str]:
    """Of an error number; retryable ones are DATABASE_ERROR and TIMEOUT_ERROR."""
    return _CASES.get(number, (_K.DATABASE_ERROR, "see the server's error log"))
