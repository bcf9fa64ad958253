"""Which table features a schema and properties call for, and what protocol has them.

PROTOCOL.md, "Table Features", "Creation of New Tables", "Supported Features", and the sections of
the features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.protocol import (
    IMPLIED_SINCE,
    KNOWN_READER_FEATURES,
    READER_FEATURES_VERSION,
    WRITER_FEATURES_VERSION,
    Protocol,
    check_writable,
)
from deltalakedb.log.schema import (
    CURRENT_DEFAULT,
    GENERATION,
    IDENTITY_PREFIX,
    INVARIANTS,
    MAPPING_MODE,
    TYPE_CHANGES,
    ArrayType,
    DataType,
    MapType,
    PrimitiveType,
    StructField,
    StructType,
)

FEATURE_PREFIX = "delta.feature."
CONSTRAINT_PREFIX = "delta.constraints."
BASE = Protocol(1, 2)
"""What a table without any further feature has, as Spark and delta-rs make it."""

_NEEDS = {
    "rowTracking": ("domainMetadata",),
    "clustering": ("domainMetadata",),
    "icebergCompatV1": ("columnMapping",),
    "icebergCompatV2": ("columnMapping",),
}
_SWITCHES = {
    "delta.appendOnly": "appendOnly",
    "delta.enableChangeDataFeed": "changeDataFeed",
    "delta.enableDeletionVectors": "deletionVectors",
    "delta.enableRowTracking": "rowTracking",
    "delta.enableInCommitTimestamps": "inCommitTimestamp",
    "delta.enableTypeWidening": "typeWidening",
    "delta.enableVariantShredding": "variantShredding",
    "delta.enableIcebergCompatV1": "icebergCompatV1",
    "delta.enableIcebergCompatV2": "icebergCompatV2",
    "delta.enableIcebergCompatV3": "icebergCompatV3",
}
_READER_LEGACY = "columnMapping"


def enabled(configuration: Mapping[str, str | None], name: str) -> bool:
    """Whether a switch among the table's properties is on."""
    return (configuration.get(name) or "").strip().lower() == "true"


def features_of(schema: StructType, configuration: Mapping[str, str | None]) -> frozenset[str]:
    """The table features that a table of this schema and these properties has to support.

    `delta.feature.NAME` set to `supported` or `enabled` asks for NAME itself.
    """
    found = set(_of_properties(configuration))
    for field in _fields(schema):
        found |= _of_metadata(field.metadata)
        found |= _of_type(field.type)
    for name in list(found):
        found.update(_NEEDS.get(name, ()))
    return frozenset(found)


def _of_properties(configuration: Mapping[str, str | None]) -> Iterator[str]:
    for key, value in configuration.items():
        if key in _SWITCHES:
            if enabled(configuration, key):
                yield _SWITCHES[key]
        elif key.startswith(CONSTRAINT_PREFIX):
            yield "checkConstraints"
        elif key.startswith(FEATURE_PREFIX):
            if (value or "").lower() in ("supported", "enabled"):
                yield key.removeprefix(FEATURE_PREFIX)
        elif key == MAPPING_MODE:
            if (value or "none").lower() != "none":
                yield "columnMapping"
        elif key == "delta.checkpointPolicy" and (value or "").lower() == "v2":
            yield "v2Checkpoint"


def _of_metadata(metadata: Mapping[str, Any]) -> set[str]:
    found = set()
    if INVARIANTS in metadata:
        found.add("invariants")
    if GENERATION in metadata:
        found.add("generatedColumns")
    if CURRENT_DEFAULT in metadata:
        found.add("allowColumnDefaults")
    if any(key.startswith(IDENTITY_PREFIX) for key in metadata):
        found.add("identityColumns")
    if TYPE_CHANGES in metadata:
        found.add("typeWidening")
    return found


def _of_type(type: DataType) -> set[str]:
    names = set(_primitives(type))
    found = set()
    if "timestamp_ntz" in names:
        found.add("timestampNtz")
    if "variant" in names:
        found.add("variantType")
    if any(" collate " in name for name in names):
        found.add("collations")
    return found


def _primitives(type: DataType) -> Iterator[str]:
    """Primitive types, in arrays and maps too; those in structs are met with their fields."""
    if isinstance(type, PrimitiveType):
        yield type.name
    elif isinstance(type, ArrayType):
        yield from _primitives(type.element)
    elif isinstance(type, MapType):
        yield from _primitives(type.key)
        yield from _primitives(type.value)


