"""A server program in a folder of its own, which never outlives the tests that started it."""

from __future__ import annotations

import os
import pwd
import random
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

# Waits for the end of whoever holds the other end of its standard input: closed on purpose, or
# because that process died (SIGKILL too). Then it ends what still runs and removes the folder.
_GUARD = """
cat >/dev/null
cd "$1" || exit 0
for f in *.running; do [ -f "$f" ] && kill $(cat "$f") 2>/dev/null && sleep 1; done
cd / && rm -rf "$1"
"""


class ServerError(Exception):
    """A server didn't start or stop; the message holds the end of its log."""


def free_port() -> int:
    """A port of 127.0.0.1 nobody listens on, outside the range the system hands out by itself.

    So no outgoing connection takes it while a server is down between a stop and a start.
    """
    # Test processes that run side by side (xdist) don't take each other's while a server is down.
    process, processes = (
        int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")),
        int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")),
    )
    while True:
        port = random.SystemRandom().randrange(18000 + process, 32000, processes)
        if port in _GIVEN:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _GIVEN.add(port)
            return port


_GIVEN = set[int]()
"""Ports that servers of this process have, also while they are down."""


def other_user() -> dict[str, Any]:
    """Arguments of `Popen` that run a program as `nobody` when we are root, else none."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


class ServerFolder:
    """A temporary folder that others can enter, with a guard that empties it when we are gone.

    pytest's own temporary folders are closed to other users, and PostgreSQL refuses to run as root.
    """

    def __init__(self, name: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=f"dl-{name}-", dir=_open_temporary_folder()))
        self.path.chmod(0o755)
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", str(self.path)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def close(self) -> None:
        """End what still runs here and remove the folder."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait()


def _open_temporary_folder() -> str:
    for candidate in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        path = Path(candidate).resolve()
        if all(p.stat().st_mode & stat.S_IXOTH for p in (path, *path.parents)):
            return str(path)
    raise ServerError("no temporary folder that other users can enter (set TMPDIR to one)")


class ServerProcess:
    """One program in a `ServerFolder`: started until it answers, stopped until it is gone."""

    def __init__(self, folder: ServerFolder, name: str, *, last_signal: signal.Signals) -> None:
        self.log = folder.path / f"{name}.log"
        self._running = folder.path / f"{name}.running"
        self._last_signal = last_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id; only while it runs."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(
        self,
        command: Sequence[str | Path],
        answers: Callable[[], object],
        *,
        env: Mapping[str, str] | None = None,
        seconds: float = 240,
        **popen: Any,
    ) -> None:
        """Run `command` and return when `answers()` no longer raises; else `ServerError`."""
        assert not self.is_running(), "the server runs already"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(c) for c in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=None if env is None else {**os.environ, **env},
                start_new_session=True,  # Ctrl-C is for the tests, which then stop us in order
                **popen,
            )
        self._running.write_text(f"-{int(self._last_signal)} {self._process.pid}")
        deadline = time.monotonic() + seconds
        while True:
            try:
                answers()
            except Exception as error:  # every driver has its own "not yet"
                if not self.is_running() or time.monotonic() > deadline:
                    self.stop(signal.SIGKILL)
                    why = f"{command[0]} does not answer ({error}); the end of its log:"
                    raise ServerError(f"{why}\n{self.tail()}") from error
                time.sleep(0.02)
            else:
                return

    def stop(self, how: signal.Signals, *, seconds: float = 240) -> None:
        """Send a signal and wait for the end; nothing to do when it doesn't run."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                raise ServerError(f"{self.log.stem} did not stop:\n{self.tail()}") from None
        self._process = None
        self._running.unlink(missing_ok=True)

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
