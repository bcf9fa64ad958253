"""Schemas and commits in the forms that delta-rs gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deltalakedb.log.metadata import TableSchema
from deltalakedb.log.schema import StructField


class DeltaSchema(TableSchema):
    """A table's schema by delta-rs's call forms."""

    @property
    def fields(self) -> list[StructField]:
        return list(self.struct.fields)

    def to_json(self) -> str:
        return self.schema_string

    def __arrow_c_schema__(self) -> object:
        return self.to_arrow().__arrow_c_schema__()


def commit_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A commit of our history with the keys of delta-rs's."""
    names = {
        "operation": "operation",
        "operationParameters": "operation_parameters",
        "operationMetrics": "operation_metrics",
        "engineInfo": "engine_info",
        "readVersion": "read_version",
        "isolationLevel": "isolation_level",
        "isBlindAppend": "is_blind_append",
        "userMetadata": "user_metadata",
        "txnId": "txn_id",
    }
    found = {"version": entry["version"], "timestamp": entry["timestamp"]}
    return found | {ours: entry[name] for ours, name in names.items() if entry[name] is not None}
