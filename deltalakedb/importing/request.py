"""What is to be imported: the log's place, the table's location, its name and its id."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.reading import queries
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.place import log_store
from deltalakedb.redact import redact
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.uri import normalise_location

MODES = ("fast", "full-history")


@dataclass(frozen=True)
class ImportRequest:
    """What to import, and how.

    `name`: (namespace, name), and `mode`, as asked for; None when they weren't.
    """

    store: StoreSpec
    location: str
    mode: str | None
    name: tuple[str, str] | None
    table_id: str | None
    rebuild: bool
    spill_root: str | None

    @property
    def named(self) -> tuple[str, str]:
        """Namespace and name; without a wish the location's last segment."""
        return self.name or ("", self.location.rstrip("/").rpartition("/")[2] or "table")

    @property
    def chosen_mode(self) -> str:
        return self.mode or MODES[0]

    @property
    def full_name(self) -> str:
        return ".".join(part for part in self.named if part)


def import_request(
    log_dir: str,
    *,
    table_location: str | None,
    mode: str | None,
    table_id: str | None,
    table_name: str | None,
    rebuild: bool,
    storage_options: Mapping[str, object] | None,
    spill_root: str | None,
) -> ImportRequest:
    """Check and normalise the arguments of an import. Raises INVALID_ARGUMENT."""
    if mode is not None and mode not in MODES:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"mode {mode!r} is unknown; use {' or '.join(MODES)}",
            mode=mode,
        )
    if table_id is not None and queries.is_uuid(table_id):
        table_id = str(uuid.UUID(table_id))
    store = log_store(log_dir, storage_options)
    location = table_of_log(store) if table_location is None else normalise_location(table_location)
    name = None if table_name is None else _split_name(table_name)
    return ImportRequest(store, location, mode, name, table_id, rebuild, spill_root)


def _split_name(name: str) -> tuple[str, str]:
    namespace, _, last = name.rpartition(".")
    if not last:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT, f"{name!r} is no table name; use [namespace.]name"
        )
    return namespace, last


def table_of_log(spec: StoreSpec) -> str:
    """The table's location that a log folder's place implies."""
    head, _, tail = spec.url.rstrip("/").rpartition("/")
    return head if tail == "_delta_log" else spec.url


def existing_table(catalog: Catalog, request: ImportRequest) -> queries.TableRow | None:
    """The catalogued table that a request means, by id or by location.

    Raises INVALID_ARGUMENT when id, location and name contradict each other, TABLE_NOT_FOUND for
    a name that nobody has.
    """
    found = _by_id_or_location(catalog, request)
    wanted = (found.namespace, found.name) if found and request.name is None else request.named
    for row in queries.all_tables(catalog):
        if (row.namespace, row.name) == wanted and (
            found is None or row.table_id != found.table_id
        ):
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"the name {row.full_name} is taken by the table at {redact(row.location)}; give "
                "another with --table-name",
                table=row.full_name,
            )
    if found is not None and not request.rebuild and (found.namespace, found.name) != wanted:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"{redact(request.location)} is already catalogued as {found.full_name}; leave "
            "--table-name out, or rename the table by importing it anew with --rebuild",
            table=found.table_id,
        )
    return found


def _by_id_or_location(catalog: Catalog, request: ImportRequest) -> queries.TableRow | None:
    by_location = queries.table_at(catalog, request.location)
    if request.table_id is None:
        return by_location
    by_id = queries.lookup_table(catalog, request.table_id)
    if by_id is None and not queries.is_uuid(request.table_id):
        raise DeltaLakeError(
            DeltaLakeErrorKind.TABLE_NOT_FOUND,
            f"no table {request.table_id} in {catalog.dialect.described}; give a uuid to import "
            "under, or leave --table-id out",
            table=request.table_id,
        )
    if by_id is not None and normalise_location(by_id.location) != request.location:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"table {request.table_id} is at {redact(by_id.location)}, not at "
            f"{redact(request.location)}; correct --table-location or --table-id",
            table=request.table_id,
        )
    if by_id is None and by_location is not None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"{redact(request.location)} is already catalogued as {by_location.full_name} with id "
            f"{by_location.table_id}; leave --table-id out, or give that one",
            table=by_location.table_id,
        )
    return by_id


def identified(request: ImportRequest, existing: queries.TableRow | None) -> ImportRequest:
    """The request with the id, the name and the mode that the table has or gets."""
    if existing is None:
        return replace(request, table_id=request.table_id or str(uuid.uuid4()))
    name = request.name or (existing.namespace, existing.name)
    mode = request.mode or existing.mode
    return replace(request, table_id=existing.table_id, name=name, mode=mode)


def other_mode(request: ImportRequest, table: queries.TableRow) -> tuple[str, ...]:
    """A warning when an update is asked for in another mode than the table was imported in."""
    if request.mode in (None, table.mode):
        return ()
    return (
        f"the table was imported with --mode {table.mode}, which stays; --mode {request.mode} "
        "takes --rebuild",
    )
