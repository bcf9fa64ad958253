"""What the pods of the manifests run, run here: scheduler, worker and driver as processes."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from deltalakedb import diff_table
from tests.servers.postgres import PostgresServer
from tests.servers.process import free_port

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "docker" / "kubernetes"


def container_of(pod: dict[str, Any]) -> dict[str, Any]:
    (container,) = pod["containers"]
    return dict(container)


@pytest.mark.system
def test_the_pods_commands_do_a_real_import(
    postgres_server: PostgresServer, tables: ModuleType, tmp_path: Path
) -> None:
    """Only places are put in: ports, the mounted folders, and how the scheduler is found."""
    configuration = yaml.safe_load((KUBERNETES / "configuration.yaml").read_text())["data"]
    cluster = yaml.safe_load(configuration["cluster.yaml"])["cluster"]
    spec = cluster["options"]["custom_cluster_spec"]["spec"]
    job = yaml.safe_load((KUBERNETES / "import.yaml").read_text())["spec"]["template"]["spec"]

    database = postgres_server.url(postgres_server.create_database())
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "database").write_text(database)
    (tmp_path / "configuration").mkdir()
    first = tables.copy("dat-basic_partitioned", tmp_path)
    second = tables.copy("dat-with_checkpoint", tmp_path)
    (tmp_path / "configuration" / "tables.txt").write_text(f"sales.orders\t{first}\n{second}\n")
    port = free_port()
    found = {"kind": "address", "options": {"address": f"tcp://127.0.0.1:{port}"}}
    kept = {key: cluster[key] for key in ("environment",)}
    (tmp_path / "configuration" / "cluster.yaml").write_text(
        yaml.safe_dump({"cluster": {**found, **kept}})
    )

    def command(container: dict[str, Any]) -> list[str]:
        places = {
            "/secrets": str(tmp_path / "secrets"),
            "/configuration": str(tmp_path / "configuration"),
            "/spill": str(tmp_path),
            "0.0.0.0": "127.0.0.1",
            "8786": str(port),
            ":8787": "127.0.0.1:0",
            "$(DASK_WORKER_NAME)": "worker-1",
        }
        arguments = [str(a) for a in container["args"]]
        for here, there in places.items():
            arguments = [
                there if a == here else a.replace(here + "/", there + "/") for a in arguments
            ]
        if arguments[0] == "python":
            arguments[0] = sys.executable
        else:
            arguments[0] = str(Path(sys.executable).parent / arguments[0])
        if "--pushgateway" in arguments:
            at = arguments.index("--pushgateway")
            del arguments[at : at + 2]
        return arguments

    def environment(container: dict[str, Any]) -> dict[str, str]:
        own = {e["name"]: e["value"] for e in container.get("env", ()) if "value" in e}
        own = {n: v.replace("/secrets", str(tmp_path / "secrets")) for n, v in own.items()}
        found = {**os.environ, **own, "DASK_SCHEDULER_ADDRESS": f"tcp://127.0.0.1:{port}"}
        found.pop("DL_DATABASE", None)
        return found

    with ExitStack() as stack:
        for part in ("scheduler", "worker"):
            container = container_of(spec[part]["spec"])
            process = subprocess.Popen(
                command(container), cwd=ROOT, env=environment(container), stderr=subprocess.DEVNULL
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
        container = container_of(job)
        driver = subprocess.run(
            command(container),
            cwd=ROOT,
            env=environment(container),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert driver.returncode == 0, driver.stderr
    assert database not in driver.stderr
    assert diff_table("sales.orders", database=database).parity
    assert diff_table("dat-with_checkpoint", database=database).parity
