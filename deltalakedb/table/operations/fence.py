"""The fence: what keeps file-based writers out of a table that SQL ratifies, and lets readers in.

A writer feature of ours in the protocol, which others have to refuse, and properties that say who
decides now. A `metaData` action goes with it: protocol alone doesn't stop delta-rs where it has a
table of writer version 7 open. So does a feature that is known to all: deltalake 0.25 leaves out
those that it doesn't know, and refuses only this one. PROTOCOL.md, "Table Features".
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import orjson

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.records import TableRow
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.features import implied_features, protocol_with
from deltalakedb.log.metadata import Metadata
from deltalakedb.log.protocol import FENCE_FEATURE, Protocol
from deltalakedb.log.rows import LIVE
from deltalakedb.mirror.publish import RETURNED
from deltalakedb.redact import redact

_TARGET = "deltalakedb.target"
_CATALOG = "deltalakedb.catalogId"
_EPOCH = "deltalakedb.epoch"
_CONTACT = "deltalakedb.contact"
_BEFORE = "deltalakedb.protocolBefore"
PROPERTIES = (_TARGET, _CATALOG, _EPOCH, _CONTACT, _BEFORE)
_GUARD = "domainMetadata"
_GUARDED = {"clustering", "rowTracking"}
"""Features that need the guard for themselves."""
OPERATION = "SET AUTHORITY"
"""What the commitInfo of a fence, and of its removal, calls itself."""


def is_fenced(protocol: Protocol) -> bool:
    """Whether the protocol keeps file-based writers out."""
    return FENCE_FEATURE in (protocol.writer_features or ())


@dataclass(frozen=True)
class FenceMark:
    """Whose fence it is: the catalog's id, and the epoch that it began there."""

    catalog_id: str | None
    epoch: int


def mark_of(metadata: Metadata) -> FenceMark:
    """What the properties say of the fence."""
    said = metadata.configuration.get(_EPOCH) or ""
    return FenceMark(metadata.configuration.get(_CATALOG), int(said) if said.isdigit() else 0)


def fenced(
    protocol: Protocol,
    metadata: Metadata,
    row: TableRow,
    catalog_id: str,
    epoch: int,
    contact: str | None = None,
) -> tuple[Protocol, Metadata]:
    """Both behind the fence, which names where to write now: no secret is in it."""
    target = f"deltasql table {row.full_name} ({row.table_id})"
    before = json.dumps(protocol.action(), separators=(",", ":"))
    configuration = {
        **metadata.configuration,
        _BEFORE: metadata.configuration.get(_BEFORE, before) if is_fenced(protocol) else before,
        _TARGET: redact(target),
        _CATALOG: catalog_id,
        _EPOCH: str(epoch),
        **({_CONTACT: redact(contact)} if contact else {}),
    }
    return (
        protocol_with(protocol, [FENCE_FEATURE, _GUARD]),
        replace(metadata, configuration=configuration),
    )


def unfenced(protocol: Protocol, metadata: Metadata) -> tuple[Protocol, Metadata]:
    """Both without the fence: the protocol from before it, and what was enabled since."""
    before = protocol_before(metadata)
    features = implied_features(protocol) - {FENCE_FEATURE}
    if before is not None and not features & _GUARDED:
        features -= {_GUARD} - implied_features(before)
    if before is not None and features == implied_features(before):
        protocol = before
    else:
        kept = tuple(f for f in protocol.writer_features or () if f in features)
        protocol = replace(protocol, writer_features=kept)
    configuration = {k: v for k, v in metadata.configuration.items() if k not in PROPERTIES}
    return protocol, replace(metadata, configuration=configuration)


def fenced_as(
    now: tuple[Protocol, Metadata], protocol: Protocol, metadata: Metadata
) -> tuple[Protocol, Metadata]:
    """Those of an earlier version behind the fence of `now`; without one where none stands."""
    present, properties = now[0], now[1].configuration
    configuration = {k: v for k, v in metadata.configuration.items() if k not in PROPERTIES}
    configuration |= {k: v for k, v in properties.items() if k in PROPERTIES}
    if is_fenced(present):
        protocol = protocol_with(protocol, [FENCE_FEATURE, _GUARD])
    elif is_fenced(protocol):
        protocol, _ = unfenced(protocol, metadata)
    return protocol, replace(metadata, configuration=configuration)


def protocol_before(metadata: Metadata) -> Protocol | None:
    """The protocol before the fence, as its properties say; None where they don't."""
    said = metadata.configuration.get(_BEFORE)
    return None if said is None else Protocol.from_action(orjson.loads(said))


def features_since(before: Protocol, now: Protocol) -> list[str]:
    """Features that writers or readers have to know of now, the fence apart, and hadn't before."""
    return sorted(set(implied_features(now)) - set(implied_features(before)) - {FENCE_FEATURE})


@dataclass(frozen=True)
class Said:
    """What a commit's file says that matters to a fence."""

    token: str | None = None
    protocol: Protocol | None = None
    metadata: Metadata | None = None
    timestamp: int | None = None
    in_commit_timestamp: int | None = None
    gives_back: bool = False
    info: dict[str, Any] | None = None


def said_by(data: bytes) -> Said:
    """Read the small actions of a commit; its files aren't parsed. PROTOCOL.md, "Actions"."""
    found = Said()
    for line in data.splitlines():
        start = line[:40]
        if not any(name in start for name in (b"commitInfo", b"protocol", b"metaData")):
            continue
        action = orjson.loads(line)
        if "commitInfo" in action:
            info = action["commitInfo"]
            found = replace(
                found,
                token=info.get("txnId"),
                timestamp=info.get("timestamp"),
                in_commit_timestamp=info.get("inCommitTimestamp"),
                gives_back=RETURNED in info,
                info=info,
            )
        elif "protocol" in action:
            found = replace(found, protocol=Protocol.from_action(action["protocol"]))
        elif "metaData" in action:
            found = replace(found, metadata=Metadata.from_action(action["metaData"]))
    return found


def check_own_fence(catalog: LightCatalog, protocol: Protocol, metadata: Metadata) -> None:
    """MIRROR_CONFLICT where another catalog has fenced the table: two would ratify."""
    if not is_fenced(protocol):
        return
    owner = mark_of(metadata).catalog_id
    if owner != catalog.catalog_id:
        raise DeltaLakeError(
            DeltaLakeErrorKind.MIRROR_CONFLICT,
            f"another catalog ({owner}) ratifies this table, as the fence in its log says; write "
            "through that one, or, where it is lost for good, take over with `dl cutover "
            "--take-over`",
            catalog_id=owner,
        )


def check_own_head(catalog: LightCatalog, row: TableRow) -> None:
    """The same of a table's head, by the catalog alone; MIRROR_CONFLICT."""
    found = catalog.reader.rows(
        "SELECT p.body, m.body FROM dl_protocols p "
        f"JOIN dl_metadata m ON m.load_id = p.load_id AND m.removed_version = {LIVE} "
        f"WHERE p.load_id = ? AND p.removed_version = {LIVE}",
        (row.live_load,),
    )
    for protocol, metadata in found:
        if FENCE_FEATURE in protocol:
            check_own_fence(
                catalog,
                Protocol.from_action(orjson.loads(protocol)),
                Metadata.from_action(orjson.loads(metadata)),
            )
