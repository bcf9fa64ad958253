"""Generated logs, and a replay of them that is too simple to be wrong.

A log is a list of commits, a commit a list of actions as JSON has them. PROTOCOL.md, "Action
Reconciliation": the newest action for a logical file, an appId, a domain wins; inside a commit
the order means nothing, and a commit that both removes and adds a logical file leaves it live.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from deltalakedb.log.commit import ActionReader, ActionRows

Action = dict[str, Any]
Commit = list[Action]
Log = list[Commit]
Key = tuple[str, str | None]

SCHEMA = json.dumps(
    {
        "type": "struct",
        "fields": [
            {"name": "id", "type": "long", "nullable": True, "metadata": {}},
            {"name": "p", "type": "string", "nullable": True, "metadata": {}},
        ],
    }
)
PATHS = ("a.parquet", "p=1/b.parquet", "p=x%20y/c%25.parquet")
VECTORS = (
    None,
    {"storageType": "i", "pathOrInlineDv": "wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L"},
    {"storageType": "u", "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^", "offset": 4},
)


def table_commit(configuration: dict[str, str] | None = None) -> Commit:
    """The protocol and metadata that a log begins with."""
    return [
        {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
        {
            "metaData": {
                "id": "5fba94ed-9794-4965-ba6e-6ee3c0d22af9",
                "format": {"provider": "parquet", "options": {}},
                "schemaString": SCHEMA,
                "partitionColumns": ["p"],
                "configuration": configuration or {},
                "createdTime": 1,
            }
        },
    ]


def _vector(number: int) -> Action:
    vector = VECTORS[number]
    if vector is None:
        return {}
    return {"deletionVector": {**vector, "sizeInBytes": 40, "cardinality": 6}}


def add(path: str, dv: int = 0, size: int = 1, value: str | None = None) -> Action:
    """An add action; `dv` is a position in VECTORS."""
    body = {
        "path": path,
        "partitionValues": {"p": value},
        "size": size,
        "modificationTime": size,
        "dataChange": True,
        "stats": json.dumps({"numRecords": size, "minValues": {"id": size}, "maxValues": {}}),
    }
    return {"add": body | _vector(dv)}


def remove(path: str, dv: int = 0, at: int | None = None) -> Action:
    body: dict[str, Any] = {"path": path, "dataChange": True}
    return {"remove": body | _vector(dv) | ({} if at is None else {"deletionTimestamp": at})}


# Drawn as one of a list each: a log is then a few small numbers, quick to make and to shrink.
_FILE_ACTIONS = [
    *(
        add(path, dv, size, value)
        for path in PATHS
        for dv in range(len(VECTORS))
        for size, value in ((1, None), (2, "1"), (3, "x y"), (4, ""))
    ),
    *(remove(path, dv, at) for path in PATHS for dv in range(len(VECTORS)) for at in (None, 7, 8)),
]
_OTHER_ACTIONS: list[Action] = [
    *(
        {"txn": {"appId": app, "version": version, **updated}}
        for app in ("app", "App")
        for version in (5, 1)
        for updated in ({}, {"lastUpdated": 3})
    ),
    *(
        {"domainMetadata": {"domain": name, "configuration": text, "removed": gone}}
        for name, text in (("d1", "{}"), ("d1", ""), ("d2", "{}"))
        for gone in (False, True)
    ),
    *(table_commit(configuration)[1] for configuration in ({}, {"k": "1"}, {"k": "2"})),
    {"protocol": {"minReaderVersion": 1, "minWriterVersion": 4}},
    *({"cdc": {"path": f"_change_data/{n}", "size": n}} for n in range(2)),
    *({"futureAction": {"n": n}} for n in range(2)),
    *({"commitInfo": {"operation": name}} for name in ("WRITE", "MERGE")),
]


@st.composite
def commits(draw: st.DrawFn) -> Commit:
    """File actions of any kind, also several of one file; of the rest one of a key."""
    files = draw(st.lists(st.sampled_from(_FILE_ACTIONS), max_size=5))
    rest: dict[str, Action] = {}
    for action in draw(st.lists(st.sampled_from(_OTHER_ACTIONS), max_size=2)):
        [(kind, body)] = action.items()
        rest[f"{kind}:{body.get('appId', body.get('domain', ''))}"] = action
    return files + list(rest.values()) or [{"commitInfo": {}}]


def logs(least: int = 1, most: int = 8) -> st.SearchStrategy[Log]:
    """Logs that begin with protocol and metadata at version 0."""
    return st.lists(commits(), min_size=least - 1, max_size=most - 1).map(
        lambda rest: [table_commit(), *rest]
    )


def commit_bytes(commit: Commit) -> bytes:
    return b"".join(json.dumps(action).encode() + b"\n" for action in commit)


def read(log: Log, first: int, last: int) -> ActionRows:
    """The commits first..last of a log through the reader under test."""
    reader = ActionReader()
    for version in range(first, last + 1):
        reader.commit(
            version, commit_bytes(log[version]), name=f"{version:020d}.json", file_time=version
        )
    return reader.finish()


def key_of(body: Action) -> Key:
    vector = body.get("deletionVector")
    if vector is None:
        return body["path"], None
    offset = f"@{vector['offset']}" if "offset" in vector else ""
    return body["path"], vector["storageType"] + vector["pathOrInlineDv"] + offset


@dataclass
class NaiveState:
    """What holds after some commits, by plain dictionaries."""

    files: dict[Key, Action] = field(default_factory=dict)
    txns: dict[str, Action] = field(default_factory=dict)
    domains: dict[str, str] = field(default_factory=dict)
    metadata: Action | None = None
    protocol: Action | None = None

    def apply(self, commit: Commit) -> None:
        for action in commit:
            if "remove" in action:
                self.files.pop(key_of(action["remove"]), None)
        for action in commit:
            [(kind, body)] = action.items()
            if kind == "add":
                self.files[key_of(body)] = body
            elif kind == "txn":
                self.txns[body["appId"]] = body
            elif kind == "domainMetadata":
                self.domains.pop(body["domain"], None)
                if not body.get("removed"):
                    self.domains[body["domain"]] = body["configuration"]
            elif kind == "metaData":
                self.metadata = body
            elif kind == "protocol":
                self.protocol = body


def naive(log: Iterable[Commit]) -> NaiveState:
    state = NaiveState()
    for commit in log:
        state.apply(commit)
    return state


def cuts(log: Sequence[Commit], marks: Iterable[int]) -> list[tuple[int, int]]:
    """(first, last) of the pieces of a log that is cut before each of `marks`."""
    edges = sorted({0, len(log), *(m % len(log) for m in marks)})
    return [(a, b - 1) for a, b in pairwise(edges)]
