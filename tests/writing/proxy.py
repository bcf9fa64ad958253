"""A TCP proxy before a database server, which tells what a client asked and when it waited."""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import suppress

_LOCK = re.compile(rb"BEGIN[^;]*;.*(FOR UPDATE|EXECUTE select_table_key_from_dl_heads)")


class CountingProxy:
    """Passes bytes on. A trip is what a client sends until the server answers.

    `trips` are those of all connections in the order in which they began, `by` tells the
    connections apart. `cut`: the connection that next sends this word breaks, after they have
    `reached` the server or before; the client gets no answer.
    """

    delay = 0.0
    """Seconds by which each trip is held up."""
    cut: bytes | None = None
    cut_every = 0
    """So does each n-th time that they are sent, by turns after they reached the server or not."""
    cuts = 0
    _sent = 0
    reached = True

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.trips: list[bytes] = []
        self.by: list[int] = []
        self._open: list[socket.socket] = []
        self._counting = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """No more connections, and the end of those that there are."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for each in list(self._open):
            _end(each)

    def trips_in_lock(self, since: int) -> int:
        """How often the one commit among the trips from `since` on waits from its lock to the end.

        The trip that takes the lock waits for others' too; what comes after it is the commit's
        alone. Others' connections don't count.
        """
        trips = list(zip(self.by, self.trips, strict=False))[since:]
        ours, lock = next((by, i) for i, (by, sent) in enumerate(trips) if _LOCK.search(sent))
        after = [sent for by, sent in trips[lock:] if by == ours]
        [commit] = [i for i, sent in enumerate(after) if b"; COMMIT" in sent]
        return commit

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(self._server)
                for each in (client, server):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._open.append(each)
                # Whether the server has spoken since the client did, the client's trip, whether the
                # client hears no more, whether the server has heard its last words.
                state = [True, -1, False, False]
                for source, target, asks in ((client, server, True), (server, client, False)):
                    threading.Thread(
                        target=self._pass_on, args=(source, target, asks, state), daemon=True
                    ).start()

    def _is_to_be_cut(self, data: bytes) -> bool:
        if self.cut is None or not re.search(rb"\b%b\b" % re.escape(self.cut), data):
            return False
        with self._counting:
            self._sent += 1
            if not self.cut_every:
                self.cut = None
            elif self._sent % self.cut_every:
                return False
            else:
                self.reached = not self.reached
            self.cuts += 1
            return True

    def _pass_on(
        self, source: socket.socket, target: socket.socket, asks: bool, state: list[int]
    ) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if not asks:
                    state[0] = True
                elif state[0]:
                    with self._counting:
                        state[:2] = [False, len(self.trips)]
                        self.by.append(id(state))
                        self.trips.append(data)
                    time.sleep(self.delay)
                else:
                    self.trips[state[1]] += data
                if asks and self._is_to_be_cut(data):
                    state[2] = True
                    state[3] = self.reached
                    if state[3]:
                        target.sendall(data)
                    break
                if not state[2]:
                    target.sendall(data)
        # Of a broken connection the server still does what it was asked, if it was.
        for each in (source,) if state[2] and asks and state[3] else (source, target):
            _end(each)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
