"""Filled catalogs of older revisions, brought to this program's schema."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.upgrade import pending_upgrade, upgrade_catalog, upgrade_statements
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing import load
from deltalakedb.importing.run import import_table
from tests.catalog.revisions import filled
from tests.migrate.catalogs import content, engine, everything
from tests.tables import samples

# Of a table, what the place of its log decides; the dump's is another.
# And a catch-up recorded what one import didn't.
_PLACED = {"changes_since", "location", "location_hash", "log_location", "file_time", "commit_time"}


def fresh(database: str) -> None:
    for name, mode in filled.TABLES.items():
        import_table(str(samples.path(name)), database=database, mode=mode)


def comparable(database: str, name: str) -> dict[str, Any]:
    found = content(database, name)
    for rows in ([found["table"]], found["dl_versions"]):
        for row in rows:
            for column in _PLACED:
                row.pop(column, None)
    return found


def schema(database: str) -> dict[str, Any]:
    """Tables with columns and indexes, without numbers of loads; views with their columns."""
    inspector = sa.inspect(engine(database))
    inspector.clear_cache()
    found: dict[str, Any] = {}
    for name in inspector.get_table_names():
        columns = [(c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(name)]
        indexes = sorted(
            (tuple(i["column_names"]), bool(i["unique"]))
            for i in inspector.get_indexes(name)
            # Which slots are indexed is the load's own matter.
            if not str(i["column_names"][0]).startswith("lo")
        )
        key = inspector.get_pk_constraint(name)["constrained_columns"]
        found[re.sub(r"_l\d+$", "_l", name)] = (sorted(columns), indexes, key)
    for name in inspector.get_view_names():
        found[re.sub(r"layer.*", "layer", name)] = [c["name"] for c in inspector.get_columns(name)]
    return found


@pytest.fixture
def new_catalog_url(
    request: pytest.FixtureRequest, any_catalog_url: str, tmp_path: Path
) -> Callable[[], str]:
    """Another empty database of the same kind."""

    def make() -> str:
        if any_catalog_url.startswith("sqlite"):
            return f"sqlite:///{tmp_path / 'fresh.sqlite'}"
        kind = request.node.callspec.params["any_catalog_url"]
        server = request.getfixturevalue(f"{kind.replace('postgresql', 'postgres')}_server")
        name = server.create_database()
        request.addfinalizer(lambda: server.drop_database(name))
        url: str = server.url(name)
        return url

    return make


def test_a_filled_catalog_of_0001_becomes_what_a_fresh_one_is(
    any_catalog_url: str, new_catalog_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Old loads have tables of their own, whatever their size.
    monkeypatch.setattr(load, "HEAP_ROWS", -1)
    other = new_catalog_url()
    filled.make(any_catalog_url, "0001")
    assert pending_upgrade(any_catalog_url).pending
    before = everything(any_catalog_url)
    printed = upgrade_statements(any_catalog_url)
    assert "CREATE TABLE dl_heads" in printed
    assert "UPDATE dl_versions" in printed
    assert everything(any_catalog_url) == before
    assert upgrade_catalog(any_catalog_url).before == "0001"
    assert not pending_upgrade(any_catalog_url).pending
    assert upgrade_statements(any_catalog_url) == ""
    fresh(other)
    for name in filled.TABLES:
        expected = comparable(other, name)
        upgraded = comparable(any_catalog_url, name)
        for part in expected:
            assert upgraded[part] == expected[part], (name, part)
    assert schema(any_catalog_url) == schema(other)
    _goes_on(any_catalog_url)


def test_a_catalog_of_0002_gets_what_it_lacks(
    any_catalog_url: str, new_catalog_url: Callable[[], str]
) -> None:
    """One that this program has made and filled, but for what came after."""
    other = new_catalog_url()
    name, mode = next(iter(filled.TABLES.items()))
    for database in (any_catalog_url, other):
        import_table(str(samples.path(name)), database=database, mode=mode)
    with engine(any_catalog_url).begin() as connection:
        connection.exec_driver_sql("DROP TABLE dl_waiting")
        connection.exec_driver_sql(
            "CREATE INDEX dl_commits_version ON dl_commits (table_key, version)"
        )
        connection.exec_driver_sql("UPDATE dl_schema_version SET version_num = '0002'")
    assert "CREATE TABLE dl_waiting" in upgrade_statements(any_catalog_url)
    assert upgrade_catalog(any_catalog_url).before == "0002"
    assert not pending_upgrade(any_catalog_url).pending
    assert schema(any_catalog_url) == schema(other)
    _goes_on(any_catalog_url)


def test_a_writer_that_is_open_across_an_upgrade_is_told(any_catalog_url: str) -> None:
    with Catalog(any_catalog_url, create=True) as catalog:
        with engine(any_catalog_url).begin() as connection:
            connection.exec_driver_sql("UPDATE dl_schema_version SET version_num = '9999'")
        with pytest.raises(DeltaLakeError, match="newer") as raised, catalog.write():
            pass
    assert raised.value.kind is DeltaLakeErrorKind.CATALOG_VERSION


def _goes_on(database: str) -> None:
    with Catalog(database) as catalog, catalog.read() as connection:
        live = "SELECT count(*) FROM dl_live_files"
        assert (
            connection.exec_driver_sql(live).scalar()
            == connection.exec_driver_sql("SELECT sum(num_files) FROM dl_table_summary").scalar()
        )
