"""Whether the fence can hold: how file-based writers take the slots of a log.

A put that fails where a file is excludes only those who use one. Delta's own log stores on S3 don't
by default, and may overwrite a fence.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.place import log_store
from deltalakedb.migrate.who_writes import WHO_COMMITS, recent_writers
from deltalakedb.storage.open import open_store
from deltalakedb.storage.store import ObjectStore

if TYPE_CHECKING:
    from deltalakedb.migrate.options import MoveOptions
    from deltalakedb.migrate.records import Migration

_UNCONDITIONAL = ("apache-spark", "databricks", "spark")
"""Engines whose usual log stores on S3 put without a condition, by the beginning of engineInfo."""


def check_log_writers(migration: Migration, options: MoveOptions) -> None:
    """Refuse a cutover whose fence others may overwrite.

    Raises INVALID_ARGUMENT for `online` and `hybrid` where writers don't put conditionally, or
    may not and nobody has said so; UNSUPPORTED_FEATURE for a store that doesn't refuse a second
    put.
    """
    spec = log_store(migration.log_location, options.storage_options)
    store = open_store(spec)
    remote = spec.url.startswith("s3")
    if options.strategy == "offline" or options.log_writers == "paused":
        return
    if options.log_writers == "dynamodb":
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"writers that take slots through DynamoDB may overwrite the fence of {migration.table}"
            "; pause them and move it with the strategy offline",
            table=migration.table,
        )
    if not remote:
        return
    if options.log_writers is None:
        engines = {w.engine for w in recent_writers(store, WHO_COMMITS)}
        doubtful = sorted(e for e in engines if e.lower().startswith(_UNCONDITIONAL))
        if doubtful:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"{migration.table} is written by {', '.join(doubtful)}, which on S3 may overwrite "
                "the fence; say --log-writers conditional-put if theirs put conditionally, or "
                "paused when they are, or move it with the strategy offline",
                engines=doubtful,
            )
    probe(store)


def probe(log: ObjectStore) -> None:
    """Put one name twice: the second put has to be refused. UNSUPPORTED_FEATURE where it isn't."""
    name = f".dl-probe-{uuid.uuid4().hex}"
    try:
        # False may mean our own first one, whose answer was lost.
        log.put_if_absent(name, b"1")
        second = log.put_if_absent(name, b"2")
        there = log.read(name)
    finally:
        log.discard([name])
    if second or there != b"1":
        raise DeltaLakeError(
            DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
            f"{log.describe()} lets a file be put over another although asked not to, so nothing "
            "can keep writers out; use a store that honours If-None-Match",
        )
