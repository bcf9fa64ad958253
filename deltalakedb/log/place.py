"""Where a table's log is, given the table or the log itself."""

from __future__ import annotations

from collections.abc import Mapping

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec


def log_store(log_dir: str, options: Mapping[str, object] | None = None) -> StoreSpec:
    """The store of a `_delta_log`, given itself or the table it belongs to."""
    spec = StoreSpec(log_dir, dict(options or {}))  # type: ignore[arg-type]
    if spec.url.rstrip("/").rpartition("/")[2] == "_delta_log":
        return spec
    below = spec.child("_delta_log")
    return below if open_store(below).holds_any() else _stray(spec)


def table_of_log(spec: StoreSpec) -> str:
    """The table's location that a log folder's place implies."""
    head, _, tail = spec.url.rstrip("/").rpartition("/")
    return head if tail == "_delta_log" else spec.url


def _stray(spec: StoreSpec) -> StoreSpec:
    """No `_delta_log` below: a log under another name, or a mistake that deserves a clear word."""
    names = [o.name for o in open_store(spec).list()]
    if any(name[:20].isdigit() and name.endswith((".json", ".parquet")) for name in names):
        return spec
    where = spec.url
    raise DeltaLakeError(
        DeltaLakeErrorKind.NOT_A_DELTA_TABLE,
        f"{where} is not a Delta table: it has no _delta_log, and no commit in itself; name "
        "a table's folder, or its _delta_log",
        location=where,
    )
