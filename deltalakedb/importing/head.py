"""What the head of a log says of the table, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deltalakedb.catalog import rows
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.keys import SkippingColumn, choose_skipping_columns
from deltalakedb.log.protocol import Protocol, check_known, unreadable_features
from deltalakedb.replay.intervals import StateInterval, at_version


@dataclass(frozen=True)
class HeadFacts:
    """What the head of a log says of the table."""

    version: int
    intervals: tuple[StateInterval, ...]
    skipping: tuple[SkippingColumn, ...]
    unreadable: tuple[str, ...]


def head_facts(intervals: Sequence[StateInterval], head: int) -> HeadFacts:
    """Check what holds at the head. Raises INVALID_LOG, UNSUPPORTED_FEATURE."""
    held = at_version(intervals, head)
    metadata = next((i.body for i in held if i.action == "metaData"), None)
    protocol_body = next((i.body for i in held if i.action == "protocol"), None)
    for what, body in (("metaData", metadata), ("protocol", protocol_body)):
        if body is None:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_LOG,
                f"version {head} has no {what} action: this is not a complete Delta log; restore "
                "the missing commits or checkpoint from a backup",
                version=head,
            )
    assert metadata is not None
    assert protocol_body is not None
    protocol = Protocol.from_action(protocol_body)
    check_known(protocol)
    schema = rows.schema_of(metadata)
    if schema is None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_LOG,
            f"the metaData action that holds at version {head} has no schemaString (PROTOCOL.md "
            "requires it); set the table's schema with its own engine, then import again",
            version=head,
        )
    skipping = choose_skipping_columns(
        schema, metadata.get("partitionColumns") or [], metadata.get("configuration") or {}
    )
    return HeadFacts(head, tuple(intervals), skipping, tuple(unreadable_features(protocol)))
