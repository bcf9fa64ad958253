"""A queue of writers beside a SQLite file: who came first writes first, whoever dies makes way.

SQLite's own waiting is a lottery: among eight writers one waits for seconds and gives up. Here each
writer has a ticket, a locked file, and waits for the lock of the ticket before its own. The kernel
lets go of a dead process's lock. The queue is for fairness alone: what keeps transactions apart is
still the database's lock.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import time
from contextlib import suppress

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind, PermanentDatabaseError

_FIRST_PAUSE = 0.0002
_LONGEST_PAUSE = 0.002


class Turn:
    """A place in the queue, at its head once `take` returns."""

    def __init__(self, handle: int, path: str) -> None:
        self._handle = handle
        self._path = path

    @classmethod
    def take(cls, database: str, wait: float) -> Turn:
        """Queue up and wait. TIMEOUT_ERROR, naming who is before, after `wait` seconds."""
        folder = database + ".queue"
        own = os.path.join(folder, secrets.token_hex(8))
        try:
            handle = _ticket(folder, own)
            before = _queue_up(folder, own)
        except OSError as error:
            raise PermanentDatabaseError(
                DeltaLakeErrorKind.DATABASE_ERROR,
                f"can't make {folder}: {error.strerror}; SQLite's writers queue up beside the "
                "database, so its folder must be writable",
                file=folder,
            ) from None
        turn = cls(handle, own)
        try:
            turn._wait_for(before, wait)
        except BaseException:
            turn.end()
            raise
        return turn

    def _wait_for(self, before: str, wait: float) -> None:
        try:
            handle = os.open(before, os.O_RDWR | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            deadline = time.monotonic() + wait
            pause = _FIRST_PAUSE
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    return
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        holder = waiting(os.path.dirname(self._path).removesuffix(".queue"))
                        who = holder[0] if holder else "another process"
                        raise DeltaLakeError(
                            DeltaLakeErrorKind.TIMEOUT_ERROR,
                            f"{os.path.dirname(self._path).removesuffix('.queue')}: other writers "
                            f"are before this one, first {who}; run again, or end it if it hangs",
                            holder=who,
                        ) from None
                    time.sleep(pause)
                    pause = min(_LONGEST_PAUSE, pause * 1.5)
        finally:
            os.close(handle)

    def end(self) -> None:
        """Let the next one in."""
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        os.close(self._handle)


def _ticket(folder: str, own: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        handle = os.open(own, flags, 0o644)
    except FileNotFoundError:
        # Not the database's own folder, where that has gone.
        with suppress(FileExistsError):
            os.mkdir(folder)
        handle = os.open(own, flags, 0o644)
    fcntl.flock(handle, fcntl.LOCK_EX)
    os.write(handle, f"{os.getpid()} {socket.gethostname()} {time.time()}".encode())
    return handle


def _queue_up(folder: str, own: str) -> str:
    """Put our ticket at the end; the one that was there. The end is locked for a moment only."""
    tail = os.open(os.path.join(folder, "tail"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(tail, fcntl.LOCK_EX)
        before = os.pread(tail, 4096, 0).decode()
        os.pwrite(tail, os.path.basename(own).encode(), 0)
    finally:
        os.close(tail)
    return os.path.join(folder, before) if before else own + ".none"


def waiting(database: str) -> list[str]:
    """Who is in the queue, oldest first, for people."""
    found = []
    with suppress(FileNotFoundError):
        for entry in os.scandir(database + ".queue"):
            if entry.name == "tail":
                continue
            with suppress(OSError, ValueError), open(entry.path, encoding="ascii") as file:
                pid, host, since = file.read().split()
                found.append((float(since), pid, host))
    now = time.time()
    return [f"process {pid} on {host} for {now - t:.0f} s" for t, pid, host in sorted(found)]
