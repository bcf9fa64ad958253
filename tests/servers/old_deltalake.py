"""An old deltalake in an environment of its own: what it does before a fence is held against ours.

Made when the first test marked `system` asks for it, by `uv` in `.servers/old-deltalake`; some
seconds, and 60 MB.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

UNPACKED = Path(__file__).parents[2] / ".servers" / "old-deltalake"
REQUIREMENTS = ("deltalake<=0.27", "pyarrow>=16", "setuptools")
ADVICE = "it is installed by uv from the package index; set DL_SKIP_SERVERS=old-deltalake without"


def old_python() -> Path | None:
    """The interpreter that has it; None where it can't be installed."""
    UNPACKED.parent.mkdir(exist_ok=True)
    python = UNPACKED / "bin" / "python"
    with (UNPACKED.parent / ".old-deltalake.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (UNPACKED / "complete").exists():
            shutil.rmtree(UNPACKED, ignore_errors=True)
            uv = [sys.executable, "-m", "uv"]
            made = subprocess.run(
                [*uv, "venv", "--quiet", "--python", sys.executable, str(UNPACKED)], check=False
            )
            install = [*uv, "pip", "install", "--quiet", "--python", str(python), *REQUIREMENTS]
            if made.returncode or subprocess.run(install, check=False).returncode:
                return None
            (UNPACKED / "complete").touch()
    return python
