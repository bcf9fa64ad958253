"""Several processes that append to one table: each acknowledged version is there once."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import deltalake
import pyarrow as pa
import pytest

import deltalakedb as dl

PROCESSES = 4
VERSIONS = 24


def start_appenders(
    uri: str, folder: Path, processes: int, seconds: float
) -> list[subprocess.Popen[str]]:
    """Start them; they begin together once all are ready."""
    folder.mkdir()
    found = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.commit.appender", uri, str(folder)),
                *(f"w{number}", str(seconds)),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    deadline = time.monotonic() + 240
    while len(list(folder.glob("*.ready"))) < processes:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (folder / "go").touch()
    return found


@pytest.mark.parametrize(
    "any_catalog_url", ["sqlite", "postgresql", "mariadb", "mysql"], indirect=True
)
def test_appends_of_several_processes(any_catalog_url: str, tmp_path: Path) -> None:
    uri, place = f"deltasql://{any_catalog_url}?table=t", tmp_path / "t"
    schema = pa.schema([("who", pa.string()), ("n", pa.int64())])
    dl.create_table(uri, schema, location=str(place))
    running = start_appenders(uri, tmp_path / "ready", PROCESSES, 240.0)
    table = dl.connect_to_table(uri, cache=False)
    deadline = time.monotonic() + 240
    while table.refresh().version < VERSIONS:
        assert time.monotonic() < deadline
        assert all(each.poll() is None for each in running)
        time.sleep(0.05)
    (tmp_path / "ready" / "stop").touch()
    lines = [line.split(" ", 3) for each in running for line in each.communicate()[0].splitlines()]
    assert all(each.returncode == 0 for each in running)
    assert Counter(line[0] for line in lines).keys() == {"version"}
    versions = sorted(int(line[1]) for line in lines)
    assert versions == list(range(1, len(versions) + 1))
    assert table.refresh().version == len(versions) >= VERSIONS
    # Whoever tends the log makes it durable soon, and records it.
    recorded = "SELECT published_version, durable_version FROM dl_mirror"
    deadline = time.monotonic() + 240
    while table._catalog.reader.rows(recorded) != [(len(versions), len(versions))]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert table._catalog.reader.rows("SELECT count(*) FROM dl_outbox") == [(0,)]
    seen = deltalake.DeltaTable(str(place)).to_pyarrow_table()
    assert seen.num_rows == len(versions)
    assert len(set(map(str, seen.to_pylist()))) == len(versions)
    assert dl.diff_table("t", database=any_catalog_url).parity
