"""`_last_checkpoint` and `<version>.crc`: what they hold, as bytes.

PROTOCOL.md, "Last Checkpoint File", "JSON checksum" and "Version Checksum File".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import orjson

from deltalakedb.log.commit_writer import metadata_body
from deltalakedb.log.metadata import Metadata
from deltalakedb.log.protocol import Protocol


def last_checkpoint(
    version: int,
    *,
    size: int,
    size_in_bytes: int,
    num_add_files: int,
    parts: int | None = None,
    v2: Mapping[str, Any] | None = None,
) -> bytes:
    """The content of `_last_checkpoint`, with its checksum.

    `size` counts the checkpoint's actions, `size_in_bytes` all its files. `v2` describes a V2
    checkpoint: path, sizeInBytes, modificationTime, nonFileActions, sidecarFiles.
    """
    found: dict[str, Any] = {
        "version": version,
        "size": size,
        "parts": parts,
        "sizeInBytes": size_in_bytes,
        "numOfAddFiles": num_add_files,
        "v2Checkpoint": v2,
    }
    found = {key: value for key, value in found.items() if value is not None}
    return orjson.dumps(found | {"checksum": json_checksum(found)})


def json_checksum(value: Mapping[str, Any]) -> str:
    """MD5 of the canonical form of a JSON object, its own `checksum` left out."""
    whole = {key: inner for key, inner in value.items() if key != "checksum"}
    pairs = sorted(_canonical(whole, ()), key=lambda pair: pair[0].encode())
    text = ",".join(f"{path}={leaf}" for path, leaf in pairs)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _canonical(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _canonical(inner, (*path, _text(key)))
    elif isinstance(value, (list, tuple)):
        for place, inner in enumerate(value):
            yield from _canonical(inner, (*path, str(place)))
    elif isinstance(value, str):
        yield "+".join(path), _text(value)
    else:
        yield "+".join(path), orjson.dumps(value).decode()


def _text(text: str) -> str:
    return f'"{quote(text, safe="-._~")}"'


def version_checksum(
    *,
    protocol: Protocol,
    metadata: Metadata,
    num_files: int,
    table_size_bytes: int,
    txn_id: str | None = None,
    in_commit_timestamp: int | None = None,
    txns: Sequence[Mapping[str, Any]] | None = None,
    domains: Sequence[Mapping[str, Any]] | None = None,
    num_deleted_records: int | None = None,
    num_deletion_vectors: int | None = None,
) -> bytes:
    """The content of `<version>.crc`: what the table has at that version.

    `in_commit_timestamp` is given exactly where the table has in-commit timestamps; `txns` and
    `domains` are bodies of all live actions, or None when they aren't known.
    """
    found: dict[str, Any] = {
        "txnId": txn_id,
        "tableSizeBytes": table_size_bytes,
        "numFiles": num_files,
        "numDeletedRecordsOpt": num_deleted_records,
        "numDeletionVectorsOpt": num_deletion_vectors,
        "numMetadata": 1,
        "numProtocol": 1,
        "inCommitTimestampOpt": in_commit_timestamp,
        "setTransactions": None if txns is None else [_present(txn) for txn in txns],
        "domainMetadata": None if domains is None else [_present(each) for each in domains],
        "metadata": _present(metadata_body(metadata)),
        "protocol": protocol.action(),
    }
    return orjson.dumps(_present(found), option=orjson.OPT_APPEND_NEWLINE)


def _present(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if value is not None}
