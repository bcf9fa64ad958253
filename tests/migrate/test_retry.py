"""What is tried again, how often, and what isn't."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from deltalakedb.catalog import retry
from deltalakedb.catalog.dialects import dialect_of
from deltalakedb.catalog.retry import ATTEMPTS, retried
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind, PermanentDatabaseError
from deltalakedb.uri import parse_database


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    # Not everybody's, as other tests' threads may sleep meanwhile.
    monkeypatch.setattr(retry, "time", SimpleNamespace(sleep=found.append))
    return found


def failing(
    times: int,
    kind: DeltaLakeErrorKind,
    calls: list[int],
    type_: type[DeltaLakeError] = DeltaLakeError,
) -> object:
    def action(attempt: int) -> str:
        calls.append(attempt)
        if attempt < times:
            raise type_(kind, f"attempt {attempt}")
        return "done"

    return action


@pytest.mark.parametrize("kind", ["database_error", "database_locked", "timeout_error"])
def test_what_passes_is_tried_again_with_growing_pauses(pauses: list[float], kind: str) -> None:
    calls: list[int] = []
    action = failing(4, DeltaLakeErrorKind(kind), calls)
    assert retried(action) == "done"  # type: ignore[arg-type]
    assert calls == [0, 1, 2, 3, 4]
    assert len(pauses) == 4
    assert all(0.5 <= pause / (0.1 * 2**i) <= 1.5 for i, pause in enumerate(pauses))


def test_the_last_error_is_raised(pauses: list[float]) -> None:
    calls: list[int] = []
    action = failing(99, DeltaLakeErrorKind.DATABASE_ERROR, calls)
    with pytest.raises(DeltaLakeError, match=f"attempt {ATTEMPTS - 1}"):
        retried(action)  # type: ignore[arg-type]
    assert len(calls) == ATTEMPTS
    assert 5 < sum(pauses) < 30


@pytest.mark.parametrize(
    ("kind", "type_"),
    [
        (DeltaLakeErrorKind.AUTHENTICATION_ERROR, DeltaLakeError),
        (DeltaLakeErrorKind.CONCURRENCY_ERROR, DeltaLakeError),
        (DeltaLakeErrorKind.DATABASE_ERROR, PermanentDatabaseError),
    ],
)
def test_what_stays_is_raised_at_once(
    pauses: list[float], kind: DeltaLakeErrorKind, type_: type[DeltaLakeError]
) -> None:
    calls: list[int] = []
    with pytest.raises(DeltaLakeError):
        retried(failing(1, kind, calls, type_))  # type: ignore[arg-type]
    assert (calls, pauses) == ([0], [])


@pytest.mark.parametrize(
    ("statement", "permanent"),
    [
        ("SELECT * FROM nowhere", True),
        ("SELECT 1/0", True),
        ("SELECT pg_terminate_backend(pg_backend_pid())", False),
    ],
)
def test_postgresql_tells_its_own_end_from_a_faulty_statement(
    pg_database: str, statement: str, permanent: bool
) -> None:
    """Over both drivers: psycopg2, and ADBC, which loads."""
    dialect = dialect_of(parse_database(pg_database))

    def over_psycopg2() -> None:
        engine = dialect.engine(poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)

    def over_adbc() -> None:
        with dialect.loader() as loader:
            loader._cursor.execute(statement)  # type: ignore[attr-defined]
            loader._cursor.fetchall()  # type: ignore[attr-defined]

    for run in (over_psycopg2, over_adbc):
        with pytest.raises(DeltaLakeError) as caught, dialect.errors():
            run()
        assert caught.value.kind is DeltaLakeErrorKind.DATABASE_ERROR
        assert caught.value.retryable is not permanent
