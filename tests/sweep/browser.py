"""A headless Chromium, by its own protocol, for pages that are files."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.conftest import IN_CI

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_SECONDS = 240


def chromium() -> str:
    """The browser; a machine that has none skips, in CI it fails."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        advice = "no Chromium to look at the report with: `apt-get install chromium`"
        (pytest.fail if IN_CI else pytest.skip)(advice)
    return str(found)


class Page:
    """A tab. `requests`: URLs that it has asked for; `complaints`: what its console says."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self._connection = connection
        self._number = 0
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.loaded = False

    async def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol; what it gives."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        await self._connection.write_message(json.dumps(message))
        while True:
            found = await self._next()
            if found.get("id") == message["id"]:
                assert "error" not in found, found
                return found["result"]

    async def _next(self) -> dict[str, Any]:
        text = await asyncio.wait_for(self._connection.read_message(), _SECONDS)
        assert text is not None
        found: dict[str, Any] = json.loads(text)
        method, parameters = found.get("method"), found.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Log.entryAdded":
            self.complaints.append(parameters["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(parameters["exceptionDetails"].get("text")))
        elif method == "Page.loadEventFired":
            self.loaded = True
        return found

    async def open(self, url: str, *, scheme: str = "light") -> None:
        """Go to a page and wait until it is there."""
        for domain in ("Network", "Page", "Log", "Runtime"):
            await self.call(f"{domain}.enable")
        feature = {"name": "prefers-color-scheme", "value": scheme}
        await self.call("Emulation.setEmulatedMedia", features=[feature])
        await self.call("Page.navigate", url=url)
        while not self.loaded:
            await self._next()

    async def value(self, expression: str) -> Any:
        """What an expression gives on the page."""
        done = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return done["result"].get("value")

    async def press(self, key: str) -> None:
        """A key that writes a character."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": key} if kind == "keyDown" else {}
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, **text)


@contextmanager
def browser() -> Iterator[str]:
    """The address at which a new Chromium listens."""
    with tempfile.TemporaryDirectory(prefix="dl-chromium-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                chromium(),
                *("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"),
                *("--no-first-run", "--disable-extensions", f"--user-data-dir={profile}"),
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port = Path(profile) / "DevToolsActivePort"
            deadline = time.monotonic() + _SECONDS
            while not (port.exists() and port.read_text().strip()):
                assert process.poll() is None, "Chromium has ended"
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port.read_text().split()[0]}"
        finally:
            process.kill()
            process.wait()


async def tab(address: str) -> Page:
    """The first tab of a browser."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError, StopIteration):
            with urlopen(f"{address}/json/list", timeout=_SECONDS) as answer:
                pages = json.loads(answer.read())
            found = next(p for p in pages if p["type"] == "page")
            url = found["webSocketDebuggerUrl"]
            return Page(await websocket_connect(url, max_message_size=64 << 20))
        await asyncio.sleep(0.05)
    raise AssertionError("Chromium shows no tab")
