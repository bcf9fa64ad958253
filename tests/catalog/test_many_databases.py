"""A process that lives long and meets many databases and tables."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.catalog.dialects import writers
from deltalakedb.mirror import tend
from deltalakedb.table import connect
from tests.faults.told import wait_until

ROWS = pa.table({"x": [1]})


def test_few_databases_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "_MOST_KEPT", 2)
    monkeypatch.setattr(writers, "_MOST_KEPT", 2)
    uris = [f"deltasql://sqlite:///{tmp_path}/{n}.sqlite?table=t" for n in range(8)]
    tables = [
        dl.create_table(uri, ROWS.schema, location=str(tmp_path / str(n)))
        for n, uri in enumerate(uris)
    ]
    for table in tables:
        assert table.append(ROWS).version == 1
    ours = {table._catalog.reader.url for table in tables}
    assert sum(len(kept) for url, kept in writers._idle._kept.items() if url in ours) <= 2
    for uri, table in zip(uris, tables, strict=True):
        again = dl.connect_to_table(uri)
        assert again._catalog is table._catalog
        assert again.append(ROWS).version == 2
    # Each was left as the third after it came; they all are still held here.
    connected = [table for table in tables if table._catalog.reader._connection is not None]
    assert connected == tables[-2:]
    for table in tables:
        assert table.refresh().version == 2


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
