"""Writes commits of a synthetic log: JSON lines, commitInfo as Spark has it, file times."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

from benchmarks.synthetic import Files

ENGINE = "Apache-Spark/3.5.3 Delta-Lake/3.2.1"
APP_ID = "4a0a5b6c-ingest"


class CommitLog:
    """Numbers and writes commits; file times are the commit times, as `DESCRIBE HISTORY` needs."""

    def __init__(self, log_dir: Path, version: int, seed: int, *, dry: bool, info: bool) -> None:
        self.version = version
        self.last_ms = 0
        self.txn: dict[str, Any] | None = None
        self._dir = log_dir
        self._seed = seed
        self.dry = dry
        self._info = info

    def write(
        self, lines: list[str], time_ms: int, operation: str, parameters: str, metrics: str
    ) -> None:
        """Write the next version."""
        self.version += 1
        self.last_ms = time_ms
        if self.dry:
            return
        if self._info:
            txn = uuid.UUID(int=((self._seed << 64) | self.version) & (2**128 - 1))
            lines = [
                f'{{"commitInfo":{{"timestamp":{time_ms},"operation":"{operation}",'
                f'"operationParameters":{parameters},"readVersion":{self.version - 1},'
                f'"isolationLevel":"SnapshotIsolation","isBlindAppend":'
                f"{'false' if operation == 'OPTIMIZE' else 'true'},"
                f'"operationMetrics":{metrics},"engineInfo":"{ENGINE}","txnId":"{txn}"}}}}',
                *lines,
            ]
        path = f"{self._dir}/{self.version:020d}.json"
        with open(path, "wb", buffering=0) as out:
            out.write(("\n".join(lines) + "\n").encode())
        os.utime(path, ns=(time_ms * 1_000_000, time_ms * 1_000_000))

    def append(self, adds: list[str], time_ms: int) -> None:
        """Write a streaming append; without commitInfo it holds the adds alone."""
        lines = adds
        if self._info:
            self.txn = {"appId": APP_ID, "version": self.version + 1, "lastUpdated": time_ms}
            lines = [json.dumps({"txn": self.txn}, separators=(",", ":")), *adds]
        self.write(
            lines,
            time_ms,
            "STREAMING UPDATE",
            f'{{"outputMode":"Append","queryId":"{APP_ID}","epochId":"{self.version}"}}',
            f'{{"numRemovedFiles":"0","numOutputRows":"0","numAddedFiles":"{len(adds)}"}}',
        )

    def optimize(self, lines: list[str], added: int, removed: int, time_ms: int) -> None:
        """Write a compaction."""
        self.write(
            lines,
            time_ms,
            "OPTIMIZE",
            '{"predicate":"[]","zOrderBy":"[]","auto":false}',
            f'{{"numRemovedFiles":"{removed}","numAddedFiles":"{added}"}}',
        )


def add_lines(files: Files, *, data_change: bool) -> list[str]:
    """The add actions of files, one JSON text each."""
    flag = "true" if data_change else "false"
    lines = []
    for path, values, size, modified, stats in zip(
        files.paths(),
        files.partition_texts(),
        files.size.tolist(),
        files.modified_ms.tolist(),
        files.stats_texts(),
        strict=True,
    ):
        escaped = stats.replace('"', '\\"')
        lines.append(
            f'{{"add":{{"path":"{path}","partitionValues":{values},"size":{size},'
            f'"modificationTime":{modified},"dataChange":{flag},"stats":"{escaped}"}}}}'
        )
    return lines


def remove_line(path: str, values: str, size: int, deleted_ms: int) -> str:
    """A remove action of a compaction."""
    return (
        f'{{"remove":{{"path":"{path}","deletionTimestamp":{deleted_ms},"dataChange":false,'
        f'"extendedFileMetadata":true,"partitionValues":{values},"size":{size}}}}}'
    )
