"""What became of a commit whose answer was lost."""

from __future__ import annotations

import time
from collections.abc import Callable

from deltalakedb.catalog.dialects.writer import LostConnectionError
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.commit.committer import Ratifier
from deltalakedb.commit.heads import Locked, lock
from deltalakedb.commit.staged import StagedCommit
from deltalakedb.commit.version import Committed
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

_RESOLVE_SECONDS = 30.0


def resolve(
    database: DatabaseUrl,
    staged: StagedCommit,
    ratifier: Ratifier,
    own: Callable[[Locked], list[Committed] | None],
    lost: LostConnectionError,
) -> list[Committed] | None:
    """After a COMMIT whose answer was lost: what became of it, told by its token under the lock.

    The old session holds the lock until its transaction has ended, so once we have it, either the
    token is there or nothing is (None: it may be tried again). COMMIT_UNKNOWN when the database
    can't be asked. `own` finds what this call has committed.
    """
    deadline = time.monotonic() + _RESOLVE_SECONDS
    while True:
        try:
            for table in staged.tables:
                if table.is_ratified_by_log and not table.makes_table:
                    ratifier.adopt(table.table)
            with writing(database) as writer:
                locked = lock(writer, staged, _RESOLVE_SECONDS)
                found = own(locked)
                writer.rollback()
                return found
        except DeltaLakeError as error:
            if time.monotonic() < deadline and error.retryable:
                time.sleep(0.2)
                continue
            raise DeltaLakeError(
                DeltaLakeErrorKind.COMMIT_UNKNOWN,
                f"the connection broke while a commit of {staged.tables[0].table.full_name} was "
                f"under way ({lost}), and the database can't be asked ({error}); run the same "
                f"write with token={staged.token!r} when it answers: it finds what became of it",
                token=staged.token,
            ) from error
