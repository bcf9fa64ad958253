"""What properties and features of a table make of its metadata and protocol: pure.

PROTOCOL.md, "Table Features", "Column Mapping". Operations and parameters are named as Spark
names them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.features import (
    CONSTRAINT_PREFIX,
    FEATURE_PREFIX,
    enabled,
    features_of,
    implied_features,
    logged_configuration,
    protocol_for,
    protocol_with,
)
from deltalakedb.log.metadata import TableSchema
from deltalakedb.log.protocol import (
    KNOWN_READER_FEATURES,
    WRITABLE_FEATURES,
    WRITER_FEATURES_VERSION,
    Protocol,
)
from deltalakedb.log.row_tracking import with_column_names
from deltalakedb.log.schema import StructType, column_mapping_mode
from deltalakedb.log.schema_writer import schema_string
from deltalakedb.log.table_properties import (
    IN_COMMIT_TIMESTAMPS,
    TIMED_SINCE,
    TIMED_SINCE_VERSION,
    interval_ms,
)
from deltalakedb.table.operations import columns
from deltalakedb.table.operations.alter import Altered
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.fence import PROPERTIES
from deltalakedb.write.properties import COMPRESSION_CODEC, is_codec
from deltalakedb.write.schema import MAX_COLUMN_ID, with_column_mapping
from deltalakedb.write.target import parse_size

_DROPPABLE = frozenset(
    {
        "allowColumnDefaults",
        "appendOnly",
        "changeDataFeed",
        "checkConstraints",
        "generatedColumns",
        "invariants",
    }
)
"""Writers' features that leave nothing behind in the log once no metadata uses them."""


def _is_switch(text: str) -> bool:
    return text.strip().lower() in ("true", "false")


_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,9}\s*", re.ASCII)


def _at_least(least: int) -> Callable[[str], bool]:
    return lambda text: _WHOLE.fullmatch(text) is not None and int(text) >= least


def _is_interval(text: str) -> bool:
    found = interval_ms(text)
    return found is not None and found >= 0


def _is_size(text: str) -> bool:
    return parse_size(text) is not None


def _is_any(text: str) -> bool:
    return True


_PROPERTIES: Mapping[str, Callable[[str], bool]] = {
    "delta.appendOnly": _is_switch,
    "delta.autoOptimize.autoCompact": _is_any,
    "delta.autoOptimize.optimizeWrite": _is_any,
    "delta.checkpoint.writeStatsAsJson": _is_switch,
    "delta.checkpoint.writeStatsAsStruct": _is_switch,
    "delta.checkpointInterval": _at_least(1),
    "delta.checkpointPolicy": lambda text: text in ("classic", "v2"),
    "delta.checkpointRetentionDuration": _is_interval,
    "delta.columnMapping.mode": lambda text: text in ("none", "name", "id"),
    "delta.compatibility.symlinkFormatManifest.enabled": _is_switch,
    "delta.dataSkippingNumIndexedCols": _at_least(-1),
    "delta.dataSkippingStatsColumns": _is_any,
    "delta.dataSkippingStringPrefixLength": _at_least(0),
    "delta.deletedFileRetentionDuration": _is_interval,
    "delta.enableChangeDataFeed": _is_switch,
    "delta.enableDeletionVectors": _is_switch,
    "delta.enableExpiredLogCleanup": _is_switch,
    "delta.enableInCommitTimestamps": _is_switch,
    "delta.enableRowTracking": _is_switch,
    "delta.enableTypeWidening": _is_switch,
    "delta.enableVariantShredding": _is_switch,
    "delta.isolationLevel": lambda text: (
        text in ("Serializable", "WriteSerializable", "SnapshotIsolation")
    ),
    "delta.logRetentionDuration": _is_interval,
    "delta.minReaderVersion": _at_least(1),
    "delta.minWriterVersion": _at_least(1),
    COMPRESSION_CODEC: is_codec,
    "delta.randomizeFilePrefixes": _is_switch,
    "delta.randomPrefixLength": _at_least(1),
    "delta.setTransactionRetentionDuration": _is_interval,
    "delta.targetFileSize": _is_size,
    "delta.tuneFileSizesForRewrites": _is_switch,
    "delta.universalFormat.enabledFormats": _is_any,
}


