"""The best segment whose checkpoints can be read: found by trying."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.segment import LogListing, Segment, full_segment, latest_segment

T = TypeVar("T")


def with_readable(
    mode: str,
    listing: LogListing,
    attempt: Callable[[Segment], T],
    between: Callable[[], None] = lambda: None,
) -> tuple[Segment, T, list[str]]:
    """`attempt` with the best segment whose checkpoints can be read; warnings name the others."""
    unreadable: set[str] = set()
    warnings: list[str] = []
    first: DeltaLakeError | None = None
    while True:
        try:
            segment = _segment(mode, listing, unreadable)
            return segment, attempt(segment), warnings
        except DeltaLakeError as error:
            fingerprint = error.facts.get("checkpoint")
            if error.kind is not DeltaLakeErrorKind.CORRUPT_CHECKPOINT or fingerprint is None:
                # Without the checkpoint nothing can be built: what is wrong with it is the news.
                raise (first or error) from None
            first = first or error
            unreadable.add(fingerprint)
            warnings.append(f"{error.message}; read what is older instead")
            between()


def _segment(mode: str, listing: LogListing, unreadable: set[str]) -> Segment:
    build = latest_segment if mode == "fast" else full_segment
    return build(listing, unreadable)


def base_version(segment: Segment) -> int | None:
    """Version of the checkpoint that the newest run starts from."""
    base = segment.runs[-1].base
    return None if base is None else base.version
