"""What fails inside Dask is told in terms of what was asked for; other errors are left alone."""

from __future__ import annotations

import pytest

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.executor.dask import cluster_errors


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
