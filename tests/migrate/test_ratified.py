"""`dl import` of tables whose versions SQL ratifies: nothing is lost, nothing is set back."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing import agreement, carry_over
from deltalakedb.importing.load import load
from deltalakedb.mirror import tend
from tests.commit.test_concurrency import start_appenders

SCHEMA = pa.schema([("who", pa.string()), ("n", pa.int64())])


@pytest.fixture
def uri(catalog_url: str, tmp_path: Path) -> str:
    uri = f"deltasql://{catalog_url}?table=t"
    dl.create_table(uri, SCHEMA, location=str(tmp_path / "t"))
    return uri


def import_(catalog_url: str, tmp_path: Path, **options: Any) -> Any:
    return dl.import_table(log_dir=str(tmp_path / "t"), database=catalog_url, **options)


def row(n: int) -> pa.Table:
    return pa.table({"who": ["me"], "n": [n]}, schema=SCHEMA)


def run_unpublished(uri: str) -> None:
    """A process that commits a version, and dies before it is in the log.

    This process leaves the log alone from now on, until it commits again.
    """
    table = dl.connect_to_table(uri)
    tend.forget(table._catalog.reader.url, table._head.row)
    code = (
        "import os, sys, pyarrow as pa, deltalakedb as dl\n"
        "from deltalakedb.mirror import tend\n"
        "tend.PERIOD_SECONDS = 600\n"
        "t = dl.connect_to_table(sys.argv[1])\n"
        "t.append(pa.table({'who': ['dead'], 'n': [1]}), mirror='async')\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, uri], check=True, timeout=240, env=os.environ)


def test_a_log_that_lags_is_neither_caught_up_with_nor_damaged(
    uri: str, catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dl.connect_to_table(uri).append(row(0))
    run_unpublished(uri)
    monkeypatch.setattr(agreement, "PUBLISHED_WITHIN_SECONDS", 0.2)
    for dry in (True, False):
        done = import_(catalog_url, tmp_path, dry_run=dry)
        assert done.status == ("planned" if dry else "unchanged")
        assert (done.to_version, done.versions) == (2, 0)
        assert "the SQL catalog ratifies" in done.warnings[0]
        assert "1 of its versions" in done.warnings[0]
    with pytest.raises(DeltaLakeError, match="`dl mirror drain`") as caught:
        import_(catalog_url, tmp_path, rebuild=True)
    assert caught.value.kind is DeltaLakeErrorKind.CONCURRENCY_ERROR
    assert not (tmp_path / "t/_delta_log" / f"{2:020d}.json").exists()
    dl.connect_to_table(uri).append(row(3))
    done = import_(catalog_url, tmp_path, rebuild=True)
    assert (done.status, done.to_version) == ("imported", 3)
    assert dl.diff_table("t", database=catalog_url).parity
    (tmp_path / "t/_delta_log" / f"{4:020d}.json").write_text('{"commitInfo":{}}\n')
    for rebuild in (True, False):
        with pytest.raises(DeltaLakeError) as caught:
            import_(catalog_url, tmp_path, rebuild=rebuild)
        assert caught.value.kind is DeltaLakeErrorKind.MIRROR_CONFLICT


@pytest.mark.parametrize("authority", ["sql", "log"])
def test_versions_that_come_during_a_rebuild_are_carried_over(
    catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, authority: str
) -> None:
    uri = f"deltasql://{catalog_url}?table=t"
    table = dl.create_table(uri, SCHEMA, location=str(tmp_path / "t"), authority=authority)
    table.append(row(0))
    held = table.snapshot()

    def load_late(*args: Any, **options: Any) -> Any:
        result = load(*args, **options)
        table.append(row(1), token="again")
        table.overwrite(row(2))
        table.append(pa.table({"who": [None], "n": [10**12]}, schema=SCHEMA))
        table.append(row(5), mirror="async")
        return result

    monkeypatch.setattr("deltalakedb.importing.run.load", load_late)
    # The first two before the lock, the others under it.
    monkeypatch.setattr(carry_over, "MOST_UNDER_LOCK", 8)
    monkeypatch.setattr(carry_over, "_AT_ONCE", 2)
    done = import_(catalog_url, tmp_path, rebuild=True)
    assert (done.status, done.to_version) == ("imported", 5)
    now = dl.connect_to_table(uri)
    assert now.version == 5
    assert sorted(now.to_pyarrow_table()["n"].to_pylist()) == [2, 5, 10**12]
    assert now.append(row(1), token="again").repeated
    assert now.append(row(6)).version == 6
    assert held.to_pyarrow_table()["n"].to_pylist() == [0]
    assert now.snapshot(version=2).to_pyarrow_table()["n"].to_pylist() == [0, 1]
    assert dl.diff_table("t", database=catalog_url).parity
    theirs = deltalake.DeltaTable(str(tmp_path / "t")).to_pyarrow_table()["n"].to_pylist()
    assert sorted(theirs) == [2, 5, 6, 10**12]


def test_rebuilds_beside_writers(uri: str, catalog_url: str, tmp_path: Path) -> None:
    running = start_appenders(uri, tmp_path / "ready", 2, 240.0)
    rebuilt, stop = [], threading.Event()

    def rebuild() -> None:
        while not stop.is_set():
            rebuilt.append(import_(catalog_url, tmp_path, rebuild=True).to_version)
            rebuilt.append(import_(catalog_url, tmp_path).to_version)

    thread = threading.Thread(target=rebuild)
    thread.start()
    until = time.monotonic() + 2
    # On a busy machine longer, so that there is something to look at.
    while thread.is_alive() and (time.monotonic() < until or len(rebuilt) <= 2):
        time.sleep(0.05)
    (tmp_path / "ready" / "stop").touch()
    lines = [line.split(" ", 3) for each in running for line in each.communicate()[0].splitlines()]
    stop.set()
    thread.join()
    assert len(rebuilt) > 2
    assert rebuilt == sorted(rebuilt)
    assert {line[0] for line in lines} == {"version"}, lines
    versions = sorted(int(line[1]) for line in lines)
    assert versions == list(range(1, len(versions) + 1))
    table = dl.connect_to_table(uri)
    assert table.version == len(versions)
    assert table.to_pyarrow_table().num_rows == len(versions)
    assert dl.diff_table("t", database=catalog_url).parity
