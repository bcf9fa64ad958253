"""Dask for one command: worker processes of its own or a running cluster, and where to spill."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.without_pandas import without_pandas

if TYPE_CHECKING:
    from distributed import Client


_PREFIX = "dl-work-"
_MEMORY_SHARE = 0.8
_LEAST_MEMORY = 512 << 20
_CONNECT_SECONDS = 15
# Dask has workers give back whatever they free (MALLOC_TRIM_THRESHOLD_: 64 KiB), so that each array
# is made of new pages: half of the time of parsing.
_ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": 64 << 20, "MALLOC_MMAP_THRESHOLD_": 8 << 20}

# Samples of what workers do, 100 a second, and looks at the event loop's pace, 50 a second in every
# process: nobody sees them here, and Python code is a tenth slower.
_UNWATCHED = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500 ms",
}


@contextmanager
def work_folder(parent: str | None) -> Iterator[str]:
    """A folder for what is spilled, removed afterwards; those that dead commands left go too."""
    root = Path(parent) if parent else Path(tempfile.gettempdir())
    try:
        root.mkdir(parents=True, exist_ok=True)
        _remove_dead(root)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
    except OSError as error:
        raise DeltaLakeError(
            DeltaLakeErrorKind.SPILL_ERROR,
            f"can't make a folder in {root}: {error.strerror or error}; name another with "
            "--local-directory",
            folder=str(root),
        ) from None
    # The lock dies with the process, which tells the next command that nobody needs the folder.
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield str(folder)
        finally:
            remove_folder(str(folder))


def remove_folder(folder: str) -> None:
    """Remove a work folder, as far as that can be done."""
    shutil.rmtree(folder, ignore_errors=True)


def _remove_dead(root: Path) -> None:
    for folder in root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), open(folder / "lock", "r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def local_workers(count: int, folder: str, imports: Sequence[str] = ()) -> Iterator[Client]:
    """A client of `count` new worker processes with one thread each; they end with the block.

    Together they may use most of the machine's memory; `folder` takes what they spill. They begin
    with importing the modules `imports`.
    """
    import dask
    import distributed
    import distributed.system

    memory = int(distributed.system.MEMORY_LIMIT * _MEMORY_SHARE / count)
    # A worker that dies is started again and its part repeated: no news for the terminal.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with (
        _without_main(),
        _ctrl_c_for_this_process_alone(),
        _start_errors(),
        dask.config.set({**_UNWATCHED, "distributed.nanny.pre-spawn-environ": _environment()}),
    ):
        cluster = distributed.LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            # No dashboard, and no fixed port for what little the scheduler serves over HTTP.
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            memory_limit=max(memory, _LEAST_MEMORY),
            local_directory=folder,
            silence_logs=logging.CRITICAL,
        )
    with cluster, distributed.Client(cluster) as client:
        # They import what they will need while this process lists the log and opens the catalog.
        for address in client.scheduler_info(n_workers=-1)["workers"]:
            place = {"workers": [address], "allow_other_workers": True}
            distributed.fire_and_forget(client.submit(_import, imports, pure=False, **place))
        try:
            yield client
        except BaseException:
            # Whoever gave up doesn't wait for the parts that are under way.
            for nanny in cluster.workers.values():
                nanny.auto_restart = False
                with contextlib.suppress(ProcessLookupError):
                    if nanny.pid:
                        os.kill(nanny.pid, signal.SIGKILL)
            raise


def _import(modules: Sequence[str]) -> None:
    without_pandas()
    for module in modules:
        importlib.import_module(module)


def _environment() -> dict[str, Any]:
    """What Dask's configuration puts into workers' environment, with an allocator that reuses."""
    import dask

    return {**dask.config.get("distributed.nanny.pre-spawn-environ"), **_ALLOCATOR}


@contextmanager
def _start_errors() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, OSError) as error:
        raise DeltaLakeError(
            DeltaLakeErrorKind.CLUSTER_ERROR,
            f"worker processes can't be started: {_first_line(error)} Check free memory and "
            "process limits, or run without --workers",
        ) from error


@contextmanager
def _without_main() -> Iterator[None]:
    """Processes started inside don't run the program's main module, whose functions no task is.

    A script that doesn't guard its body by `if __name__ == "__main__"` would begin anew in each.
    """
    names = sys.modules["__main__"].__dict__
    hidden: dict[str, Any] = {
        name: names.pop(name) for name in ("__file__", "__spec__") if name in names
    }
    names["__spec__"] = None
    try:
        yield
    finally:
        names.update(hidden)


@contextmanager
def _ctrl_c_for_this_process_alone() -> Iterator[None]:
    """Threads and processes started inside never see Ctrl-C, nor do those that they start.

    A terminal sends it to every process; the command ends its workers itself.
    """
    # Whoever starts the tracker ends with Ctrl-C unblocked, so it has to be there before. It tidies
    # up after a command that was cut off, and needn't tell.
    sys.warnoptions.append("ignore")
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.pop()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def running_cluster(address: str) -> Iterator[Client]:
    """A client of the scheduler at `address`. Raises CLUSTER_ERROR when it doesn't answer."""
    import distributed

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client = distributed.Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise DeltaLakeError(
            DeltaLakeErrorKind.CLUSTER_ERROR,
            f"no Dask scheduler answers at {address}: {_first_line(error)}; give "
            "its address as tcp://host:8786",
            address=address,
        ) from None
    with client:
        _check_workers(client, address)
        yield client


def _check_workers(client: Client, address: str) -> None:
    from deltalakedb import __version__

    found = client.get_versions(packages=["deltalakedb"])["workers"]
    other = {worker: w["packages"].get("deltalakedb") for worker, w in found.items()}
    wrong = {worker: v for worker, v in other.items() if v != __version__}
    if wrong:
        worker, theirs = next(iter(wrong.items()))
        raise DeltaLakeError(
            DeltaLakeErrorKind.CLUSTER_ERROR,
            f"{len(wrong)} of {len(other)} workers at {address} don't have deltalakedb "
            f"{__version__} ({worker} has {theirs or 'none'}); install it there and start them "
            "again",
            address=address,
        )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
