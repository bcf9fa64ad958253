"""What an installation without extras does: `pip install .` into an empty environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.s3 import S3Bucket
from tests.tables import samples

ROOT = Path(__file__).parents[1]
TABLE = "kernel-table-with-dv-small"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment that holds the product and what it depends on."""
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    uv = Path(sys.executable).with_name("uv")
    constraints = ("--constraint", ROOT / "constraints.txt")
    python = folder / "bin" / "python"
    env = {"UV_SYSTEM_CERTS": "1"}
    run(uv, "pip", "install", "--quiet", "--python", python, *constraints, ROOT, env=env)
    return folder / "bin"


def run(*command: object, env: dict[str, str] | None = None, cwd: Path = ROOT) -> str:
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=500,
        env={**own, **(env or {})},
        cwd=cwd,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.system
def test_workers_s3_and_the_engine_come_with_the_product(
    environment: Path, s3: S3Bucket, tmp_path: Path
) -> None:
    place = s3.upload(samples.path(TABLE), "table")
    reach = {
        "AWS_ACCESS_KEY_ID": s3.options["key"],
        "AWS_SECRET_ACCESS_KEY": s3.options["secret"],
        "AWS_ENDPOINT_URL": s3.options["endpoint_url"],
        "AWS_REGION": s3.options["region"],
        "DL_DATABASE": "catalog.sqlite",
    }
    run(environment / "dl", "import", "--log-dir", place, "--workers", 2, env=reach, cwd=tmp_path)
    run(environment / "dl", "diff", "--table-id", "table", env=reach, cwd=tmp_path)
    code = (
        "import sys, deltalakedb as dl\n"
        "table = dl.connect_to_table('deltasql://sqlite:///catalog.sqlite.table')\n"
        "print(table.snapshot().to_duckdb().count('*').fetchall()[0][0])\n"
        "sys.exit('pandas' in sys.modules)"
    )
    assert run(environment / "python", "-c", code, env=reach, cwd=tmp_path).strip() == "8"
