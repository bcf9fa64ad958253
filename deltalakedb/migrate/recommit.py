"""Stranded commits into the log after all: those that only add files, just as they were."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.config import SqlConfig
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.migrate.probation import only_adds, put_after
from deltalakedb.migrate.records import ask, migration_at
from deltalakedb.mirror import publish
from deltalakedb.mirror.adopt import adopt
from deltalakedb.table.operations.fence import said_by


@dataclass(frozen=True)
class Recommitted:
    """`done`: versions then and now of commits that are in the log. `left`: copies of others."""

    done: tuple[tuple[int, int], ...]
    left: tuple[str, ...]


def recommit_stranded(
    table: str,
    *,
    database: str | SqlConfig,
    storage_options: Mapping[str, Any] | None = None,
) -> Recommitted:
    """Commit again what a rollback without the catalog has stranded, where that is the same.

    A blind append keeps its token, so that a retry of its writer finds it. Others are left, as are
    those that were based on another schema. Raises INVALID_ARGUMENT unless the log ratifies.
    """
    with Catalog(database) as catalog:
        row = queries.find_table(catalog, table)
        if row.authority != "log":
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"SQL ratifies {row.full_name}; stranded commits go through its log, so do this "
                "before the next cutover",
                table=row.full_name,
            )
        found = migration_at(catalog, row.location)
        listed = [] if found is None else found.details.get("stranded", [])
        log = publish.log_of(row, storage_options)
        done: list[tuple[int, int]] = []
        left: list[dict[str, Any]] = []
        for each in listed:
            adopt(catalog.reader.url, row, log)
            row = queries.find_table(catalog, row.table_id)
            data = log.read(each["copy"])
            blind = bool((said_by(data).info or {}).get("isBlindAppend"))
            if not (blind and only_adds(data) and _same_schema(catalog, row, each["version"])):
                left.append(each)
                continue
            with closing(LightCatalog(catalog.reader.url)) as light:
                version = put_after(light, log, row, data)
            log.sync([publish.commit_name(version)])
            done.append((int(each["version"]), version))
        adopt(catalog.reader.url, row, log)
        if listed:
            ask(catalog, row.location, stranded=left or None)
        return Recommitted(tuple(done), tuple(each["copy"] for each in left))


def _same_schema(catalog: Catalog, row: Any, version: int) -> bool:
    """Whether schema and partitioning are those from before a stranded version."""
    if version - 1 < row.known_since:
        return False
    names = ("schema_string", "partition_columns")
    states = [
        queries.state_at(catalog, row, v, small=True) for v in (version - 1, row.head_version)
    ]
    before, now = [[state.metadata[name] for name in names] for state in states]
    return bool(before == now)
