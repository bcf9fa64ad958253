"""Protocols follow from schema and properties, and grow as the protocol says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.features import (
    features_of,
    logged_configuration,
    protocol_for,
    protocol_with,
)
from deltalakedb.log.protocol import Protocol
from deltalakedb.log.schema import StructType, parse_schema


def schema(type: Any = "long", **metadata: Any) -> StructType:
    fields = [{"name": "a", "type": type, "nullable": True, "metadata": metadata}]
    return parse_schema(json.dumps({"type": "struct", "fields": fields}))


@pytest.mark.parametrize(
    ("struct", "configuration", "features"),
    [
        (schema(), {"delta.appendOnly": "false", "x": "y"}, set()),
        (schema(), {"delta.appendOnly": "true"}, {"appendOnly"}),
        (schema(), {"delta.enableDeletionVectors": "TRUE"}, {"deletionVectors"}),
        (schema(), {"delta.enableRowTracking": "true"}, {"rowTracking", "domainMetadata"}),
        (schema(), {"delta.constraints.c": "a > 1"}, {"checkConstraints"}),
        (schema(), {"delta.columnMapping.mode": "name"}, {"columnMapping"}),
        (schema(), {"delta.columnMapping.mode": "none"}, set()),
        (schema(), {"delta.checkpointPolicy": "v2"}, {"v2Checkpoint"}),
        (schema(), {"delta.feature.vacuumProtocolCheck": "supported"}, {"vacuumProtocolCheck"}),
        (schema("timestamp_ntz"), {}, {"timestampNtz"}),
        (
            schema({"type": "array", "elementType": "timestamp_ntz", "containsNull": True}),
            {},
            {"timestampNtz"},
        ),
        (schema("variant"), {}, {"variantType"}),
        (schema(**{"delta.generationExpression": "1"}), {}, {"generatedColumns"}),
        (schema(**{"delta.invariants": "{}"}), {}, {"invariants"}),
        (schema(CURRENT_DEFAULT="1"), {}, {"allowColumnDefaults"}),
        (schema(**{"delta.identity.start": 1}), {}, {"identityColumns"}),
    ],
)
def test_features_that_a_table_calls_for(
    struct: StructType, configuration: dict[str, str], features: set[str]
) -> None:
    assert features_of(struct, configuration) == features


LEGACY_4 = ("appendOnly", "changeDataFeed", "checkConstraints", "generatedColumns", "invariants")


@pytest.mark.parametrize(
    ("old", "features", "new"),
    [
        (Protocol(1, 2), {"appendOnly"}, Protocol(1, 2)),
        (Protocol(1, 2), {"changeDataFeed"}, Protocol(1, 4)),
        (Protocol(1, 2), {"columnMapping"}, Protocol(2, 5)),
        (
            Protocol(1, 2),
            {"deletionVectors"},
            Protocol(3, 7, ("deletionVectors",), ("appendOnly", "deletionVectors", "invariants")),
        ),
        (
            Protocol(1, 4),
            {"inCommitTimestamp"},
            Protocol(1, 7, None, tuple(sorted((*LEGACY_4, "inCommitTimestamp")))),
        ),
        (
            Protocol(2, 5),
            {"timestampNtz"},
            Protocol(
                3,
                7,
                ("columnMapping", "timestampNtz"),
                tuple(sorted((*LEGACY_4, "columnMapping", "timestampNtz"))),
            ),
        ),
        (
            Protocol(1, 7, None, ("appendOnly",)),
            {"columnMapping"},
            Protocol(2, 7, None, ("appendOnly", "columnMapping")),
        ),
        (
            Protocol(3, 7, (), ("appendOnly",)),
            {"columnMapping"},
            Protocol(3, 7, ("columnMapping",), ("appendOnly", "columnMapping")),
        ),
        (
            Protocol(1, 7, None, ()),
            {"rowTracking"},
            Protocol(1, 7, None, ("domainMetadata", "rowTracking")),
        ),
    ],
)
def test_protocols_grow(old: Protocol, features: set[str], new: Protocol) -> None:
    assert protocol_with(old, features) == new
    assert protocol_with(new, features) == new


def test_protocol_of_a_new_table() -> None:
    assert protocol_for(schema(), {}) == Protocol(1, 2)
    asked = {"delta.minReaderVersion": "3", "delta.minWriterVersion": "7"}
    assert protocol_for(schema(), asked) == Protocol(3, 7, (), ("appendOnly", "invariants"))
    assert protocol_for(schema(), {"delta.minWriterVersion": "5", "delta.minReaderVersion": "2"}) \
        == Protocol(2, 5)  # fmt: skip
    assert logged_configuration(asked | {"delta.feature.x": "supported", "a": "b"}) == {"a": "b"}
    for configuration in (
        {"delta.feature.warpDrive": "supported"},
        {"delta.enableIcebergCompatV2": "true"},
    ):
        with pytest.raises(DeltaLakeError, match=r"warpDrive|icebergCompatV2") as caught:
            protocol_for(schema(), configuration)
        assert caught.value.kind is DeltaLakeErrorKind.UNSUPPORTED_FEATURE
    with pytest.raises(DeltaLakeError, match="whole number"):
        protocol_for(schema(), {"delta.minReaderVersion": "x"})
