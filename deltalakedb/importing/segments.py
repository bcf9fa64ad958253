"""The best segment whose checkpoints and commits can be read: found by trying."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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
    """`attempt` with the best segment that can be read; warnings name what was passed over.

    That is checkpoints that something older stands in for, and commits that a checkpoint makes
    up for: the head doesn't need them, so its readers never see them. They are as good as gone.
    """
    unreadable: set[str] = set()
    warnings: list[str] = []
    first: DeltaLakeError | None = None
    while True:
        try:
            segment = _segment(mode, listing, unreadable)
            return segment, attempt(segment), warnings
        except DeltaLakeError as error:
            fingerprint = error.facts.get("checkpoint")
            if error.kind is DeltaLakeErrorKind.CORRUPT_CHECKPOINT and fingerprint is not None:
                first = first or error
                unreadable.add(fingerprint)
                warnings.append(f"{error.message}; read what is older instead")
            elif (rest := _without_commit(mode, listing, unreadable, error)) is not None:
                listing = rest
                warnings.append(f"{error.message}; versions that only it leads to are left out")
            else:
                # Without the checkpoint nothing can be built: what is wrong with it is the news.
                raise (first or error) from None
            between()


def _segment(mode: str, listing: LogListing, unreadable: set[str]) -> Segment:
    build = latest_segment if mode == "fast" else full_segment
    return build(listing, unreadable)


def _without_commit(
    mode: str, listing: LogListing, unreadable: set[str], error: DeltaLakeError
) -> LogListing | None:
    """The listing without the commit that `error` is about; None if its head needs that commit."""
    if error.kind is not DeltaLakeErrorKind.CORRUPT_COMMIT or "version" not in error.facts:
        return None
    left = tuple(c for c in listing.commits if c.version != error.facts["version"])
    rest = replace(listing, commits=left)
    if len(left) == len(listing.commits) or not (left or listing.checkpoints):
        return None
    try:
        head = _segment(mode, rest, unreadable).head
    except DeltaLakeError:
        return None
    return rest if head == listing.head else None


def base_version(segment: Segment) -> int | None:
    """Version of the checkpoint that the newest run starts from."""
    base = segment.runs[-1].base
    return None if base is None else base.version
