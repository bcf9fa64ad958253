"""From a spec to a client whose workers are ready."""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from typing import Any

from cluster.spec import JOBQUEUE, ClusterSpec
from deltalakedb.catalog.reach import reach_database, reach_store
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.executor.preflight import Probe, check_workers
from deltalakedb.redact import redact
from deltalakedb.secret import Secret
from deltalakedb.storage.spec import StoreSpec


@contextmanager
def connect(
    spec: ClusterSpec,
    *,
    database: Secret | None = None,
    stores: Sequence[StoreSpec] = (),
    imports: Sequence[str] = (),
    local_directory: str | None = None,
) -> Iterator[Any]:
    """A `distributed.Client` of the cluster that `spec` describes; both end with the block.

    Before the block runs, workers are there, have the client's versions, can import `imports`, and
    reach the database and the stores; their log records come to this process. A cluster of kind
    `address` goes on running afterwards. Raises CLUSTER_ERROR (worth another try unless it names a
    version, an import, the database or a store) and CONFIGURATION_ERROR.
    """
    from deltalakedb.executor.secrets import deliver  # imports distributed, half a second

    with ExitStack() as stack:
        client = _client(spec, stack, imports, local_directory)
        _wait(client, spec)
        client.forward_logging("deltalakedb")
        deliver(client, [s for store in stores for s in store.secrets()])
        probes = [Probe(store.url, reach_store, store) for store in stores]
        if database is not None:
            deliver(client, [database])
            probes.append(Probe("the database", reach_database, database))
        check_workers(client, imports=imports, variables=spec.environment, probes=probes)
        yield client


def _client(
    spec: ClusterSpec, stack: ExitStack, imports: Sequence[str], local_directory: str | None
) -> Any:
    if spec.kind == "local":
        return _local(spec, stack, imports, local_directory)
    if spec.kind == "address":
        return stack.enter_context(_client_of(spec, **_address(spec)))
    if spec.kind == "slurm-runner":
        runner = _class("dask_jobqueue.slurm.SLURMRunner", "dask-jobqueue")
        cluster = stack.enter_context(_started(spec, runner))
        return stack.enter_context(_client_of(spec, address=cluster))
    cluster = stack.enter_context(_started(spec, _cluster_class(spec)))
    if spec.maximum is not None:
        cluster.adapt(minimum=spec.minimum, maximum=spec.maximum)
    elif spec.workers is not None:
        cluster.scale(spec.workers)
    return stack.enter_context(_client_of(spec, address=cluster))


def _client_of(spec: ClusterSpec, **options: Any) -> Any:
    """A client, if a scheduler answers. What isn't one may answer with anything."""
    try:
        return _distributed().Client(**options, set_as_default=False)
    except (TypeError, ValueError) as error:
        raise DeltaLakeError(
            DeltaLakeErrorKind.CONFIGURATION_ERROR,
            f"cluster: a Dask client does not take these options: {_first_line(error)}",
        ) from error
    except (OSError, RuntimeError, MemoryError) as error:
        where = options.get("address") or options.get("scheduler_file")
        at = f" at {redact(where)}" if isinstance(where, str) else ""
        raise DeltaLakeError(
            DeltaLakeErrorKind.CLUSTER_ERROR,
            f"no Dask scheduler answers{at} (cluster of kind {spec.kind!r}): {_first_line(error)}; "
            "check the address, and that it runs",
        ) from error


def _local(
    spec: ClusterSpec, stack: ExitStack, imports: Sequence[str], local_directory: str | None
) -> Any:
    """Worker processes of this machine: `options` are those of `distributed.LocalCluster`."""
    if not spec.options and spec.maximum is None:
        from deltalakedb.executor.workers import local_workers, work_folder

        folder = stack.enter_context(work_folder(local_directory))
        return stack.enter_context(local_workers(spec.workers or _cores(), folder, imports))
    options: dict[str, Any] = {"dashboard_address": None, "threads_per_worker": 1, **spec.options}
    if spec.workers is not None:
        options.setdefault("n_workers", spec.workers)
    if local_directory is not None:
        options.setdefault("local_directory", local_directory)
    distributed = _distributed()
    _check_local(options)
    cluster = stack.enter_context(_started(spec, distributed.LocalCluster, options))
    if spec.maximum is not None:
        cluster.adapt(minimum=spec.minimum, maximum=spec.maximum)
    return stack.enter_context(_client_of(spec, address=cluster))


def _check_local(options: Mapping[str, Any]) -> None:
    """A worker refuses a wrong name in a process of its own, where nobody reads it."""
    from distributed.core import Server

    distributed = _distributed()
    takers = (distributed.LocalCluster, distributed.Nanny, distributed.Worker, Server)
    known = {name for taker in takers for name in inspect.signature(taker.__init__).parameters}
    for name in options.keys() - known:
        nearest = get_close_matches(str(name), known, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise DeltaLakeError(
            DeltaLakeErrorKind.CONFIGURATION_ERROR,
            f"cluster: {name!r} is no option of a cluster of kind 'local'{hint}",
        )


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _address(spec: ClusterSpec) -> dict[str, Any]:
    options = dict(spec.options)
    if not {"address", "scheduler_file"} & options.keys():
        raise DeltaLakeError(
            DeltaLakeErrorKind.CONFIGURATION_ERROR,
            "cluster: kind address needs options.address (tcp://host:8786) or "
            "options.scheduler_file",
        )
    return options


def _cluster_class(spec: ClusterSpec) -> Any:
    if spec.kind == "kubernetes":
        return _class("dask_kubernetes.operator.KubeCluster", "dask-kubernetes")
    if spec.kind in JOBQUEUE:
        return _class(f"dask_jobqueue.{JOBQUEUE[spec.kind]}", "dask-jobqueue")
    name = str(spec.class_name)
    return _class(name, name.partition(".")[0].replace("_", "-"))


def _class(name: str, package: str) -> Any:
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise DeltaLakeError(
            DeltaLakeErrorKind.CONFIGURATION_ERROR,
            f"cluster: {name} needs a package that is not installed ({error.name}); run "
            f"`pip install {package}`",
            package=package,
        ) from None
    except AttributeError:
        raise DeltaLakeError(
            DeltaLakeErrorKind.CONFIGURATION_ERROR,
            f"cluster: the module {module} has no class {attribute!r}",
        ) from None


def _started(spec: ClusterSpec, kind: Any, options: dict[str, Any] | None = None) -> Any:
    try:
        return kind(**(spec.options if options is None else options))
    except TypeError as error:
        raise DeltaLakeError(
            DeltaLakeErrorKind.CONFIGURATION_ERROR,
            f"cluster: {kind.__name__} does not take these options: {error}",
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        raise DeltaLakeError(
            DeltaLakeErrorKind.CLUSTER_ERROR,
            f"a cluster of kind {spec.kind!r} can't be started: {_first_line(error)}",
        ) from error


def _wait(client: Any, spec: ClusterSpec) -> None:
    distributed = _distributed()
    try:
        client.wait_for_workers(spec.wanted, timeout=spec.timeout)
    except (TimeoutError, distributed.TimeoutError):
        have = len(client.scheduler_info(n_workers=-1)["workers"])
        raise DeltaLakeError(
            DeltaLakeErrorKind.CLUSTER_ERROR,
            f"{have} of {spec.wanted} workers came within {spec.timeout:g} s; see the logs of the "
            "cluster, give it more time (cluster.timeout), or ask for fewer",
            workers=have,
        ) from None


def _distributed() -> Any:
    import distributed

    return distributed


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
