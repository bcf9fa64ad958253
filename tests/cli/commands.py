"""Calling `dl`: in this process for speed, or as users do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from deltalakedb.cli.app import app

DL = Path(sys.executable).with_name("dl")


def dl(*arguments: object, code: int = 0, **environment: str) -> Result:
    """Run a command here; `code` is the exit code that it must have."""
    result = CliRunner(env=environment).invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, f"{arguments}: {result.exit_code}\n{result.output}"
    return result


def dl_json(*arguments: object) -> Any:
    """The one object that a command writes."""
    return json.loads(dl(*arguments, "--format", "json").stdout)


def dl_lines(*arguments: object) -> list[Any]:
    """The objects that a command writes, one a line."""
    return [json.loads(line) for line in dl(*arguments, "--format", "json").stdout.splitlines()]


def error_of(*arguments: object, **environment: str) -> str:
    """The one line that a failing command writes."""
    result = dl(*arguments, code=1, **environment)
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


def process(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the installed script and wait for its end."""
    return _run(DL, *arguments, **options)


def python(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the interpreter in a process of its own and wait for its end."""
    return _run(sys.executable, *arguments, **options)


def _run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [str(a) for a in arguments]
    environment = {**os.environ, **options.pop("env", {})}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=240, env=environment, **options
    )
