"""Names inside `_delta_log`, and the paths that actions carry.

PROTOCOL.md, "Delta Log Entries", "Checkpoints", "Log Compaction Files", "Version Checksum File",
"Staged commit". Versions have exactly 20 digits, part numbers exactly 10; a name of any other
shape is a stranger in the folder and is ignored.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

_VERSION = r"(?P<version>[0-9]{20})"
_UUID = r"[^./]{36}"
_COMMIT = re.compile(rf"{_VERSION}\.json")
_CHECKPOINT = re.compile(
    rf"{_VERSION}\.checkpoint"
    rf"(?:\.(?P<part>[0-9]{{10}})\.(?P<parts>[0-9]{{10}})|\.(?P<uuid>{_UUID}))?"
    r"\.(?P<format>parquet|json)"
)
_COMPACTED = re.compile(rf"{_VERSION}\.(?P<last>[0-9]{{20}})\.compacted\.json")
_CHECKSUM = re.compile(rf"{_VERSION}\.crc")
_STAGED = re.compile(rf"_staged_commits/{_VERSION}\.(?P<uuid>{_UUID})\.json")
_SIDECAR = re.compile(r"_sidecars/[^/]+\.parquet")

# 2^63 - 1 marks "still live" in interval rows, so it can't be a version.
_GREATEST_VERSION = 2**63 - 2

_ABSOLUTE = re.compile(r"/|[A-Za-z][A-Za-z0-9+.\-]*:/")
_ESCAPES = re.compile(r"(?:%[0-9A-Fa-f]{2})+")


@dataclass(frozen=True, slots=True)
class CommitFile:
    """A published commit, `<version>.json`."""

    version: int


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """A checkpoint or one part of it.

    `part` (from 1) and `parts` are set for multi-part names alone, `uuid` for uuid-named (V2) ones
    alone; with neither the name is classic. `format` is "parquet" or "json". A classic name says
    nothing about the content, which may be V1 or V2.
    """

    version: int
    format: str
    part: int | None = None
    parts: int | None = None
    uuid: str | None = None


@dataclass(frozen=True, slots=True)
class CompactedFile:
    """The reconciled actions of the commits `version` to `last`, both included."""

    version: int
    last: int


@dataclass(frozen=True, slots=True)
class ChecksumFile:
    """`<version>.crc`."""

    version: int


@dataclass(frozen=True, slots=True)
class StagedCommitFile:
    """`_staged_commits/<version>.<uuid>.json`; only the table's catalog knows if it counts."""

    version: int
    uuid: str


@dataclass(frozen=True, slots=True)
class SidecarFile:
    """`_sidecars/<unique>.parquet`, file actions that a V2 checkpoint points to."""

    name: str


@dataclass(frozen=True, slots=True)
class LastCheckpointFile:
    """`_last_checkpoint`, a hint at a recent checkpoint."""


LogFile = (
    CommitFile
    | CheckpointFile
    | CompactedFile
    | ChecksumFile
    | StagedCommitFile
    | SidecarFile
    | LastCheckpointFile
)


def parse_log_name(name: str) -> LogFile | None:
    """What `name`, relative to `_delta_log` with forward slashes, is; None for anything unknown."""
    if found := _COMMIT.fullmatch(name):
        version = _version(found["version"])
        return None if version is None else CommitFile(version)
    if found := _CHECKPOINT.fullmatch(name):
        return _checkpoint(found)
    if found := _CHECKSUM.fullmatch(name):
        version = _version(found["version"])
        return None if version is None else ChecksumFile(version)
    if name == "_last_checkpoint":
        return LastCheckpointFile()
    if found := _COMPACTED.fullmatch(name):
        version, last = _version(found["version"]), _version(found["last"])
        if version is None or last is None or last <= version:
            return None
        return CompactedFile(version, last)
    if _SIDECAR.fullmatch(name):
        return SidecarFile(name)
    if found := _STAGED.fullmatch(name):
        version = _version(found["version"])
        return None if version is None else StagedCommitFile(version, found["uuid"])
    return None


def _checkpoint(found: re.Match[str]) -> CheckpointFile | None:
    version = _version(found["version"])
    if version is None:
        return None
    if found["part"] is not None:
        part, parts = int(found["part"]), int(found["parts"])
        if found["format"] != "parquet" or not 1 <= part <= parts:
            return None
        return CheckpointFile(version, "parquet", part=part, parts=parts)
    if found["uuid"] is None and found["format"] != "parquet":
        return None
    return CheckpointFile(version, found["format"], uuid=found["uuid"])


def _version(digits: str) -> int | None:
    version = int(digits)
    return version if version <= _GREATEST_VERSION else None


def commit_name(version: int) -> str:
    """`<version>.json` with 20 digits."""
    return f"{version:020d}.json"


def is_absolute(raw: str) -> bool:
    """Whether a path of an action or sidecar stands for itself: `/…` or `scheme:/…`."""
    return _ABSOLUTE.match(raw) is not None


def decode_path(raw: str) -> str:
    """A path as the object store knows it: percent-decoded exactly once, as UTF-8.

    Escapes that aren't two hexadecimal digits, or whose bytes aren't UTF-8, stay as they are.
    PROTOCOL.md, "Add File and Remove File": paths are RFC 2396 URIs, so `%25` stands for `%`.
    """
    if "%" not in raw:
        return raw
    return _ESCAPES.sub(lambda run: unquote_to_bytes(run[0]).decode("utf-8", _KEEP), raw)


def encode_path(name: str) -> str:
    """The name of an object as actions hold it: what `decode_path` turns back.

    Everything but what RFC 2396 leaves alone in a path is percent-encoded as UTF-8.
    """
    return quote(name, safe="/=-_.!~*'()+,@&$;")


def _keep_escapes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return "".join(f"%{byte:02X}" for byte in wrong), error.end


_KEEP = "deltalakedb.keep_escapes"
codecs.register_error(_KEEP, _keep_escapes)
