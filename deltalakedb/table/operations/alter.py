"""ALTER TABLE: another metadata, another protocol, no other rows.

PROTOCOL.md, "Change Metadata" and "Protocol Evolution". What is asked for is a function of the
table's newest metadata, so that a commit that lost against another change is derived anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.commit.staged import StagedTable
from deltalakedb.engine.expression import compile_expression
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.commit_writer import metadata_body
from deltalakedb.log.features import enabled
from deltalakedb.log.metadata import Metadata
from deltalakedb.log.protocol import Protocol, check_writable
from deltalakedb.log.row_tracking import ENABLED
from deltalakedb.log.table_properties import IN_COMMIT_TIMESTAMPS
from deltalakedb.scan.scan import ScanSpec, scan_batches
from deltalakedb.scan.tally import Tally
from deltalakedb.table.operations.base import Base, check_enforceable
from deltalakedb.table.operations.properties import CommitOptions
from deltalakedb.table.operations.provenance import commit_info
from deltalakedb.table.transaction import WriteResult, ratify
from deltalakedb.write.constraints import row_text

_RETRIES = 15
_DERIVED_ANEW = frozenset({"metadata_changed", "protocol_changed", "if_version"})


@dataclass(frozen=True, kw_only=True)
class Altered:
    """What a table is to be. `constraints`: name to Spark SQL, conditions that all of its rows
    have to meet first."""

    metadata: Metadata
    protocol: Protocol
    operation: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    constraints: Mapping[str, str] = field(default_factory=dict)


Change = Callable[[Base], Altered]


def alter(catalog: LightCatalog, base: Base, change: Change, options: CommitOptions) -> WriteResult:
    """Commit a change of metadata; nothing where the table is that way already.

    Raises CONSTRAINT_VIOLATION with a row that breaks a new constraint, UNSUPPORTED_FEATURE by
    name, and what `commit.commit` raises.
    """
    retries = options.properties.max_commit_retries
    left = _RETRIES if retries is None else retries
    verified = _Verified()
    while True:
        found = change(base)
        check_writable(found.protocol)
        check_enforceable(
            base.row.full_name, found.metadata.schema.struct, found.metadata.configuration
        )
        if (found.metadata, found.protocol) == (base.metadata, base.protocol):
            return WriteResult(base.row.full_name, base.row.head_version)
        if found.constraints:
            verified.check(catalog, base, found.constraints)
        staged = _staged(base, found, options)
        if enabled(found.metadata.configuration, ENABLED) and not enabled(
            base.metadata.configuration, ENABLED
        ):
            staged = _with_rows_numbered(catalog, base, staged)
        if base.enlist is not None:
            base.enlist(staged, ())
            return WriteResult(base.row.full_name, base.row.head_version, published=False)
        try:
            [result] = ratify(catalog, [staged], options, base.storage_options)
            return result
        except DeltaLakeError as error:
            again = error.facts.get("rule") in _DERIVED_ANEW and options.if_version is None
            if not again or left <= 0:
                raise
            left -= 1
            newer = Base.read(catalog, None, base.row.table_id, base.storage_options)
            if newer is None:
                raise
            base = newer


def _staged(base: Base, found: Altered, options: CommitOptions) -> StagedTable:
    row = base.row
    # Rows that others add meanwhile have met no new constraint: it is checked against them, too.
    demanded = row.head_version if found.constraints else options.if_version
    changed = found.metadata != base.metadata
    timed = enabled(found.metadata.configuration, IN_COMMIT_TIMESTAMPS)
    return StagedTable(
        table=row,
        read_version=row.head_version,
        info=commit_info(found.operation, found.parameters, {}, options, blind=False),
        metadata=metadata_body(found.metadata) if changed else None,
        protocol=found.protocol.action() if found.protocol != base.protocol else None,
        txns=options.txns,
        if_version=demanded,
        in_commit_timestamps=timed,
        starts_in_commit_timestamps=timed and not base.in_commit_timestamps,
        tracks_rows=found.protocol.supports_writer_feature("rowTracking"),
    )


def _with_rows_numbered(catalog: LightCatalog, base: Base, staged: StagedTable) -> StagedTable:
    """Rows keep their ids from now on: files that give them none are added again, with some."""
    files = base.live_files(catalog)
    files = files.filter(pc.is_null(files.column("base_row_id")))
    if not files.num_rows:
        return staged
    if base.enlist is not None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
            f"{base.row.full_name} has {files.num_rows} files whose rows get ids with rowTracking; "
            "enable it outside of a transaction",
            features=["rowTracking"],
        )
    place = files.schema.get_field_index("data_change")
    same = pa.array([False] * files.num_rows, pa.bool_())
    return replace(
        staged,
        added=files.set_column(place, files.schema.field(place), same),
        removes=files,
        removes_change_data=False,
        adds_again=True,
        if_version=base.row.head_version,
    )


class _Verified:
    """Files whose rows meet the new constraints; each is read once, whoever wins meanwhile."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, str]] = set()

    def check(self, catalog: LightCatalog, base: Base, constraints: Mapping[str, str]) -> None:
        files = base.live_files(catalog)
        keys = list(
            zip(files.column("path").to_pylist(), files.column("dv_id").to_pylist(), strict=True)
        )
        fresh = files.filter(pa.array([key not in self._seen for key in keys], pa.bool_()))
        compiled = {name: compile_expression(sql, base.struct) for name, sql in constraints.items()}
        for rows in scan_batches(scan_spec(base, fresh)):
            for name, expression in compiled.items():
                good = pc.fill_null(expression.evaluate(rows), pa.scalar(False))
                if not pc.all(good, min_count=0).as_py():
                    row = pc.index(good, pa.scalar(False)).as_py()
                    raise DeltaLakeError(
                        DeltaLakeErrorKind.CONSTRAINT_VIOLATION,
                        f"{base.row.full_name} has rows that break the constraint {name} "
                        f"({constraints[name]}), such as {row_text(rows, row)}; change them first",
                        constraint=name,
                        row=row_text(rows, row),
                    )
        self._seen.update(keys)


def scan_spec(base: Base, files: pa.Table, tally: Tally | None = None) -> ScanSpec:
    """What reading all live rows of files of the table takes; `tally` is told of it."""
    return ScanSpec(
        store=base.data,
        files=files,
        schema_string=base.metadata.schema.schema_string,
        partition_columns=tuple(base.metadata.partition_columns),
        configuration=base.metadata.configuration,
        protocol=base.protocol,
        version=base.row.head_version,
        tally=tally,
    )
