"""What is to be imported: the log's place, the table's location, its name and its id."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.table_name import check_table_name, full_name, is_uuid, parse_table_name
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.place import log_store, table_of_log
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.uri import normalise_location

MODES = ("fast", "full-history")

_OTHER_NAME = "give another with --table-name"

WORKER_BYTES = 128 << 20
"""Of log, for which another worker process is worth its start."""


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
        """Namespace and name; without a wish the location's last segment.

        A uuid (Unity Catalog names folders so) would mean a table's id, so it gets a prefix.
        """
        if self.name is not None:
            return self.name
        folder = self.location.rstrip("/").rpartition("/")[2] or "table"
        return "", f"table-{folder}" if is_uuid(folder) else folder

    @property
    def chosen_mode(self) -> str:
        return self.mode or MODES[0]

    @property
    def full_name(self) -> str:
        return full_name(*self.named)


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
    if table_id is not None and is_uuid(table_id):
        table_id = str(uuid.UUID(table_id))
    store = log_store(log_dir, storage_options)
    location = table_of_log(store) if table_location is None else normalise_location(table_location)
    name = None if table_name is None else parse_table_name(table_name)
    return ImportRequest(store, location, mode, name, table_id, rebuild, spill_root)


def existing_table(catalog: Catalog, request: ImportRequest) -> queries.TableRow | None:
    """The catalogued table that a request means, by id or by location.

    Raises INVALID_ARGUMENT when id, location and name contradict each other or the folder's name
    can't be a table's, TABLE_EXISTS for a name that is taken, TABLE_NOT_FOUND for a name that
    nobody has.
    """
    row = _by_id_or_location(catalog, request)
    if row is not None and request.name in (None, (row.namespace, row.name)):
        return row
    if request.name is None:
        check_table_name(*request.named, advice=_OTHER_NAME)
    own = () if row is None else (row.table_id,)
    queries.check_name_is_free(catalog, request.full_name, _OTHER_NAME, own)
    if row is not None and not request.rebuild:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"{request.location} is already catalogued as {row.full_name}; leave --table-name "
            "out, or rename the table with `dl rename`",
            table=row.table_id,
        )
    return row


def _by_id_or_location(catalog: Catalog, request: ImportRequest) -> queries.TableRow | None:
    by_location = queries.table_at(catalog, request.location)
    if request.table_id is None:
        return by_location
    by_id = queries.lookup_table(catalog, request.table_id)
    if by_id is None and not is_uuid(request.table_id):
        raise DeltaLakeError(
            DeltaLakeErrorKind.TABLE_NOT_FOUND,
            f"no table {request.table_id} in {catalog.dialect.described}; give a uuid to import "
            "under, or leave --table-id out",
            table=request.table_id,
        )
    if by_id is not None and normalise_location(by_id.location) != request.location:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"table {request.table_id} is at {by_id.location}, not at {request.location}; correct "
            "--table-location or --table-id, or follow a table that has moved with `dl relocate`",
            table=request.table_id,
        )
    if by_id is None and by_location is not None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"{request.location} is already catalogued as {by_location.full_name} with id "
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


def makes_new_load(request: ImportRequest, table: queries.TableRow) -> bool:
    """Whether a catalogued table is read anew, rather than caught up.

    That is when it is asked for, and when its history is: a fast import doesn't have it.
    """
    return request.rebuild or (request.mode == "full-history" and table.mode == "fast")


def kept_mode(request: ImportRequest, table: queries.TableRow) -> tuple[str, ...]:
    """A warning when a table that has its history is caught up with `--mode fast`."""
    if request.mode in (None, table.mode):
        return ()
    return (
        f"the table keeps the history that it was imported with (--mode {table.mode}); "
        f"--mode {request.mode} with --rebuild gives it up",
    )


def worthwhile_workers(log_bytes: int, cores: int) -> int:
    """How many worker processes read so much of a log sooner than one process; 0 where none do.

    Each takes about a second of a core to start, in which this process reads WORKER_BYTES.
    """
    most = min(cores, log_bytes // WORKER_BYTES)
    return most if most > 1 else 0
