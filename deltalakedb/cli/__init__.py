"""The command line, `dl`. Commands are loaded when they are called."""

from __future__ import annotations

import os

from deltalakedb.without_pandas import without_pandas


def main() -> None:
    """The console script: runs a command and exits with its code."""
    from deltalakedb.cli.app import run

    # numpy's BLAS starts threads with its import, which cost more than many a command; no command
    # multiplies matrices.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    without_pandas()
    run()
