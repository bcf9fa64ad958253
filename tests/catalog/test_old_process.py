"""An upgrade under an open process of the program from before it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import deltalakedb as dl
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.loads.garbage import collect_garbage
from deltalakedb.catalog.upgrade import upgrade_catalog
from tests.migrate.catalogs import everything

pytestmark = pytest.mark.system

REVISION_0001 = "fba92d3^"
"""The last commit whose schema is 0001."""
_ROOT = Path(__file__).parents[2]


@pytest.fixture
def old_package(tmp_path: Path) -> Path:
    """A folder with the package as it was."""
    archive = ["git", "-C", str(_ROOT), "archive", REVISION_0001, "deltalakedb"]
    done = subprocess.run(archive, capture_output=True, timeout=240)
    if done.returncode:
        pytest.skip("the repository's history isn't here (a shallow clone, or no git)")
    folder = tmp_path / "old"
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def test_an_old_process_that_is_open_across_the_upgrade(
    catalog_url: str, tmp_path: Path, old_package: Path
) -> None:
    script = Path(__file__).with_name("old_process.py")
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path), catalog_url],
        env=os.environ | {"PYTHONPATH": str(old_package)},
        cwd=old_package,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as old:
        assert old.stdin is not None
        assert old.stdout is not None
        assert old.stdout.readline() == "ready\n"
        assert upgrade_catalog(catalog_url).before == "0001"
        before = everything(catalog_url)
        said = json.loads(old.communicate("go on\n", timeout=240)[0])
    assert str(old_package) in said.pop("package")
    # What is held goes on, all else is refused, and no writer has written.
    assert said.pop("held") == ["done", 2]
    assert "install a newer deltalakedb" in said["begun later"][1]
    assert {outcome for outcome, _ in said.values()} == {"DATABASE_ERROR", "CATALOG_VERSION"}
    with Catalog(catalog_url) as catalog:
        # Of the load that nobody sees.
        assert len(collect_garbage(catalog).loads) == 1
    after = everything(catalog_url)
    runs = after.pop("dl_import_runs")
    assert [row["status"] for row in runs] == ["succeeded"] * 2 + ["failed"] * (len(runs) - 2)
    del before["dl_import_runs"]
    assert after == before
    # The new program takes it on from there.
    place = str(tmp_path / "t")
    assert dl.import_table(place, database=catalog_url).status == "caught_up"
    table = dl.connect_to_table(f"deltasql://{catalog_url}?table=t")
    assert sorted(table.to_pyarrow_table()["x"].to_pylist()) == [1, 2, 3]
