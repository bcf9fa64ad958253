"""Reading a log in spite of damaged checkpoints: what is older stands in for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from deltalakedb.error import CorruptCheckpointError, DeltaLakeError

T = TypeVar("T")


def without_damaged(
    attempt: Callable[[set[str]], T],
    excluded: set[str],
    passed_over: Callable[[CorruptCheckpointError], None],
) -> T:
    """The value of `attempt(excluded)`, made again without each checkpoint that can't be read.

    `excluded` grows by their fingerprints, and `passed_over` is told of each. When what is left
    makes no answer, the first checkpoint's error is raised: what is wrong with it is the news.
    """
    first: CorruptCheckpointError | None = None
    while True:
        try:
            return attempt(excluded)
        except CorruptCheckpointError as error:
            first = first or error
            excluded.add(error.checkpoint)
            passed_over(error)
        except DeltaLakeError:
            if first is not None:
                raise first from None
            raise
