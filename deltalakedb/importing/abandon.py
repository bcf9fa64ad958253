"""The end of an import that fails: what it left is removed, as far as that can be done now."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.loads import ledger
from deltalakedb.error import DeltaLakeError
from deltalakedb.executor.executor import Executor
from deltalakedb.importing import tasks


def abandon(
    catalog: Catalog,
    run: ledger.Run,
    error: BaseException,
    executor: Executor,
    spill_root: str | None = None,
) -> None:
    """Record the failure and clean up; what can't be done now, the next run does."""
    if isinstance(error, DeltaLakeError):
        error.facts |= {"run_id": run.run_id, "table_id": run.table_id}
    steps: tuple[Callable[[], None], ...] = (
        executor.cancel,
        lambda: executor.everywhere(tasks.forget, run.run_id, spill_root),
    )
    for step in steps:
        # The cluster may be what has failed; its own end removes what is left on it.
        with suppress(Exception):
            step()
    try:
        ledger.fail_run(catalog, run, error)
    except Exception as second:  # noqa: BLE001 - the first error is the one to report
        error.add_note(f"clean-up is left to the next import: {type(second).__name__}")
