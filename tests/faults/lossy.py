"""An HTTP proxy before an object store: it loses questions and answers, and refuses some."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

Loses = Callable[[str, str], str]
_REFUSALS = {
    "throttled": (503, "SlowDown"),
    "expired": (400, "ExpiredToken"),
    "contended": (409, "ConditionalRequestConflict"),
    "broken": (500, "InternalError"),
    "denied": (403, "AccessDenied"),
    "late": (400, "RequestTimeout"),
}
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Nothing: clients that have hung up."""


class LossyProxy:
    """`loses(method, path)` says what becomes of a request: `""` (it is answered), `"answer"` (it
    is done, the connection breaks), `"half"` (it breaks in the middle of the answer), `"request"`
    (it breaks before anything is done) or one of _REFUSALS, S3's answers of other kinds.

    `expired`: session tokens that are refused; `lost`: what became of requests, but for those that
    were answered.
    """

    def __init__(self, endpoint_url: str, loses: Loses) -> None:
        expired = self.expired = set[str]()
        target = urlsplit(endpoint_url).netloc
        lost = self.lost = []  # type: list[tuple[str, str, str]]

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def _pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fate = loses(self.command, self.path)
                if self.headers.get("x-amz-security-token") in expired:
                    fate = "expired"
                if fate:
                    lost.append((fate, self.command, self.path))
                if fate == "request":
                    self._hang_up()
                    return
                if fate in _REFUSALS:
                    self._refuse(*_REFUSALS[fate])
                    return
                connection = http.client.HTTPConnection(target, timeout=240)
                try:
                    connection.request(self.command, self.path, body, dict(self.headers))
                    answer = connection.getresponse()
                    data = answer.read()
                finally:
                    connection.close()
                if fate == "answer":
                    self._hang_up()
                    return
                self.send_response(answer.status, answer.reason)
                for name, value in answer.getheaders():
                    if name.lower() not in _HOP_BY_HOP:
                        self.send_header(name, value)
                length = answer.getheader("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", length or str(len(data)))
                self.end_headers()
                if fate == "half":
                    self.wfile.write(data[: len(data) // 2])
                    self._hang_up()
                    return
                self.wfile.write(data)

            def _refuse(self, status: int, code: str) -> None:
                body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def _hang_up(self) -> None:
                self.close_connection = True
                self.connection.close()

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.endpoint_url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
