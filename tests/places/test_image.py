"""The image, built from the real Dockerfile, does real work as nobody on a read-only root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from tests.servers.places import UNPACKED

ROOT = Path(__file__).resolve().parents[2]
BASE = "localhost/debian:bookworm-slim"
IMAGE = "localhost/deltalakedb:test"
MIRROR = "http://deb.debian.org/debian"

# A root that is only read, a /tmp of its own, the tables below it; then one process as nobody.
_ENTER = """
set -e
root=$1; tables=$2; shift 2
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs tmpfs "$root/tmp"
mkdir "$root/tmp/tables"
mount --bind "$tables" "$root/tmp/tables"
exec chroot --userspec=10001:10001 "$root" /usr/bin/env -i --chdir=/app "$@"
"""


class Buildah:
    """buildah with storage of its own, without a daemon."""

    def __init__(self, program: str, folder: Path) -> None:
        self._command = (
            program,
            *("--root", str(folder / "root"), "--runroot", str(folder / "run")),
            *("--storage-driver", "vfs"),
        )
        self._environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._command, *arguments],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout.strip()


def base_image(mmdebstrap: str, buildah: Buildah, folder: Path) -> None:
    """Debian under the name that the Dockerfile begins with: no registry of images is asked."""
    kept = UNPACKED / "base.tar"
    if not kept.exists():
        made, packages = folder / "made.tar", "--include=ca-certificates"
        command = [mmdebstrap, "--quiet", "--variant=apt", packages, "bookworm", str(made), MIRROR]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        shutil.move(made, kept)
    shutil.copy(kept, folder / "base.tar")
    (folder / "Dockerfile").write_text("FROM scratch\nADD base.tar /\n")
    buildah("bud", "-q", "-t", BASE, "-f", str(folder / "Dockerfile"), str(folder))


@contextmanager
def mounted(buildah: Buildah) -> Iterator[Path]:
    container = buildah("from", "--pull-never", IMAGE)
    try:
        yield Path(buildah("mount", container))
    finally:
        buildah("rm", container)


@pytest.mark.system
@pytest.mark.timeout(1500)
@pytest.mark.skipif(os.geteuid() != 0, reason="building and entering an image takes root")
def test_the_image_works_as_nobody_on_a_root_that_is_only_read(
    judge: Callable[[str], str], tables: ModuleType, tmp_path: Path
) -> None:
    buildah = Buildah(judge("buildah"), tmp_path / "storage")
    base_image(judge("mmdebstrap"), buildah, tmp_path)
    # What this machine trusts, so that a mirror of PyPI with its own authority is reached too.
    trust = [
        option
        for path in ("/etc/ssl/certs", "/etc/pip.conf")
        if os.path.exists(path)
        for option in ("-v", f"{path}:{path}:ro")
    ]
    buildah(
        *("bud", "--pull-never", "--build-arg", f"BASE={BASE}", *trust),
        *("-t", IMAGE, "-f", "docker/Dockerfile", "."),
    )
    told = json.loads(buildah("inspect", "--type", "image", IMAGE))["OCIv1"]["config"]
    assert told["User"] == "10001:10001"
    assert told["StopSignal"] == "SIGTERM"

    work = tmp_path / "tables"
    work.mkdir()
    table = tables.copy("dat-basic_partitioned", work)
    for path in (work, *work.rglob("*")):
        os.chown(path, 10001, 10001)

    variables = [*told["Env"], "DL_DATABASE=/tmp/tables/m.sqlite"]
    with mounted(buildah) as root:

        def run(*command: str) -> subprocess.CompletedProcess[str]:
            unshare = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", _ENTER, "enter"]
            return subprocess.run(
                [*unshare, str(root), str(work), *variables, *told["Entrypoint"], *command],
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )

        assert run("dl", "--help").returncode == 0
        assert run("id", "-u").stdout.strip() == "10001"
        assert "Read-only" in run("touch", "/opt/deltalakedb/x").stderr
        location = f"/tmp/tables/{table.name}"
        job = run("python", "-m", "jobs.import_tables", location)
        assert job.returncode == 0, job.stderr
        command = run("dl", "import", "--log-dir", location, "--mode", "full-history")
        assert command.returncode == 0, command.stderr
        swept = run("python", "-m", "jobs.parity_sweep", "--summary", "/tmp/tables/summary.json")
        assert swept.returncode == 0, swept.stderr
    (told_of,) = json.loads((work / "summary.json").read_text())["tables"]
    assert told_of["table"] == table.name
    shutil.rmtree(tmp_path / "storage")