_OF_FEATURES = (
    CONSTRAINT_PREFIX,
    FEATURE_PREFIX,
    "delta.columnMapping.",
    "delta.inCommitTimestampEnablement",
    "delta.rowTracking.",
)
"""How properties begin that name something of the table, or that writers note for themselves."""


def support(base: Base, features: Sequence[Any], *, may_raise: bool) -> Altered:
    """With more table features. UNSUPPORTED_FEATURE for those that can't be honoured here."""
    names = [feature_name(feature) for feature in features]
    unknown = sorted(set(names) - WRITABLE_FEATURES)
    if unknown:
        raise DeltaLakeError(
            DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
            f"features that can't be honoured here: {', '.join(unknown)}; use some of "
            f"{', '.join(sorted(WRITABLE_FEATURES))}",
            features=unknown,
        )
    protocol = protocol_with(base.protocol, names)
    before = (base.protocol.min_reader_version, base.protocol.min_writer_version)
    raised = (protocol.min_reader_version, protocol.min_writer_version)
    if raised != before and not may_raise:
        raise DeltaLakeError(
            DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
            f"{', '.join(names)} takes protocol {raised[0]}/{raised[1]}, which shuts older "
            "readers and writers out; allow it with allow_protocol_versions_increase=True",
            features=names,
        )
    return Altered(
        metadata=base.metadata,
        protocol=protocol,
        operation="ADD FEATURE",
        parameters={"name": names},
    )


def feature_name(feature: Any) -> str:
    """A feature's name as the protocol has it, from that or delta-rs's enumeration."""
    text = feature if isinstance(feature, str) else str(feature).rpartition(".")[2]
    known = {name.lower(): name for name in WRITABLE_FEATURES | KNOWN_READER_FEATURES}
    return known.get(text.replace("_", "").lower(), text)


def unsupport(base: Base, feature: Any) -> Altered:
    """Without a feature. INVALID_ARGUMENT while something uses it, UNSUPPORTED_FEATURE for those
    that the log's history needs."""
    name = feature_name(feature)
    listed = implied_features(base.protocol)
    if name not in listed:
        raise _invalid(
            f"{base.row.full_name} doesn't have the feature {name}; it has "
            f"{', '.join(sorted(listed)) or 'none'}"
        )
    if name not in _DROPPABLE:
        raise DeltaLakeError(
            DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
            f"the feature {name} of {base.row.full_name} can't be dropped here, since readers of "
            f"older versions need it; {', '.join(sorted(_DROPPABLE))} can",
            features=[name],
        )
    if name in features_of(base.struct, base.metadata.configuration):
        raise _invalid(
            f"{base.row.full_name} uses {name}; take away the constraints, columns or properties "
            "that need it first"
        )
    rest = tuple(sorted(listed - {name}))
    protocol = Protocol(
        base.protocol.min_reader_version,
        WRITER_FEATURES_VERSION,
        base.protocol.reader_features,
        rest,
    )
    return Altered(
        metadata=base.metadata,
        protocol=protocol,
        operation="DROP FEATURE",
        parameters={"featureName": name},
    )


def configure(base: Base, properties: Mapping[str, str], *, known: bool) -> Altered:
    """With other properties, and the features that these need."""
    for key, text in properties.items():
        check_property(key, text, known=known)
    return configured(base, properties, "SET TBLPROPERTIES", {"properties": dict(properties)})


def check_property(key: str, text: str, *, known: bool) -> None:
    """INVALID_ARGUMENT for a property that can't be set so."""
    if key.startswith(CONSTRAINT_PREFIX):
        raise _invalid(f"{key} is a constraint; use add_constraint, which looks at the rows")
    if key == MAX_COLUMN_ID:
        raise _invalid(f"{key} counts the columns by itself; leave it out")
    if not key.startswith("delta.") or key.startswith(FEATURE_PREFIX):
        return
    if known and key not in _PROPERTIES:
        raise _invalid(
            f"there is no table property {key}; check its spelling, or give "
            "raise_if_not_exists=False"
        )
    check_value(key, text)


def check_known(key: str) -> None:
    """INVALID_ARGUMENT for a property of a new table that is called Delta's, and isn't."""
    if key.startswith("delta.") and key not in _PROPERTIES and not key.startswith(_OF_FEATURES):
        raise _invalid(
            f"there is no table property {key}; check its spelling, or give "
            "raise_if_key_not_exists=False"
        )


