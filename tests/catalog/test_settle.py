"""What a catalog does before commits that nothing may delay."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.commit_tables import settings


def test_what_waits_in_the_wal_is_where_it_belongs(tmp_path: Path) -> None:
    path, other = tmp_path / "m.sqlite", tmp_path / "without-its-wal.sqlite"
    with Catalog(str(path), create=True) as catalog:
        with catalog.write() as connection:
            connection.execute(settings.insert().values(name="late", value="1"))
        assert _late(path, other) == []
        catalog.dialect.settle()
        assert _late(path, other) == [("1",)]


def _late(path: Path, other: Path) -> list[tuple[str]]:
    shutil.copy(path, other)
    with closing(sqlite3.connect(other)) as alone:
        try:
            return list(alone.execute("SELECT value FROM dl_settings WHERE name = 'late'"))
        except sqlite3.OperationalError:
            # Its tables too are in the WAL.
            return []
