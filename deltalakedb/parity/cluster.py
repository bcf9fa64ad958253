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

    with cluster_errors("repeat the diff"):
        for future, part in as_completed(futures, with_results=True):
            yield part
            future.release()


_GONE = frozenset({"CommClosedError", "FutureCancelledError", "CancelledError", "TimeoutError"})


@contextmanager
def cluster_errors(advice: str) -> Iterator[None]:
    """Dask's own failures as CLUSTER_ERROR; `advice`: what to do once the scheduler is back."""
    try:
        yield
    except DeltaLakeError:
        raise
    except Exception as error:
        name = type(error).__name__
        if name == "KilledWorker":
            raise DeltaLakeError(
                DeltaLakeErrorKind.CLUSTER_ERROR,
                "workers died again and again on the same part of the log (usually out of "
                "memory); give them more memory, or look into their logs",
            ) from error
        if name in _GONE or _raised_by_transport(error):
            raise DeltaLakeError(
                DeltaLakeErrorKind.CLUSTER_ERROR,
                f"the Dask scheduler has gone; start it again and {advice}",
            ) from error
        raise


def _raised_by_transport(error: BaseException) -> bool:
    """Whether it comes from the depth of a connection.

    One that closes while it is written to fails in Tornado's buffers, with an error of any type.
    """
    trace = error.__traceback__
    module = ""
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        trace = trace.tb_next
    return module.startswith(("tornado.", "distributed.comm."))
