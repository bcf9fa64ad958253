"""What fails inside Dask is told in terms of what was asked for; other errors are left alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.executor import dask
from deltalakedb.executor.dask import cluster_errors
from deltalakedb.executor.executor import executor_of

if TYPE_CHECKING:
    from distributed import Client


def test_a_connection_that_fails_while_it_is_written_to_is_a_scheduler_that_has_gone() -> None:
    from tornado.iostream import _StreamBuffer

    with pytest.raises(DeltaLakeError) as caught, cluster_errors("repeat the diff"):
        # What distributed runs into when the scheduler is killed in the middle of a message.
        _StreamBuffer().advance(98)
    assert caught.value.kind is DeltaLakeErrorKind.CLUSTER_ERROR
    assert caught.value.message.endswith("has gone; start it again and repeat the diff")


@pytest.mark.parametrize(
    "error",
    [AssertionError("ours"), DeltaLakeError(DeltaLakeErrorKind.CORRUPT_COMMIT, "a task's own")],
)
def test_other_errors_are_left_alone(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, cluster_errors("repeat the diff"):
        raise error
    assert caught.value is error


def test_cancelling_leaves_the_client_connected(dask_client: Client) -> None:
    """Also of what was released, and of what came to an error."""
    before = len(dask_client.get_scheduler_logs())
    executor = executor_of(dask_client, again="…")
    numbers = [executor.submit(int, text) for text in ("1", "2", "no number")]
    sums = executor.submit(sum, numbers[:2])
    assert dict(executor.completed([sums])) == {0: 3}
    with pytest.raises(ValueError, match="no number"):
        list(executor.completed(numbers))
    executor.release(numbers[:1])
    executor.cancel()
    # It would have been told that it is none of the scheduler's clients any more.
    assert dask_client.submit(int, "4", pure=False).result(timeout=240) == 4
    assert dask_client.status == "running"
    # The newest come first; those of tests before are none of ours.
    every = dask_client.get_scheduler_logs()
    logs = [line for _, line in every[: len(every) - before]]
    assert not [line for line in logs if "AssertionError" in line or "who_wants" in line]


def test_no_more_are_under_way_than_may_be(dask_client: Client) -> None:
    executor = executor_of(dask_client, again="…")
    submitted: list[int] = []

    def handles():  # type: ignore[no-untyped-def]
        for number in range(7):
            submitted.append(number)
            yield executor.submit(int, number)

    for done, (position, value) in enumerate(executor.completed(handles(), lambda: 2)):
        assert position == value
        assert len(submitted) <= done + 2
    assert len(submitted) == 7


def test_workers_that_have_gone_for_good(
    private_dask: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask, "_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(dask, "_WORKERLESS_SECONDS", 0.5)
    client = private_dask(n_workers=1)
    executor = executor_of(client, again="repeat the import")
    handle = executor.submit(time.sleep, 60)
    client.cluster.scale(0)
    with pytest.raises(DeltaLakeError, match="has lost all its workers") as caught:
        list(executor.completed([handle]))
    assert caught.value.kind is DeltaLakeErrorKind.CLUSTER_ERROR


def test_clients_that_cant_be_waited_for(dask_client: Client) -> None:
    from distributed import Client

    address = dask_client.scheduler.address

    async def asked() -> None:
        async with Client(address, asynchronous=True, set_as_default=False) as client:
            executor_of(client, again="…")

    with pytest.raises(DeltaLakeError, match="asynchronous=False"):
        asyncio.run(asked())
    with Client(address, set_as_default=False) as closed:
        pass
    with pytest.raises(DeltaLakeError, match="is closed; connect a new one"):
        executor_of(closed, again="…")
