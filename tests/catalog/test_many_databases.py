"""A process that lives long and meets many databases and tables."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.catalog.dialects import writers
from deltalakedb.mirror import tend
from deltalakedb.table import connect
from tests.faults.told import wait_until

ROWS = pa.table({"x": [1]})


def opened_below(folder: Path) -> int:
    """Descriptors of this process into `folder`."""
    found = 0
    for each in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{each}").startswith(str(folder))
        except FileNotFoundError:
            continue  # that of the listing itself
    return found


def test_few_databases_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "_MOST_KEPT", 2)
    monkeypatch.setattr(writers, "_MOST_KEPT", 2)
    uris = [f"deltasql://sqlite:///{tmp_path}/{n}.sqlite?table=t" for n in range(8)]
    tables = [
        dl.create_table(uri, ROWS.schema, location=str(tmp_path / str(n)))
        for n, uri in enumerate(uris)
    ]
    held = tables[0]
    for table in tables:
        assert table.append(ROWS).version == 1
    del tables, table
    gc.collect()
    # Two readers that are kept, one of a table that is held, and two idle writers, each with its
    # file and its write-ahead log; and what is a process's: the log's index, descriptors that a
    # lock forbids to close.
    wait_until(lambda: opened_below(tmp_path) <= 20)
    assert held.snapshot().num_files == 1
    for uri in uris:
        assert dl.connect_to_table(uri).append(ROWS).version == 2
    assert held.refresh().version == 2
    assert dl.connect_to_table(uris[0])._catalog is held._catalog


def test_an_idle_connection_is_closed_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "_LONGEST_SECONDS", -1.0)
    uri = f"deltasql://sqlite:///{tmp_path}/c.sqlite?table=t"
    with_table = dl.create_table(uri, ROWS.schema, location=str(tmp_path / "t"))
    url = with_table._catalog.reader.url
    assert with_table.append(ROWS).version == 1
    assert not writers._idle._kept.get(url)
    with_table.close()


def test_quiet_tables_are_tended_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tend, "_MOST_TENDED", 3)
    database = f"sqlite:///{tmp_path}/c.sqlite"
    tables = [
        dl.create_table(
            f"deltasql://{database}?table=t{n}", ROWS.schema, location=str(tmp_path / f"t{n}")
        )
        for n in range(6)
    ]
    url = tables[0]._catalog.reader.url
    for table in tables:
        assert table.append(ROWS).version == 1
    wait_until(lambda: sum(key[1] == url for key in tend._tended) <= 3)
    for table in tables:
        assert table.append(ROWS).version == 2
        found = tend.tend_now(url, table._head.row, tend.publish.log_of(table._head.row, None))
        assert (found.durable_version, found.waiting) == (2, 0)
