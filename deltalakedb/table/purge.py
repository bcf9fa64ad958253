"""The files of a table that is dropped for good: data and log.

The log goes last. While anything of it is there nobody makes a table at that place, so that what
is removed is never another's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.leases import Lease, acquire
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.records import TableRow
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.mirror.lease import LEASE_SECONDS, lease_name
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import ObjectStore

_LOG = "_delta_log/"
_BATCH = 1_000
_PATIENCE_SECONDS = 3.0 * LEASE_SECONDS
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True)
class Purge:
    """What `drop_table(purge=True)` removes: every object below the table's location and its log.

    Files at other places, which a shallow clone names, are others' and stay.
    """

    row: TableRow
    data: ObjectStore
    log: ObjectStore

    @classmethod
    def of(
        cls,
        catalog: Catalog,
        row: TableRow,
        storage_options: Mapping[str, Any] | None,
        *,
        writers_stopped: bool,
    ) -> Purge:
        """Find out, before anything changes, whether the files are this table's alone.

        Raises INVALID_ARGUMENT for a table whose log decides, unless `writers_stopped`, and where
        another table stands within its folder.
        """
        if row.authority != "sql" and not writers_stopped:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"{row.full_name} has authority {row.authority}: writers that know nothing of the "
                "catalog may be at work on its files; stop them and say so (writers_stopped, "
                "--writers-stopped), or drop it without its files",
                table=row.full_name,
            )
        options = dict(storage_options or {})
        found = cls(
            row,
            open_store(StoreSpec(row.location, options)),
            open_store(StoreSpec(row.log_location, options)),
        )
        found._check_alone(catalog)
        return found

    def _check_alone(self, catalog: Catalog) -> None:
        mine = [_folder(self.row.location), _folder(self.row.log_location)]
        for other in queries.all_tables(catalog):
            if other.table_id == self.row.table_id:
                continue
            for place in (_folder(other.location), _folder(other.log_location)):
                if any(place.startswith(own) for own in mine):
                    raise self._shared(f"table {other.full_name} of this catalog")
        own_log = _folder(self.row.log_location)
        for name in self._data_names():
            head, found, _ = f"/{name}".rpartition(f"/{_LOG}")
            place = f"{mine[0]}{head.lstrip('/')}".rstrip("/") + f"/{_LOG}"
            if found and place != own_log:
                raise self._shared(f"another log, {self.data.describe(name)}")

    def _shared(self, what: str) -> DeltaLakeError:
        return DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"{self.row.location} holds {what} besides {self.row.full_name}; drop it without its "
            "files and remove those yourself",
            table=self.row.full_name,
        )

    @contextmanager
    def alone(self, catalog: Catalog) -> Iterator[Lease]:
        """Hold the lease of whoever tends the log. Raises CONCURRENCY_ERROR when it isn't free."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        name = lease_name(self.row)
        while (lease := acquire(catalog, name)) is None:
            if time.monotonic() > deadline:
                raise DeltaLakeError(
                    DeltaLakeErrorKind.CONCURRENCY_ERROR,
                    f"another process has tended the log of {self.row.full_name} for "
                    f"{_PATIENCE_SECONDS:.0f} s, so it is still written to; stop its writers and "
                    "run this again",
                    table=self.row.full_name,
                )
            time.sleep(_PAUSE_SECONDS)
        try:
            yield lease
        finally:
            lease.release()

    def remove(self) -> int:
        """Remove the files of a table that is dropped already; how many there were."""
        try:
            names = [name for name in self._data_names() if not self._is_log(name)]
            _remove(self.data, names)
            for store in (self.data, self.log):
                store.remove_unfinished(time.time_ns() // 1_000_000)
            self.data.remove_empty_folders()
            log = _names(self.log)
            _remove(self.log, log)
            self.log.remove_empty_folders()
            self.data.remove_empty_folders()
        except DeltaLakeError as error:
            raise DeltaLakeError(
                error.kind,
                f"{self.row.full_name} is dropped, but not all of its files could be removed: "
                f"{error}; remove what is left in {self.row.location} and "
                f"{self.row.log_location} yourself",
                table=self.row.full_name,
                outcome="committed",
            ) from error
        return len(names) + len(log)

    def _data_names(self) -> list[str]:
        return _names(self.data)

    def _is_log(self, name: str) -> bool:
        place = _folder(self.row.location) + name
        return place.startswith(_folder(self.row.log_location))


def _names(store: ObjectStore) -> list[str]:
    try:
        return [found.name for found in store.list(recursive=True)]
    except DeltaLakeError as error:
        if error.kind is DeltaLakeErrorKind.NOT_FOUND:
            return []
        raise


def _remove(store: ObjectStore, names: list[str]) -> None:
    for start in range(0, len(names), _BATCH):
        store.delete(names[start : start + _BATCH])


def _folder(place: str) -> str:
    return place.rstrip("/") + "/"
