"""The protocol action: versions and table features, and what of it we know.

PROTOCOL.md, "Protocol Evolution", "Table Features", "Valid Feature Names in Table Features", and
the accepted RFCs (collations, type widening, variant, catalog-managed tables).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.record import record

READER_FEATURES_VERSION = 3
WRITER_FEATURES_VERSION = 7

KNOWN_READER_FEATURES = frozenset(
    {
        "catalogManaged",
        "collations",
        "columnMapping",
        "deletionVectors",
        "timestampNtz",
        "typeWidening",
        "typeWidening-preview",
        "v2Checkpoint",
        "vacuumProtocolCheck",
        "variantShredding",
        "variantShredding-preview",
        "variantType",
        "variantType-preview",
    }
)
"""Features whose meaning for the log we know; any other may change how the log is to be read."""

UNREADABLE_FEATURES = frozenset({"catalogManaged"})
"""Known features that we can't honour: a catalog-managed table's newest commits are known to its
catalog alone, so what the log shows may be old. Such tables are imported, and marked."""

FENCE_FEATURE = "deltalakedb.sqlAuthority"
"""Ours, of writers alone: a catalog in SQL decides, and others must not write to the log."""

WRITABLE_FEATURES = frozenset(
    {
        FENCE_FEATURE,
        "allowColumnDefaults",
        "appendOnly",
        "changeDataFeed",
        "checkConstraints",
        "checkpointProtection",
        "clustering",
        "columnMapping",
        "deletionVectors",
        "domainMetadata",
        "generatedColumns",
        "identityColumns",
        "inCommitTimestamp",
        "invariants",
        "rowTracking",
        "timestampNtz",
        "typeWidening",
        "typeWidening-preview",
        "v2Checkpoint",
        "vacuumProtocolCheck",
        "variantShredding",
        "variantShredding-preview",
        "variantType",
        "variantType-preview",
    }
)
"""Features whose duties on the log a commit of ours can meet."""


IMPLIED_SINCE = {
    "appendOnly": 2,
    "invariants": 2,
    "checkConstraints": 3,
    "changeDataFeed": 4,
    "generatedColumns": 4,
    "columnMapping": 5,
    "identityColumns": 6,
}
"""Features that writer versions imply from that one on (PROTOCOL.md, Table Features)."""


@record(frozen=True, slots=True)
class Protocol:
    """One protocol action. Feature lists are sorted, None where the action has none."""

    min_reader_version: int
    min_writer_version: int
    reader_features: tuple[str, ...] | None = None
    writer_features: tuple[str, ...] | None = None

    @classmethod
    def from_action(cls, action: Mapping[str, Any]) -> Protocol:
        """Parse the body of a `protocol` action; INVALID_LOG when a version is missing."""
        return cls(
            _version(action, "minReaderVersion"),
            _version(action, "minWriterVersion"),
            _features(action, "readerFeatures"),
            _features(action, "writerFeatures"),
        )

    @property
    def effective_reader_features(self) -> frozenset[str]:
        """Features that readers must honour, those that version 2 implies included."""
        if self.min_reader_version >= READER_FEATURES_VERSION:
            return frozenset(self.reader_features or ())
        return frozenset({"columnMapping"} if self.min_reader_version == 2 else ())

    def action(self) -> dict[str, Any]:
        """The body of a `protocol` action; lists only where the versions have them."""
        found: dict[str, Any] = {
            "minReaderVersion": self.min_reader_version,
            "minWriterVersion": self.min_writer_version,
        }
        if self.min_reader_version >= READER_FEATURES_VERSION:
            found["readerFeatures"] = list(self.reader_features or ())
        if self.min_writer_version >= WRITER_FEATURES_VERSION:
            found["writerFeatures"] = list(self.writer_features or ())
        return found

    def supports_reader_feature(self, name: str) -> bool:
        return name in self.effective_reader_features

    def supports_writer_feature(self, name: str) -> bool:
        """Feature lists count at writer version 7 alone; older versions imply theirs."""
        if self.min_writer_version >= WRITER_FEATURES_VERSION:
            return name in (self.writer_features or ())
        return self.min_writer_version >= IMPLIED_SINCE.get(name, WRITER_FEATURES_VERSION)


def _version(action: Mapping[str, Any], name: str) -> int:
    value = action.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_LOG,
            f"the protocol action has no whole number as {name} ({value!r}); restore the commit "
            "from a backup",
            field=name,
        )
    return value


def _features(action: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    value = action.get(name)
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_LOG,
            f"the protocol action's {name} is no list; restore the commit from a backup",
            field=name,
        )
    return tuple(sorted({str(feature) for feature in value}))


def check_known(protocol: Protocol) -> None:
    """Refuse a log that may mean something else than we think.

    Raises UNSUPPORTED_FEATURE naming the reader version or every unknown reader feature. Unknown
    writer features are fine for reading.
    """
    if protocol.min_reader_version > READER_FEATURES_VERSION:
        raise DeltaLakeError(
            DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
            f"the table needs reader version {protocol.min_reader_version}; versions up to "
            f"{READER_FEATURES_VERSION} are known here, upgrade deltalakedb",
            min_reader_version=protocol.min_reader_version,
        )
    unknown = sorted(protocol.effective_reader_features - KNOWN_READER_FEATURES)
    if unknown:
        raise DeltaLakeError(
            DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
            f"the table needs reader features that are unknown here: {', '.join(unknown)}; its log "
            "may mean something else, upgrade deltalakedb",
            features=unknown,
        )


def unreadable_features(protocol: Protocol) -> list[str]:
    """Reader features, sorted, that keep us from reading rows though the metadata is right."""
    return sorted(protocol.effective_reader_features & UNREADABLE_FEATURES)


def check_writable(protocol: Protocol, supported: frozenset[str] = WRITABLE_FEATURES) -> None:
    """Refuse to commit to a table whose protocol asks for more than `supported`.

    Raises UNSUPPORTED_FEATURE naming the version or every such feature. Whether a listed feature
    is active (a constraint to enforce, say) depends on the metadata and is the writer's business.
    """
    check_known(protocol)
    if protocol.min_writer_version > WRITER_FEATURES_VERSION:
        raise DeltaLakeError(
            DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
            f"the table needs writer version {protocol.min_writer_version}; versions up to "
            f"{WRITER_FEATURES_VERSION} are known here, upgrade deltalakedb or write with the "
            "engine that made the table",
            min_writer_version=protocol.min_writer_version,
        )
    if protocol.min_writer_version < WRITER_FEATURES_VERSION:
        return
    listed = set(protocol.writer_features or ()) | protocol.effective_reader_features
    missing = sorted(listed - supported)
    if missing:
        raise DeltaLakeError(
            DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
            f"the table has writer features that can't be honoured here: {', '.join(missing)}; "
            "write with the engine that made the table",
            features=missing,
        )
