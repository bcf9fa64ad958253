"""A server of S3 for the benchmark: gofakes3, built from `benchmarks/fakes3` where Go is there."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from obstore.store import S3Store

from benchmarks.measure import ROOT
from benchmarks.servers import ServerMissing
from tests.servers.process import free_port

_SOURCE = Path(__file__).parent / "fakes3"
_BINARY = ROOT / ".servers" / "fakes3" / "fakes3"
_BUCKET = "bench"
_DEADLINE_SECONDS = 30.0


@dataclass(frozen=True)
class Bucket:
    """An empty bucket; `environment` is what a process needs to reach it."""

    endpoint_url: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def upload(self, folder: Path) -> str:
        """All files below a folder, under its name; the s3:// URL of the copy."""
        store = S3Store(
            _BUCKET,
            endpoint=self.endpoint_url,
            access_key_id="key",
            secret_access_key="secret",
            region="us-east-1",
            client_options={"allow_http": True},
        )
        files = [path for path in folder.rglob("*") if path.is_file()]

        def put(path: Path) -> None:
            store.put(f"{folder.name}/{path.relative_to(folder)}", path.read_bytes())

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, files))
        return f"s3://{_BUCKET}/{folder.name}"


@contextmanager
def bucket() -> Iterator[Bucket]:
    """A bucket in the memory of a server that ends with the block."""
    binary = _built()
    port = free_port()
    server = subprocess.Popen(
        [str(binary), f"127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait(server, port)
        endpoint = f"http://127.0.0.1:{port}"
        _make_bucket(endpoint)
        yield Bucket(endpoint)
    finally:
        server.kill()
        server.wait()


def _built() -> Path:
    go = shutil.which("go")
    if _BINARY.exists():
        return _BINARY
    if go is None:
        raise ServerMissing("no server of S3 for benchmarks: install Go, which builds gofakes3")
    _BINARY.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [go, "build", "-o", str(_BINARY), "."],
        cwd=_SOURCE,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ServerMissing(f"gofakes3 can't be built: {done.stderr.strip()[-300:]}")
    return _BINARY


def _make_bucket(endpoint_url: str) -> None:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=_BUCKET)


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + _DEADLINE_SECONDS
    while time.monotonic() < end and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise ServerMissing("gofakes3 doesn't answer")
