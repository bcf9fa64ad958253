"""An S3 of the tests' own (moto's server, another process so that Dask workers reach it too)."""

from __future__ import annotations

import signal
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.process import ServerFolder, ServerProcess, free_port

KEY = "key-of-the-tests"
SECRET = "secret-of-the-tests"
REGION = "us-east-1"
PAGE = 100
"""Objects in a page of a listing (AWS: 1,000), so that few objects make several pages."""

# Moto looks whether a name is free and takes it afterwards: of two puts at once both may win.
_SERVER = """
import sys, threading
from moto.s3.responses import S3Response
from moto.server import main

lock, put = threading.Lock(), S3Response.put_object

def one_at_a_time(self):
    with lock:
        return put(self)

S3Response.put_object = one_at_a_time
main(sys.argv[1:])
"""


class S3Server:
    """Object storage in the memory of a process: what it holds is gone after `stop`."""

    def __init__(self) -> None:
        self._folder = ServerFolder("s3")
        self.port = free_port()
        self._process = ServerProcess(self._folder, "s3", last_signal=signal.SIGKILL)
        self.start()

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        self._process.start(
            [sys.executable, "-c", _SERVER, "--host=127.0.0.1", f"--port={self.port}"],
            lambda: urllib.request.urlopen(f"{self.endpoint_url}/moto-api/", timeout=5).read(),
            env={"MOTO_S3_DEFAULT_MAX_KEYS": str(PAGE)},
        )

    def stop(self) -> None:
        self._process.stop(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        self.stop()
        self._folder.close()


@dataclass(frozen=True)
class S3Bucket:
    """One bucket, and how to reach it: `options` is what users give as storage options."""

    endpoint_url: str
    name: str

    @property
    def options(self) -> dict[str, str]:
        return {
            "endpoint_url": self.endpoint_url,
            "key": KEY,
            "secret": SECRET,
            "region": REGION,
        }

    @property
    def client(self) -> Any:
        """A boto3 client."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name=REGION,
        )

    def url(self, name: str = "") -> str:
        return f"s3://{self.name}/{name}"

    def create(self) -> None:
        self.client.create_bucket(Bucket=self.name)

    def put(self, name: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=name, Body=data)

    def get(self, name: str) -> bytes:
        data: bytes = self.client.get_object(Bucket=self.name, Key=name)["Body"].read()
        return data

    def names(self, prefix: str = "") -> list[str]:
        """All keys that begin so, sorted."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=prefix
        )
        return [found["Key"] for page in pages for found in page.get("Contents", ())]

    def upload(self, folder: Path, name: str = "") -> str:
        """Copy a folder's files below `name`; the URL of the copy."""
        client = self.client
        for path in folder.rglob("*"):
            if path.is_file():
                key = f"{name}/{path.relative_to(folder).as_posix()}".lstrip("/")
                client.put_object(Bucket=self.name, Key=key, Body=path.read_bytes())
        return self.url(name)
