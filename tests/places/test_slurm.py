"""A real Slurm on 127.0.0.1: a driver that submits its workers, one cancelled, itself requeued."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import pytest

from deltalakedb import diff_table
from tests.servers.places import beside, debian_tool
from tests.servers.postgres import PostgresServer
from tests.servers.process import free_port

ROOT = Path(__file__).resolve().parents[2]

_CONF = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,batch_sched_delay=0
RequeueExit=75
KillWait=5
NodeName=localhost NodeAddr=127.0.0.1 CPUs=8 Boards=1 SocketsPerBoard=1 CoresPerSocket=8 \
ThreadsPerCore=1 RealMemory=8000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Slurm:
    """Controller and one node with more cores than the machine has; no munge, no systemd."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True)
        text = _CONF.format(controller=free_port(), node=free_port(), folder=folder)
        conf = folder / "slurm.conf"
        conf.write_text(text.replace("\\\n", ""))
        self.environment = {**os.environ, "SLURM_CONF": str(conf)}
        self._processes = [
            subprocess.Popen(
                [str(debian_tool(name)), "-D", "-f", str(conf), *more],
                env=self.environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for name, more in (("slurmctld", ("-i",)), ("slurmd", ("-N", "localhost")))
        ]
        try:
            self.wait(
                lambda: "idle" in self("sinfo", "--noheader", "--format=%T", check=False), 240
            )
        except AssertionError:
            self.close()
            raise

    def __call__(self, *command: str, check: bool = True) -> str:
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout.strip()

    def wait(self, happened: Callable[[], bool], seconds: float = 240) -> None:
        deadline = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.2)

    def logs(self) -> str:
        texts = (path.read_text()[-3000:] for path in self._folder.glob("*.log"))
        return "\n".join([*texts, self("squeue", check=False)])

    def close(self) -> None:
        self("scancel", "--state=RUNNING", check=False)
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def slurm(judge: Callable[[str], str]) -> Iterator[Slurm]:
    judge("slurmctld")
    if os.geteuid() != 0:
        pytest.skip("this Slurm has no munge: it takes root")
    with ExitStack() as stack:
        # The names of its sockets may have 108 bytes.
        short = stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm"))
        server = Slurm(Path(short))
        stack.callback(server.close)
        yield server


@pytest.mark.system
def test_a_bulk_job_survives_what_slurm_does(
    slurm: Slurm, postgres_server: PostgresServer, tables: ModuleType, tmp_path: Path
) -> None:
    database = postgres_server.url(postgres_server.create_database())
    secret = tmp_path / "database"
    secret.write_text(database)
    secret.chmod(0o600)
    copies = [
        tables.copy("dat-basic_partitioned", tmp_path / f"copy{number}") for number in range(40)
    ]
    listed = tmp_path / "tables.txt"
    listed.write_text("".join(f"t{number}\t{path}\n" for number, path in enumerate(copies)))
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text(
        f"""
cluster:
  kind: slurm
  workers: 2
  options:
    cores: 1
    memory: 1GB
    interface: lo
    local_directory: {tmp_path}
    log_directory: {tmp_path}/logs
    scheduler_options: {{dashboard_address: null}}
    python: {sys.executable}
    job_script_prologue: ["cd {ROOT}", "export PYTHONPATH={beside()}:{ROOT}"]
"""
    )
    output = tmp_path / "driver.log"
    script = tmp_path / "driver.sh"
    script.write_text(
        f"""#!/bin/bash
#SBATCH --job-name=driver --ntasks=1 --mem=1000 --requeue --open-mode=append --signal=B:TERM@60
#SBATCH --output={output}
cd {ROOT}
export PYTHONPATH={beside()}:{ROOT} DL_DATABASE_FILE={secret}
exec {sys.executable} -m jobs.history_replay --cluster {cluster} --from-file {listed}
"""
    )

    def imported() -> int:
        found = "SELECT COUNT(*) FROM pg_tables WHERE tablename = 'dl_tables'"
        name = database.rsplit("/", 1)[1]
        if not postgres_server.sql(found, database=name)[0][0]:
            return 0
        return int(postgres_server.sql("SELECT COUNT(*) FROM dl_tables", database=name)[0][0])

    def running(name: str) -> list[str]:
        return slurm(
            "squeue", "--noheader", "--states=RUNNING", f"--name={name}", "-o", "%i"
        ).split()

    job = slurm("sbatch", "--parsable", str(script))
    try:
        seen: list[str] = []

        def at_work() -> bool:
            seen[:] = running("dask-worker")
            return len(seen) == 2 and imported() > 0

        slurm.wait(at_work)
        slurm("scancel", seen[0])
        before = imported()
        slurm.wait(lambda: imported() > before or imported() == len(copies))
        slurm("scontrol", "requeue", job)
        slurm.wait(lambda: "Restarts=1" in slurm("scontrol", "show", "job", job))
        slurm.wait(lambda: "COMPLETED" in slurm("scontrol", "show", "job", job))
    except AssertionError as error:
        raise AssertionError(f"{error}\n{output.read_text()[-3000:]}") from None
    assert imported() == len(copies)
    assert database not in output.read_text()
    assert diff_table("t7", database=database).parity
    assert diff_table("t39", database=database).parity
