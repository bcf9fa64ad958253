"""From a spec to the store that it describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deltalakedb.storage.local import LocalStore

if TYPE_CHECKING:
    from deltalakedb.storage.spec import StoreSpec
    from deltalakedb.storage.store import ObjectStore


def open_store(spec: StoreSpec) -> ObjectStore:
    """Connect. No object is touched yet: a missing place is noticed by the first call.

    Only S3 imports obstore. Raises INVALID_ARGUMENT for options or a bucket that can't be.
    """
    if spec.is_s3:
        from deltalakedb.storage.s3.store import S3Store

        return S3Store(spec, open_store)
    return LocalStore(spec, open_store)
