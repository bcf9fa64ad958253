"""Whether this process reaches a database and a store; for workers, before work begins."""

from __future__ import annotations

from deltalakedb.catalog.dialects.readers import reader_of
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.secret import Secret
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.uri import parse_database


def reach_database(database: Secret) -> None:
    """Connect and ask; a database without a catalog will do. Raises what connecting raises."""
    reader = reader_of(parse_database(database.reveal()))
    try:
        reader.rows("SELECT 1")
    except DeltaLakeError as error:
        if error.kind is not DeltaLakeErrorKind.NOT_FOUND:
            raise
    finally:
        reader.close()


def reach_store(store: StoreSpec) -> None:
    """List it; a place where nothing is yet will do. Raises what listing raises."""
    try:
        open_store(store).list()
    except DeltaLakeError as error:
        if error.kind is not DeltaLakeErrorKind.NOT_FOUND:
            raise
