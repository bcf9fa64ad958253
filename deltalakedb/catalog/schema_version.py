"""Which schema a catalog has, and what to say when it isn't ours."""

from __future__ import annotations

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

SCHEMA_VERSION = "0004"
"""The migration that this program is written for."""


def no_catalog(url: str) -> DeltaLakeError:
    """NOT_FOUND for a database that holds no catalog."""
    return DeltaLakeError(
        DeltaLakeErrorKind.NOT_FOUND,
        f"no catalog at {url}; make one with `dl import --database …`, or correct --database",
        database=url,
    )


def check_schema_version(found: str, url: str) -> None:
    """Raises CATALOG_VERSION for a catalog that is older or newer than this program."""
    if found == SCHEMA_VERSION:
        return
    if found < SCHEMA_VERSION:
        raise DeltaLakeError(
            DeltaLakeErrorKind.CATALOG_VERSION,
            f"the catalog at {url} has schema {found}, this program needs {SCHEMA_VERSION}; "
            "run `dl upgrade --database …`",
            found=found,
            needed=SCHEMA_VERSION,
        )
    raise DeltaLakeError(
        DeltaLakeErrorKind.CATALOG_VERSION,
        f"the catalog at {url} has schema {found}, newer than this program's {SCHEMA_VERSION}; "
        "install a newer deltalakedb",
        found=found,
        needed=SCHEMA_VERSION,
    )
