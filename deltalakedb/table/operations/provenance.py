"""What a commit says of itself."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from deltalakedb.log.commit_writer import CommitInfo
from deltalakedb.table.operations.properties import CommitOptions


def engine_info() -> str:
    """What commitInfo says of who wrote."""
    from deltalakedb import __version__

    return f"deltalakedb/{__version__}"


def commit_info(
    operation: str,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, int | str],
    options: CommitOptions,
    *,
    blind: bool,
) -> CommitInfo:
    """The commitInfo of an operation."""
    extra = dict(options.properties.custom_metadata or {})
    user = extra.pop("userMetadata", None)
    return CommitInfo(
        operation=operation,
        parameters=parameters,
        metrics=metrics,
        isolation_level=options.isolation,
        is_blind_append=blind,
        engine_info=engine_info(),
        txn_id=options.token,
        user_metadata=None if user is None else str(user),
        extra=extra,
    )


def now_ms() -> int:
    """This machine's clock, for what a log says of files."""
    return time.time_ns() // 1_000_000
