"""`move_table`: a table from its log into the catalog, or on from where its move has stopped."""

from __future__ import annotations

from collections.abc import Callable

from deltalakedb import tracing
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.reading import queries
from deltalakedb.config import SqlConfig
from deltalakedb.importing.context import Progress, no_progress
from deltalakedb.importing.request import import_request
from deltalakedb.migrate.options import MoveOptions, MoveResult
from deltalakedb.migrate.records import lease_of
from deltalakedb.migrate.steps import On, nothing
from deltalakedb.migrate.strategies import Move


@tracing.traced("move")
def move_table(
    log_dir: str,
    *,
    database: str | SqlConfig,
    table_location: str | None = None,
    table_name: str | None = None,
    options: MoveOptions | None = None,
    on: On = nothing,
    progress: Progress = no_progress,
    stop: Callable[[], bool] | None = None,
) -> MoveResult:
    """Move a table into the catalog, or go on where an earlier move of it has stopped.

    `log_dir`: the table or its `_delta_log`; `table_location`, `table_name`: as for `import_table`.
    `on` is told of each named point (`steps.MOVE_POINTS`), and may stop the move by an exception.
    `stop`: with `until="ready"`, keep caught up until it says so (None: return when ready).

    Raises DeltaLakeError: of the import, the proof (LOG_DISAGREES), the fence; CONCURRENCY_ERROR
    while another process moves the table. The table is writable whatever fails, and the failure is
    in `dl_migrations`.
    """
    chosen = options or MoveOptions()
    request = import_request(
        log_dir,
        table_location=table_location,
        mode=chosen.mode,
        table_id=None,
        table_name=table_name,
        rebuild=False,
        storage_options=chosen.storage_options,
        spill_root=None,
    )
    with Catalog(database, create=True) as catalog, lease_of(catalog, request.location) as lease:
        known = queries.table_at(catalog, request.location)
        name = request.full_name if known is None else known.full_name
        found = lease.begin(name, request.store.url)
        if known is not None and (found.table_id, found.table) != (known.table_id, name):
            lease.move(table_id=known.table_id, table_name=name)
        move = Move(database, lease, chosen, on, progress)
        move.log_dir, move.table_name = log_dir, table_name
        return move.run(stop)
