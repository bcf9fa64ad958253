"""As many actions in one commit as anybody has (DL_ACTIONS: a million), in bounded memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import deltalake
import pytest

import deltalakedb as dl

ACTIONS = int(os.environ.get("DL_ACTIONS", "100000"))
MEGABYTES = 1024


def run(what: str, database: str, place: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.write.million", what, database, str(place)]
    found = subprocess.run(
        [*command, str(ACTIONS)], stdout=subprocess.PIPE, text=True, timeout=1500, check=True
    )
    told: dict[str, float] = json.loads(found.stdout)
    print(told)
    return told


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_many_files_in_one_commit(any_catalog_url: str, tmp_path: Path) -> None:
    place = tmp_path / "t"
    added = run("add", any_catalog_url, place)
    assert added["v"] == 1
    assert added["added"] <= MEGABYTES
    log = place / "_delta_log"
    assert len(deltalake.DeltaTable(str(place)).file_uris()) == ACTIONS
    replaced = run("replace", any_catalog_url, place)
    assert replaced["v"] == 2
    assert replaced["replaced"] <= MEGABYTES
    assert len(deltalake.DeltaTable(str(place)).file_uris()) == 1
    assert dl.connect_to_table(f"deltasql://{any_catalog_url}?table=t").count() == 1
    # The bytes lay beside the log, by name, until they were in it.
    for version in (1, 2):
        assert (log / f"{version:020d}.json").stat().st_size > 100 * ACTIONS
    assert list((log / "_staged_commits").iterdir()) == []
