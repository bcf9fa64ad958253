"""Catalogs that many tests read and none changes: a generated table with data, sample tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.data_files import ROWS
from benchmarks.generate import Variant, generate
from benchmarks.synthetic import Shape
from deltalakedb.importing.run import import_table
from tests.table.opening import NAME

DATABASES = ("sqlite", "postgresql")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's cache is none of the tests' business."""
    monkeypatch.setenv("DL_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 adds with real Parquet files in 30 partitions, 20 commits, some of them compactions."""
    folder = tmp_path_factory.mktemp("generated") / NAME
    generate(folder, Shape(300, 30, 6, 11, ROWS), Variant(20, data=True))
    return folder


@pytest.fixture(scope="session", params=DATABASES)
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, generated: Path
) -> Iterator[str]:
    """URL of a catalog with the generated table, on each database; only to be read."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('shared') / 'catalog.sqlite'}"
        import_table(str(generated), database=url, mode="full-history")
        yield url
        return
    server = request.getfixturevalue("postgres_server")
    name = server.create_database()
    import_table(str(generated), database=server.url(name), mode="full-history")
    yield server.url(name)
    server.drop_database(name)
