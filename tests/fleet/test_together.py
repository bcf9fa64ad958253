"""Tables that come in together are the same as those that come in alone."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from deltalakedb import import_table
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.config import database_url
from deltalakedb.error import DeltaLakeError
from deltalakedb.importing.request import identified, import_request
from deltalakedb.importing.together import put_together, read_small
from deltalakedb.log.reader import read_listing
from deltalakedb.storage.open import open_store
from tests.fleet.logs import content
from tests.tables import samples

SAMPLES = samples.names("valid")


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        ("fast", SAMPLES[::16]),
        ("full-history", SAMPLES[8::16]),
        pytest.param("fast", SAMPLES, marks=pytest.mark.system),
        pytest.param("full-history", SAMPLES, marks=pytest.mark.system),
    ],
    ids=["fast", "full-history", "all-fast", "all-full-history"],
)
def test_rows_are_those_of_an_import(mode: str, names: list[str], tmp_path: Path) -> None:
    alone, together = tmp_path / "alone.sqlite", tmp_path / "together.sqlite"
    small = []
    for name in names:
        request = import_request(
            str(samples.path(name)),
            table_location=None,
            mode=mode,
            table_id=None,
            table_name=None,
            rebuild=False,
            storage_options=None,
            spill_root=None,
        )
        listing = read_listing(open_store(request.store))
        found = read_small(identified(request, None), listing)
        if found is not None:
            small.append(found)
            import_table(str(samples.path(name)), database=str(alone), mode=mode)
    assert len(small) > len(names) / 2
    with Catalog(str(together), create=True) as catalog:
        put_together(catalog, database_url(str(together)), small, lambda *_: None)
    ours, theirs = content(together), content(alone)
    for table, rows in theirs.items():
        assert ours[table] == rows, table


def test_all_or_none(tmp_path: Path) -> None:
    database = tmp_path / "m.sqlite"
    with ExitStack() as stack:
        catalog = stack.enter_context(Catalog(str(database), create=True))
        request = import_request(
            str(samples.path(SAMPLES[0])),
            table_location=None,
            mode=None,
            table_id=None,
            table_name=None,
            rebuild=False,
            storage_options=None,
            spill_root=None,
        )
        listing = read_listing(open_store(request.store))
        found = read_small(identified(request, None), listing)
        assert found is not None
        with pytest.raises(DeltaLakeError) as raised:
            put_together(catalog, database_url(str(database)), [found, found], lambda *_: None)
        assert raised.value.kind.value == "table_exists"
    assert not any(content(database).values())
