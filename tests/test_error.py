"""Errors: they cross processes whole, keep secrets, and say what may be done again."""

from __future__ import annotations

import pickle

import pytest

from deltalakedb.error import (
    CorruptCheckpointError,
    CorruptCommitError,
    DeltaLakeError,
    DeltaLakeErrorKind,
    MissingCommitError,
    Outcome,
    PermanentDatabaseError,
)


@pytest.mark.parametrize(
    "error",
    [
        DeltaLakeError(DeltaLakeErrorKind.NOT_FOUND, "no log", path="/a"),
        DeltaLakeError(DeltaLakeErrorKind.STORAGE_ERROR, "gone", outcome="committed", version=3),
        CorruptCheckpointError("torn", version=10, checkpoint="10 a", file="10.parquet"),
        CorruptCommitError("not JSON", version=4, line=2),
        MissingCommitError("no 7", version=7),
        PermanentDatabaseError(DeltaLakeErrorKind.DATABASE_ERROR, "disk full"),
    ],
)
def test_an_error_crosses_processes_as_what_it_is(error: DeltaLakeError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
    assert again.retryable == error.retryable


def test_no_error_carries_a_password() -> None:
    url = "postgresql://u:hunter2@h/d"
    error = PermanentDatabaseError(
        DeltaLakeErrorKind.DATABASE_ERROR, f"{url} refused", database=url
    )
    for text in (str(error), repr(error), repr(error.facts), repr(pickle.dumps(error))):
        assert "hunter2" not in text


@pytest.mark.parametrize(
    ("kind", "outcome", "retryable"),
    [
        (DeltaLakeErrorKind.TIMEOUT_ERROR, None, True),
        (DeltaLakeErrorKind.CONCURRENCY_ERROR, None, True),
        (DeltaLakeErrorKind.DATABASE_ERROR, "unknown", False),
        (DeltaLakeErrorKind.DATABASE_ERROR, "committed", False),
        (DeltaLakeErrorKind.COMMIT_UNKNOWN, None, False),
        (DeltaLakeErrorKind.SCHEMA_MISMATCH, None, False),
    ],
)
def test_what_may_have_been_committed_is_not_repeated(
    kind: DeltaLakeErrorKind, outcome: Outcome | None, retryable: bool
) -> None:
    assert DeltaLakeError(kind, "it", outcome=outcome).retryable is retryable


def test_a_commit_of_unknown_outcome_says_so() -> None:
    assert DeltaLakeError(DeltaLakeErrorKind.COMMIT_UNKNOWN, "lost").outcome == "unknown"
    assert DeltaLakeError(DeltaLakeErrorKind.DATABASE_ERROR, "lost").outcome == "failed"
