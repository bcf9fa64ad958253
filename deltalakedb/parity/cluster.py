"""Reading the ranges of a log in this process, or on a Dask client that is handed in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.executor.dask import cluster_errors
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
    from deltalakedb.executor.secrets import deliver

    deliver(client, store.secrets())
    return _completed([client.submit(read_part, store, part, pure=False) for part in ranges])


def _completed(futures: list[Any]) -> Iterator[LogPart]:
    from distributed import as_completed

    with cluster_errors("repeat the diff"):
        for future, part in as_completed(futures, with_results=True):
            yield part
            future.release()
