"""One tree of errors. A message says what happened, where, and what to do next.

Every error pickles (they cross Dask), and none carries a secret: messages and facts are redacted
here, once.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

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


def _rebuild(kind: DeltaLakeErrorKind, message: str, facts: dict[str, Any]) -> DeltaLakeError:
    return DeltaLakeError(kind, message, **facts)


class DeltaLakeError(Exception):
    """What, where, what to do next.

    `kind` is a `DeltaLakeErrorKind`, `facts` holds the values that the message names
    (version, path, line, …), so that programs need not parse the text.
    """

    def __init__(self, kind: DeltaLakeErrorKind, message: str, **facts: Any) -> None:
        self.kind = kind
        self.message = redact(message)
        self.facts = {k: redact(v) if isinstance(v, str) else v for k, v in facts.items()}
        super().__init__(self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.kind, self.message, self.facts)

    def __str__(self) -> str:
        return self.message
