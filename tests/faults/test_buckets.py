"""Imports from a bucket whose server throttles, breaks off, and whose credentials expire."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing.run import import_table
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from tests.faults.lossy import LossyProxy
from tests.servers.s3 import S3Bucket

COMMITS = 60
_TOKEN = """
import json, pathlib, sys
made = pathlib.Path(sys.argv[1])
made.write_text(made.read_text() + "x")
token = f"token-{len(made.read_text())}"
print(json.dumps({"Version": 1, "AccessKeyId": "key", "SecretAccessKey": "secret",
                  "SessionToken": token, "Expiration": "2100-01-01T00:00:00Z"}))
"""


@pytest.fixture
def log(s3: S3Bucket) -> S3Bucket:
    """A table of COMMITS commits of one file each."""
    store = open_store(StoreSpec(s3.url("t/_delta_log"), s3.options))
    schema = {"type": "struct", "fields": []}
    metadata = {
        "id": "2a1b7c1e-8f8e-4a0c-9d43-6a5f7ac9b001",
        "format": {"provider": "parquet", "options": {}},
        "schemaString": json.dumps(schema),
        "partitionColumns": [],
        "configuration": {},
    }
    start = [
        {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
        {"metaData": metadata},
    ]
    for version in range(COMMITS):
        add = {
            "path": f"part-{version}.parquet",
            "partitionValues": {},
            "size": 100 + version,
            "modificationTime": version,
            "dataChange": True,
        }
        lines = [*(start if version == 0 else []), {"add": add}]
        body = "\n".join(map(json.dumps, lines)).encode()
        store.put(f"{version:020}.json", body)
    return s3


@pytest.fixture
def unsteady(log: S3Bucket) -> Iterator[LossyProxy]:
    """Before its server a proxy that throttles, breaks off, and cuts answers short: each once."""
    fates = {5: "throttled", 9: "request", 14: "half", 21: "answer", 22: "throttled"}
    left = {f"{version:020}.json": fate for version, fate in fates.items()}

    def fate(_method: str, path: str) -> str:
        return left.pop(path.partition("?")[0].rpartition("/")[2], "")

    proxy = LossyProxy(log.endpoint_url, fate)
    yield proxy
    proxy.close()


def test_throttling_resets_and_cut_answers_are_survived(
    log: S3Bucket, unsteady: LossyProxy, tmp_path: Path
) -> None:
    options = {**log.options, "endpoint_url": unsteady.endpoint_url}
    result = import_table(
        log.url("t"), database=str(tmp_path / "catalog.db"), storage_options=options
    )
    assert result.live_files == result.adds == result.versions == COMMITS
    assert {fate for fate, *_ in unsteady.lost} == {"throttled", "request", "half", "answer"}
    sizes = [each["Size"] for each in _contents(log)]
    assert result.read_bytes == sum(sizes)
    # A listing by pages of what the server gives, and one that tells whether there is a log.
    assert COMMITS + 2 <= result.requests <= COMMITS + 4
    assert result.to_json()["requests"] == result.requests


def test_credentials_that_expire_before_their_time_are_renewed(
    log: S3Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "tokens"
    made.write_text("")
    script = tmp_path / "token.py"
    script.write_text(_TOKEN)
    config = tmp_path / "config"
    config.write_text(
        f"[default]\nregion = us-east-1\ncredential_process = {sys.executable} {script} {made}\n"
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    answered = count(1)

    def fate(_method: str, path: str) -> str:
        if ".json" in path and next(answered) == COMMITS // 2:
            proxy.expired.add("token-1")
        return ""

    proxy = LossyProxy(log.endpoint_url, fate)
    try:
        options = {"endpoint_url": proxy.endpoint_url}
        database = str(tmp_path / "catalog.db")
        result = import_table(log.url("t"), database=database, storage_options=options)
        assert result.live_files == COMMITS
        assert Counter(fate for fate, *_ in proxy.lost)["expired"] > 0
        # One renewal for all that were under way.
        assert made.read_text() == "xx"
        # Where new ones are refused too, that is said.
        proxy.expired |= {"token-2", "token-3"}
        with pytest.raises(DeltaLakeError, match="ExpiredToken") as caught:
            import_table(log.url("t"), database=database, storage_options=options)
        assert caught.value.kind is DeltaLakeErrorKind.AUTHENTICATION_ERROR
        assert "secret" not in str(caught.value)
    finally:
        proxy.close()


def _contents(log: S3Bucket) -> list[dict[str, int]]:
    pages = log.client.get_paginator("list_objects_v2").paginate(Bucket=log.name)
    return [each for page in pages for each in page["Contents"]]