def _fields(type: DataType) -> Iterator[StructField]:
    """All fields of all structs, also of those in arrays and maps."""
    if isinstance(type, StructType):
        for field in type.fields:
            yield field
            yield from _fields(field.type)
    elif isinstance(type, ArrayType):
        yield from _fields(type.element)
    elif isinstance(type, MapType):
        yield from _fields(type.key)
        yield from _fields(type.value)


def implied_features(protocol: Protocol) -> frozenset[str]:
    """All features a table of this protocol supports: listed, or implied by its versions."""
    if protocol.min_writer_version >= WRITER_FEATURES_VERSION:
        return frozenset(protocol.writer_features or ()) | protocol.effective_reader_features
    return frozenset(
        name for name, since in IMPLIED_SINCE.items() if since <= protocol.min_writer_version
    )


def protocol_with(protocol: Protocol, features: Iterable[str]) -> Protocol:
    """The least protocol at or above `protocol` that supports `features` too.

    Versions stay as low as they can, so that older readers and writers stay admitted: features
    that versions imply raise the versions, the others make it 1/7 or 3/7, whose lists then hold
    what the old versions implied. The same protocol when nothing is missing.
    """
    wanted = set(features)
    for name in list(wanted):
        wanted.update(_NEEDS.get(name, ()))
    missing = wanted - implied_features(protocol)
    if not missing:
        return protocol
    if protocol.min_writer_version < WRITER_FEATURES_VERSION and missing <= set(IMPLIED_SINCE):
        writer = max(protocol.min_writer_version, *(IMPLIED_SINCE[name] for name in missing))
        reader = max(protocol.min_reader_version, 2 if _READER_LEGACY in missing else 1)
        return Protocol(reader, writer)
    listed = implied_features(protocol) | missing
    of_readers = listed & KNOWN_READER_FEATURES
    reader = protocol.min_reader_version
    if of_readers - {_READER_LEGACY}:
        reader = READER_FEATURES_VERSION
    elif of_readers:
        reader = max(reader, 2)
    lists_readers = reader >= READER_FEATURES_VERSION
    return Protocol(
        reader,
        WRITER_FEATURES_VERSION,
        tuple(sorted(of_readers | set(protocol.reader_features or ()))) if lists_readers else None,
        tuple(sorted(listed)),
    )


def protocol_for(
    schema: StructType, configuration: Mapping[str, str | None], base: Protocol = BASE
) -> Protocol:
    """The protocol of a table with this schema and these properties, at least `base`.

    Properties `delta.minReaderVersion` and `delta.minWriterVersion` raise the versions.
    Raises UNSUPPORTED_FEATURE naming every feature that can't be written here.
    """
    reader = _version(configuration, "delta.minReaderVersion", base.min_reader_version)
    writer = _version(configuration, "delta.minWriterVersion", base.min_writer_version)
    if (reader, writer) != (base.min_reader_version, base.min_writer_version):
        base = _raised(base, reader, writer)
    found = protocol_with(base, features_of(schema, configuration))
    check_writable(found)
    return found


def _raised(base: Protocol, reader: int, writer: int) -> Protocol:
    reader, writer = max(reader, base.min_reader_version), max(writer, base.min_writer_version)
    if reader >= READER_FEATURES_VERSION:
        writer = max(writer, WRITER_FEATURES_VERSION)
    if writer < WRITER_FEATURES_VERSION or base.min_writer_version >= WRITER_FEATURES_VERSION:
        lists = (base.reader_features, base.writer_features)
        if reader >= READER_FEATURES_VERSION and lists[0] is None:
            lists = (tuple(sorted(base.effective_reader_features)), lists[1])
        return Protocol(reader, writer, *lists)
    readers = base.effective_reader_features | ({_READER_LEGACY} if reader == 2 else set())
    return Protocol(
        reader,
        writer,
        tuple(sorted(readers)) if reader >= READER_FEATURES_VERSION else None,
        tuple(sorted(implied_features(base) | readers)),
    )


def _version(configuration: Mapping[str, str | None], name: str, default: int) -> int:
    text = configuration.get(name)
    if text is None:
        return default
    try:
        return int(text)
    except ValueError:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"table property {name} is {text!r}, which is no whole number; give a protocol version",
            property=name,
        ) from None


def logged_configuration(configuration: Mapping[str, str | None]) -> dict[str, str]:
    """The properties that belong into `metaData.configuration`.

    `delta.feature.*`, `delta.minReaderVersion` and `delta.minWriterVersion` say what the protocol
    is to be, and are kept there alone.
    """
    return {
        key: value
        for key, value in configuration.items()
        if value is not None
        and not key.startswith(FEATURE_PREFIX)
        and key not in ("delta.minReaderVersion", "delta.minWriterVersion")
    }
