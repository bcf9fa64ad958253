"""Clients of clusters: real worker processes, an import on them, and workers that don't fit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from cluster.connect import connect
from cluster.spec import ClusterSpec
from deltalakedb import diff_table, import_table
from deltalakedb.catalog.reach import reach_database, reach_store
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.executor.preflight import Probe, check_workers
from deltalakedb.secret import Secret
from deltalakedb.storage.spec import StoreSpec


def test_a_cluster_of_this_machine_imports(tables: ModuleType, tmp_path: Path) -> None:
    table = tables.copy("dat-basic_partitioned", tmp_path)
    database = str(tmp_path / "meta.sqlite")
    spec = ClusterSpec(workers=1, options={"processes": True})
    with connect(
        spec,
        database=Secret(f"sqlite:///{database}"),
        stores=[StoreSpec(str(table))],
        imports=["deltalakedb.importing.tasks"],
        local_directory=str(tmp_path / "spill"),
    ) as client:
        result = import_table(str(table), database=database, client=client)
        assert result.status == "imported"
        assert diff_table(result.table_id, database=database, client=client).parity


def test_a_running_scheduler_is_found_by_its_file(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    python = [sys.executable, "-m"]
    environment = {**os.environ, "DASK_LOGGING__DISTRIBUTED": "error"}
    commands = [
        [*python, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"],
        [*python, "distributed.cli.dask_worker", "--nthreads", "1", "--no-dashboard"],
    ]
    commands[0] += ["--no-dashboard", "--scheduler-file", str(file)]
    commands[1] += ["--scheduler-file", str(file), "--local-directory", str(tmp_path)]
    processes = [
        subprocess.Popen(c, env=environment, stderr=subprocess.DEVNULL, cwd=tmp_path)
        for c in commands
    ]
    try:
        spec = ClusterSpec("address", options={"scheduler_file": str(file), "timeout": 240})
        with connect(spec) as client:
            assert client.submit(sum, [1, 2]).result() == 3
    finally:
        for process in processes:
            process.kill()
            process.wait()


ABSENT = Secret.from_environment("DL_NO_SUCH_SECRET")
NO_STORE = StoreSpec(
    "s3://bucket/table", {"aws_secret_access_key": ABSENT, "aws_access_key_id": "a"}
)
NO_DATABASE = ABSENT


@pytest.fixture(scope="module")
def local() -> object:
    with connect(ClusterSpec(workers=1, options={"processes": True})) as client:
        yield client


@pytest.mark.parametrize(
    ("lacks", "says"),
    [
        ({"imports": ["no_such_module"]}, "can't import no_such_module"),
        ({"variables": ["DL_NO_SUCH"]}, "lacks the variable DL_NO_SUCH"),
        (
            {"probes": [Probe("the log", reach_store, NO_STORE)]},
            "doesn't reach the log",
        ),
        (
            {"probes": [Probe("the database", reach_database, NO_DATABASE)]},
            "doesn't reach the database",
        ),
    ],
)
def test_a_worker_that_does_not_fit_is_named(
    local: object, lacks: dict[str, object], says: str
) -> None:
    with pytest.raises(DeltaLakeError, match=says) as caught:
        check_workers(local, **lacks)  # type: ignore[arg-type]
    assert caught.value.kind is DeltaLakeErrorKind.CLUSTER_ERROR
    assert str(caught.value.facts["worker"]).startswith("tcp://")


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask_kubernetes", None)
    with (
        pytest.raises(DeltaLakeError, match="pip install dask-kubernetes") as caught,
        connect(ClusterSpec("kubernetes", workers=1)),
    ):
        pass
    assert caught.value.kind is DeltaLakeErrorKind.CONFIGURATION_ERROR


def test_options_go_on_verbatim() -> None:
    spec = ClusterSpec(
        "class", class_name="distributed.LocalCluster", options={"n_workers": 1, "processes": False}
    )
    with connect(spec) as client:
        assert len(client.scheduler_info(n_workers=-1)["workers"]) == 1
    with (
        pytest.raises(DeltaLakeError, match="does not take these options"),
        connect(
            ClusterSpec("class", class_name="distributed.SpecCluster", options={"wrokers": {}})
        ),
    ):
        pass


def test_what_a_cluster_of_this_machine_does_not_know_is_named() -> None:
    # The worker would refuse it in a process of its own, and the cluster only not come up.
    with (
        pytest.raises(DeltaLakeError, match="did you mean 'n_workers'") as caught,
        connect(ClusterSpec(options={"n_workerz": 1})),
    ):
        pass
    assert caught.value.kind is DeltaLakeErrorKind.CONFIGURATION_ERROR


def test_an_address_where_nobody_is_is_named() -> None:
    options = {"address": "tcp://127.0.0.1:1", "timeout": 0.1}
    with (
        pytest.raises(DeltaLakeError, match="no Dask scheduler answers at tcp://127") as caught,
        connect(ClusterSpec("address", options=options)),
    ):
        pass
    assert caught.value.kind is DeltaLakeErrorKind.CLUSTER_ERROR
