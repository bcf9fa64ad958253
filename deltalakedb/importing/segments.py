"""The best segment whose checkpoints and commits can be read: found by trying."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from deltalakedb.error import CorruptCommitError, DeltaLakeError
from deltalakedb.log.damaged import without_damaged
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
    warnings: list[str] = []

    def pass_over(error: DeltaLakeError, instead: str) -> None:
        warnings.append(f"{error.message}; {instead}")
        between()

    def best(unreadable: set[str]) -> tuple[Segment, T]:
        nonlocal listing
        while True:
            segment = _segment(mode, listing, unreadable)
            try:
                return segment, attempt(segment)
            except CorruptCommitError as error:
                rest = _without_commit(mode, listing, unreadable, error.version)
                if rest is None:
                    raise
                listing = rest
                pass_over(error, "versions that only it leads to are left out")

    segment, value = without_damaged(
        best, set(), lambda error: pass_over(error, "read what is older instead")
    )
    return segment, value, warnings


def _segment(mode: str, listing: LogListing, unreadable: set[str]) -> Segment:
    build = latest_segment if mode == "fast" else full_segment
    return build(listing, unreadable)


def _without_commit(
    mode: str, listing: LogListing, unreadable: set[str], version: int
) -> LogListing | None:
    """The listing without the commit of `version`; None if its head needs that commit."""
    left = tuple(c for c in listing.commits if c.version != version)
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
