"""An HTTP proxy before an object store: what it is asked it does, and may lose the answer."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

Loses = Callable[[str, str], str]
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


class LossyProxy:
    """`loses(method, path)` says what becomes of a request: `""` (it is answered), `"answer"` (it
    is done, the connection breaks) or `"request"` (it breaks before anything is done)."""

    def __init__(self, endpoint_url: str, loses: Loses) -> None:
        target = urlsplit(endpoint_url).netloc
        lost = self.lost = []  # type: list[tuple[str, str, str]]

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def _pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fate = loses(self.command, self.path)
                if fate:
                    lost.append((fate, self.command, self.path))
                if fate == "request":
                    self._hang_up()
                    return
                connection = http.client.HTTPConnection(target, timeout=60)
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
                self.wfile.write(data)

            def _hang_up(self) -> None:
                self.close_connection = True
                self.connection.close()

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint_url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
