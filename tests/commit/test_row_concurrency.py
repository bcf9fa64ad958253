"""Who changes which rows of one file at once: disjoint ones all hold, the same ones are refused."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import deltalake
import pyarrow as pa
import pytest

import deltalakedb as dl

PROCESSES = 4
VERSIONS = 16
ROWS = 100_000


def start_deleters(uri: str, folder: Path, processes: int) -> list[subprocess.Popen[str]]:
    """Start them; they begin together once all are ready."""
    folder.mkdir()
    found = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.commit.deleter", uri, str(folder)),
                *(f"w{number}", str(number), str(processes)),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    deadline = time.monotonic() + 240
    while len(list(folder.glob("*.ready"))) < processes:
        assert time.monotonic() < deadline
        assert all(each.poll() is None for each in found)
        time.sleep(0.02)
    (folder / "go").touch()
    return found


@pytest.mark.parametrize("any_catalog_url", ["postgresql"], indirect=True)
def test_disjoint_rows_of_one_file(any_catalog_url: str, tmp_path: Path) -> None:
    uri, place = f"deltasql://{any_catalog_url}?table=t", tmp_path / "t"
    dl.write_deltalake(
        uri,
        pa.table({"id": range(ROWS)}),
        location=str(place),
        configuration={"delta.enableDeletionVectors": "true"},
    )
    running = start_deleters(uri, tmp_path / "ready", PROCESSES)
    table = dl.connect_to_table(uri, cache=False)
    deadline = time.monotonic() + 240
    while table.refresh().version < VERSIONS:
        assert time.monotonic() < deadline
        assert all(each.poll() is None for each in running)
        time.sleep(0.05)
    (tmp_path / "ready" / "stop").touch()
    lines = [line.split(" ", 2) for each in running for line in each.communicate()[0].splitlines()]
    assert all(each.returncode == 0 for each in running)
    assert {(what, rest) for what, _, rest in lines} == {("deleted", "1")}
    gone = {int(number) for _, number, _ in lines}
    assert table.refresh().version == len(gone) >= VERSIONS
    left = set(range(ROWS)) - gone
    assert set(table.to_pyarrow_table().column("id").to_pylist()) == left
    # Vectors that were made again have left nothing.
    assert len(list(place.glob("*.parquet"))) == 1
    assert deltalake.DeltaTable(str(place)).version() == table.version
