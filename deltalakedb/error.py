"""One tree of errors. A message says what happened, where, and what to do next.

    DeltaLakeError
    ├── CorruptCheckpointError    read without that checkpoint
    ├── CorruptCommitError        read without that commit, where nothing needs it
    ├── MissingCommitError        build an older version
    └── PermanentDatabaseError    don't try again

Callers match on `kind`; a class of its own is for what the package itself acts on. Every error
pickles (they cross Dask), and none carries a secret: messages and facts are redacted here, once.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

from deltalakedb.redact import redact


class DeltaLakeErrorKind(Enum):
    """Stable names of what went wrong; append-only, safe to match on."""

    INVALID_ARGUMENT = "invalid_argument"
    NOT_FOUND = "not_found"
    NOT_A_DELTA_TABLE = "not_a_delta_table"
    EMPTY_LOG = "empty_log"
    CORRUPT_COMMIT = "corrupt_commit"
    CORRUPT_CHECKPOINT = "corrupt_checkpoint"
    MISSING_COMMIT = "missing_commit"
    INVALID_LOG = "invalid_log"
    UNSUPPORTED_FEATURE = "unsupported_feature"
    VERSION_NOT_FOUND = "version_not_found"
    TABLE_NOT_FOUND = "table_not_found"
    LOG_DISAGREES = "log_disagrees"
    CONCURRENCY_ERROR = "concurrency_error"
    TIMEOUT_ERROR = "timeout_error"
    DATABASE_ERROR = "database_error"
    DATABASE_LOCKED = "database_locked"
    AUTHENTICATION_ERROR = "authentication_error"
    CATALOG_VERSION = "catalog_version"
    STORAGE_ERROR = "storage_error"
    SPILL_ERROR = "spill_error"
    CLUSTER_ERROR = "cluster_error"
    CORRUPT_DELETION_VECTOR = "corrupt_deletion_vector"
    INVALID_PREDICATE = "invalid_predicate"
    CONFIGURATION_ERROR = "configuration_error"
    CORRUPT_DATA_FILE = "corrupt_data_file"
    INTERRUPTED = "interrupted"
    INTERNAL_ERROR = "internal_error"
    TABLE_EXISTS = "table_exists"
    SCHEMA_MISMATCH = "schema_mismatch"
    CONSTRAINT_VIOLATION = "constraint_violation"
    READ_ONLY = "read_only"
    MIRROR_CONFLICT = "mirror_conflict"
    COMMIT_UNKNOWN = "commit_unknown"
    OUT_OF_MEMORY = "out_of_memory"


Outcome = Literal["failed", "committed", "unknown"]
"""What became of a commit: `failed` never appears later, `committed` is in the table, `unknown`
may be either (its token tells, asked later)."""

_RETRYABLE = frozenset(
    {
        DeltaLakeErrorKind.CONCURRENCY_ERROR,
        DeltaLakeErrorKind.DATABASE_ERROR,
        DeltaLakeErrorKind.DATABASE_LOCKED,
        DeltaLakeErrorKind.TIMEOUT_ERROR,
    }
)


def _rebuild(
    type_: type[DeltaLakeError],
    kind: DeltaLakeErrorKind,
    message: str,
    outcome: Outcome,
    facts: dict[str, Any],
) -> DeltaLakeError:
    error = type_.__new__(type_)
    DeltaLakeError.__init__(error, kind, message, outcome=outcome, **facts)
    return error


class DeltaLakeError(Exception):
    """What, where, what to do next.

    `kind` is a `DeltaLakeErrorKind`, `facts` holds the values that the message names
    (version, path, line, …), so that programs need not parse the text. `outcome` says of an
    error of a commit what became of it; without one given, COMMIT_UNKNOWN is `unknown` and all
    else `failed`.
    """

    def __init__(
        self,
        kind: DeltaLakeErrorKind,
        message: str,
        *,
        outcome: Outcome | None = None,
        **facts: Any,
    ) -> None:
        self.kind = kind
        self.message = redact(message)
        self.facts = {k: redact(v) if isinstance(v, str) else v for k, v in facts.items()}
        if outcome is None:
            outcome = "unknown" if kind is DeltaLakeErrorKind.COMMIT_UNKNOWN else "failed"
        self.outcome: Outcome = outcome
        super().__init__(self.message)

    @property
    def retryable(self) -> bool:
        """Whether the same call, made again, may succeed though nobody changes anything.

        Never when a commit is or may be in the table: repeating it could write twice.
        """
        return self.outcome == "failed" and self.kind in _RETRYABLE

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.kind, self.message, self.outcome, self.facts)

    def __str__(self) -> str:
        return self.message


class CorruptCheckpointError(DeltaLakeError):
    """A checkpoint that can't be read (CORRUPT_CHECKPOINT), by its fingerprint."""

    def __init__(self, message: str, *, version: int, checkpoint: str, **facts: Any) -> None:
        super().__init__(
            DeltaLakeErrorKind.CORRUPT_CHECKPOINT,
            message,
            version=version,
            checkpoint=checkpoint,
            **facts,
        )

    @property
    def checkpoint(self) -> str:
        """Its fingerprint, by which a segment is built without it."""
        return str(self.facts["checkpoint"])


class CorruptCommitError(DeltaLakeError):
    """A commit that can't be read (CORRUPT_COMMIT), by its version."""

    def __init__(self, message: str, *, version: int, **facts: Any) -> None:
        super().__init__(DeltaLakeErrorKind.CORRUPT_COMMIT, message, version=version, **facts)

    @property
    def version(self) -> int:
        """The commit's version."""
        return int(self.facts["version"])


class MissingCommitError(DeltaLakeError):
    """A commit that isn't there (MISSING_COMMIT), by its version: the first that is missing."""

    def __init__(self, message: str, *, version: int, **facts: Any) -> None:
        super().__init__(DeltaLakeErrorKind.MISSING_COMMIT, message, version=version, **facts)

    @property
    def version(self) -> int:
        """The first version whose commit is missing."""
        return int(self.facts["version"])


class DatabaseBusyError(DeltaLakeError):
    """A database that takes no connection now: all are in use, or it starts or stops."""


class PermanentDatabaseError(DeltaLakeError):
    """A database's refusal that stays: a faulty statement, a value it can't hold, a full disk."""

    @property
    def retryable(self) -> bool:
        """False: the same again is refused again."""
        return False