def check_value(key: str, text: str) -> None:
    """INVALID_ARGUMENT for a property of Delta's whose value no writer could follow."""
    valid = _PROPERTIES.get(key)
    if valid is not None and not valid(text):
        raise _invalid(f"the property {key} can't be {text!r}; see Delta's table properties")


def property_texts(given: Mapping[str, Any]) -> dict[str, str]:
    """Properties as the log has them, texts: True is `true`, 5 is `5`; those of None are left out.

    INVALID_ARGUMENT for other values, and for a property without a name.
    """
    found = {}
    for key, value in given.items():
        if not isinstance(key, str) or not key:
            raise _invalid(f"a table property can't be named {key!r}; name it by a text")
        if isinstance(value, bool):
            found[key] = str(value).lower()
        elif isinstance(value, str | int | float):
            found[key] = str(value)
        elif value is not None:
            raise _invalid(f"the property {key} can't be {value!r}; give it a text")
    return found


def configured(
    base: Base, given: Mapping[str, str], operation: str, parameters: Mapping[str, Any]
) -> Altered:
    """With these properties besides the others; column mapping may go from none to name."""
    _check_not_of_the_fence(given)
    before = base.metadata.configuration
    wanted = with_column_names({**before, **given})
    struct = base.struct
    had, has = column_mapping_mode(before), column_mapping_mode(wanted)
    if had != has:
        if (had, has) != ("none", "name"):
            raise _invalid(
                f"column mapping can't go from {had} to {has} in a table that has files; only from "
                "none to name"
            )
        named = columns.with_physical_names(struct)
        assert isinstance(named, StructType)
        struct = named
    wanted = _without_timing(wanted, given)
    mapped, configuration = with_column_mapping(struct, logged_configuration(wanted))
    schema = base.metadata.schema if mapped == base.struct else TableSchema(schema_string(mapped))
    return Altered(
        metadata=replace(base.metadata, schema=schema, configuration=configuration),
        protocol=protocol_for(mapped, wanted, base.protocol),
        operation=operation,
        parameters=parameters,
    )


def _without_timing(configuration: dict[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Without in-commit timestamps nothing says since when commits have them.

    What says it is the commit's that switches them on.
    """
    for name in (TIMED_SINCE_VERSION, TIMED_SINCE):
        if name in given:
            raise _invalid(f"{name} is set by the commit that enables in-commit timestamps alone")
    if enabled(configuration, IN_COMMIT_TIMESTAMPS):
        return configuration
    return {k: v for k, v in configuration.items() if k not in (TIMED_SINCE_VERSION, TIMED_SINCE)}


def unconfigure(base: Base, names: Sequence[str], *, must_exist: bool) -> Altered:
    """Without some properties."""
    _check_not_of_the_fence(names)
    configuration = base.metadata.configuration
    missing = [name for name in names if name not in configuration]
    if missing and must_exist:
        raise _invalid(f"{base.row.full_name} has no property {', '.join(missing)}")
    kept = [n for n in names if n.startswith("delta.columnMapping.")]
    if kept and column_mapping_mode(configuration) != "none":
        raise _invalid(f"{kept[0]} says how the table's files are read; it can't be unset")
    for name in names:
        if name.startswith(CONSTRAINT_PREFIX):
            raise _invalid(f"{name} is a constraint; use drop_constraint")
    rest = {k: v for k, v in configuration.items() if k not in names}
    rest = _without_timing(rest, {})
    return Altered(
        metadata=replace(base.metadata, configuration=rest),
        protocol=base.protocol,
        operation="UNSET TBLPROPERTIES",
        parameters={"properties": list(names), "ifExists": not must_exist},
    )


def _check_not_of_the_fence(names: Iterable[str]) -> None:
    for name in names:
        if name in PROPERTIES:
            raise _invalid(
                f"{name} says which catalog ratifies the table; `dl cutover` sets it, and `dl "
                "rollback` takes it away"
            )


def _invalid(what: str) -> DeltaLakeError:
    return DeltaLakeError(DeltaLakeErrorKind.INVALID_ARGUMENT, what)
