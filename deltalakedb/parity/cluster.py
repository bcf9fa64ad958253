"""Reading the ranges of a log in this process, or on a Dask client that is handed in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.reader import RangeSpec
from deltalakedb.parity.log_part import LogPart, read_part
from deltalakedb.storage.spec import StoreSpec


def read_parts(store: StoreSpec, ranges: Sequence[RangeSpec], client: Any) -> Iterator[LogPart]:
    """The ranges, read, in any order. With a `distributed.Client` its workers begin at once."""
    if client is None:
        return (read_part(store, part) for part in ranges)
    if not client.scheduler_info(n_workers=-1)["workers"]:
        raise DeltaLakeError(
            DeltaLakeErrorKind.CLUSTER_ERROR,
            f"the cluster at {client.scheduler.address} has no worker; start some, then run again",
        )
    from deltalakedb.parity.delivery import deliver

    deliver(client, store.secrets())
    return _completed([client.submit(read_part, store, part, pure=False) for part in ranges])


def _completed(futures: list[Any]) -> Iterator[LogPart]:
    from distributed import as_completed

    with _cluster_errors():
        for future, part in as_completed(futures, with_results=True):
            yield part
            future.release()


@contextmanager
def _cluster_errors() -> Iterator[None]:
    """Dask's own failures, said in terms of the diff."""
    try:
        yield
    except Exception as error:
        name = type(error).__name__
        if name == "KilledWorker":
            raise DeltaLakeError(
                DeltaLakeErrorKind.CLUSTER_ERROR,
                "workers died again and again on the same part of the log (usually out of "
                "memory); give them more memory, or look into their logs",
            ) from error
        if name in ("CommClosedError", "FutureCancelledError", "CancelledError", "TimeoutError"):
            raise DeltaLakeError(
                DeltaLakeErrorKind.CLUSTER_ERROR,
                "the Dask scheduler has gone; start it again and repeat the diff",
            ) from error
        raise
