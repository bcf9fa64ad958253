"""Settings of the catalog itself: where new tables go."""

from __future__ import annotations

import sqlalchemy as sa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.commit_tables import settings
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.uri import normalise_location

_WAREHOUSE = "warehouse"


def warehouse(catalog: Catalog) -> str:
    """The folder below which tables without a location go. INVALID_ARGUMENT where none is set."""
    with catalog.read() as connection:
        found = connection.scalar(sa.select(settings.c.value).where(settings.c.name == _WAREHOUSE))
    if found is None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            "the catalog has no warehouse, so a new table needs a location; give one "
            "(location=, --location), or set the folder for all with `dl init --warehouse URL`",
        )
    return str(found)


def set_warehouse(catalog: Catalog, url: str) -> str:
    """Set that folder; its normal form."""
    location = normalise_location(url)
    mine = settings.c.name == _WAREHOUSE
    with catalog.write() as connection:
        changed = connection.execute(settings.update().where(mine).values(value=location))
        if not changed.rowcount:
            connection.execute(settings.insert().values(name=_WAREHOUSE, value=location))
    return location
