"""A small Delta log that a test writes itself, action by action, and may change afterwards."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Action = dict[str, Any]

T0 = 1_700_000_000_000
"""Milliseconds: when commit 0 was made; each further one a second later."""

SCHEMA = json.dumps(
    {
        "type": "struct",
        "fields": [
            {"name": "id", "type": "long", "nullable": True, "metadata": {}},
            {
                "name": "place",
                "type": {
                    "type": "struct",
                    "fields": [
                        {"name": "city", "type": "string", "nullable": True, "metadata": {}}
                    ],
                },
                "nullable": True,
                "metadata": {},
            },
            {"name": "day", "type": "string", "nullable": True, "metadata": {}},
        ],
    }
)
VECTOR = {
    "storageType": "u",
    "pathOrInlineDv": "vBn[lx{q8@P<9BNH/isA",
    "offset": 1,
    "sizeInBytes": 36,
    "cardinality": 2,
}


def add(name: str, **fields: Any) -> Action:
    stats = json.dumps({"numRecords": 10, "minValues": {"id": 1}, "maxValues": {"id": 9}})
    plain = {
        "path": name,
        "partitionValues": {"day": "2024-01-01"},
        "size": 100,
        "modificationTime": T0,
        "dataChange": True,
        "stats": stats,
    }
    return {"add": plain | fields}


def remove(name: str) -> Action:
    return {"remove": {"path": name, "deletionTimestamp": T0, "dataChange": True}}


PROTOCOL = {
    "protocol": {
        "minReaderVersion": 3,
        "minWriterVersion": 7,
        "readerFeatures": ["deletionVectors"],
        "writerFeatures": ["deletionVectors", "domainMetadata"],
    }
}
METADATA = {
    "metaData": {
        "id": "5fba94ed-9794-4965-ba6e-6ee3c0d22af9",
        "name": "people",
        "description": "who lives where",
        "format": {"provider": "parquet", "options": {}},
        "schemaString": SCHEMA,
        "partitionColumns": ["day"],
        "configuration": {"delta.enableDeletionVectors": "true", "owner": "ann"},
        "createdTime": T0,
    }
}
COMMITS: list[list[Action]] = [
    [PROTOCOL, METADATA, add("day=2024-01-01/a%20b.parquet"), add("gone.parquet")],
    [
        remove("gone.parquet"),
        add("b.parquet", partitionValues={"day": None}),
        add("v.parquet", deletionVector=VECTOR),
        {"txn": {"appId": "stream", "version": 7, "lastUpdated": T0}},
    ],
    [
        add("c.parquet"),
        {"domainMetadata": {"domain": "app.x", "configuration": '{"a":1}', "removed": False}},
    ],
    [add("d.parquet", size=1234)],
]
"""Four versions, five live files at the end."""


def live_state(commits: list[list[Action]] = COMMITS) -> list[Action]:
    """What a checkpoint of the last version holds; a copy that may be changed."""
    removed = {a["remove"]["path"] for c in commits for a in c if "remove" in a}
    kept = [
        a
        for c in commits
        for a in c
        if "remove" not in a and a.get("add", {}).get("path") not in removed
    ]
    return copy.deepcopy(kept)


class Log:
    """A `_delta_log` under `folder`, with file times that don't depend on the clock."""

    def __init__(self, folder: Path) -> None:
        self.table = folder
        self.folder = folder / "_delta_log"

    @classmethod
    def write(cls, folder: Path, commits: list[list[Action]] = COMMITS) -> Log:
        log = cls(folder)
        log.folder.mkdir(parents=True)
        for version, actions in enumerate(commits):
            log.commit(version, actions)
        return log

    def path(self, version: int, suffix: str = ".json") -> Path:
        return self.folder / f"{version:020d}{suffix}"

    def commit(self, version: int, actions: list[Action], time_ms: int | None = None) -> None:
        """Write a commit, over what is there."""
        lines = [{"commitInfo": {"timestamp": T0, "operation": "WRITE"}}, *actions]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        self.path(version).write_text(text)
        self.touch(self.path(version), T0 + 1000 * version if time_ms is None else time_ms)

    @staticmethod
    def touch(path: Path, time_ms: int) -> None:
        os.utime(path, ns=(time_ms * 10**6, time_ms * 10**6))

    def checkpoint(self, version: int, actions: list[Action], time_ms: int = T0) -> Path:
        """Write a classic checkpoint, over what is there."""
        path = self.path(version, ".checkpoint.parquet")
        rows = [{kind: _as_maps(kind, body) for kind, body in a.items()} for a in actions]
        pq.write_table(pa.Table.from_pylist(rows, _CHECKPOINT), path, row_group_size=3)
        self.touch(path, time_ms)
        return path

    def change(self, path: Path, old: str, new: str, *, keep_time: bool = True) -> None:
        """Replace text inside a file, by default without a trace in its time."""
        before = path.stat()
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        if keep_time:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def of(actions: list[Action], kind: str, where: Callable[[Action], bool] = bool) -> Action:
    """The body of the first action of a kind."""
    return next(a[kind] for a in actions if kind in a and where(a[kind]))


def file(actions: list[Action], path: str) -> Action:
    return of(actions, "add", lambda body: body["path"] == path)


def _as_maps(kind: str, body: Action) -> Action:
    maps = {"add": ["partitionValues"], "metaData": ["configuration"]}.get(kind, [])
    return {k: list(v.items()) if k in maps else v for k, v in body.items()}


_TEXTS = pa.map_(pa.string(), pa.string())
_CHECKPOINT = pa.schema(
    [
        (
            "add",
            pa.struct(
                [
                    ("path", pa.string()),
                    ("partitionValues", _TEXTS),
                    ("size", pa.int64()),
                    ("modificationTime", pa.int64()),
                    ("dataChange", pa.bool_()),
                    ("stats", pa.string()),
                    (
                        "deletionVector",
                        pa.struct(
                            [
                                ("storageType", pa.string()),
                                ("pathOrInlineDv", pa.string()),
                                ("offset", pa.int32()),
                                ("sizeInBytes", pa.int32()),
                                ("cardinality", pa.int64()),
                            ]
                        ),
                    ),
                ]
            ),
        ),
        (
            "metaData",
            pa.struct(
                [
                    ("id", pa.string()),
                    ("name", pa.string()),
                    ("description", pa.string()),
                    ("format", pa.struct([("provider", pa.string())])),
                    ("schemaString", pa.string()),
                    ("partitionColumns", pa.list_(pa.string())),
                    ("configuration", _TEXTS),
                    ("createdTime", pa.int64()),
                ]
            ),
        ),
        (
            "protocol",
            pa.struct(
                [
                    ("minReaderVersion", pa.int32()),
                    ("minWriterVersion", pa.int32()),
                    ("readerFeatures", pa.list_(pa.string())),
                    ("writerFeatures", pa.list_(pa.string())),
                ]
            ),
        ),
        (
            "txn",
            pa.struct(
                [("appId", pa.string()), ("version", pa.int64()), ("lastUpdated", pa.int64())]
            ),
        ),
        (
            "domainMetadata",
            pa.struct(
                [("domain", pa.string()), ("configuration", pa.string()), ("removed", pa.bool_())]
            ),
        ),
    ]
)
