"""The command line, `dl`. Commands are loaded when they are called."""

from __future__ import annotations

from deltalakedb.without_pandas import without_pandas


def main() -> None:
    """The console script: runs a command and exits with its code."""
    from deltalakedb.cli.app import run

    without_pandas()
    run()
