"""A checkpoint of one large row group: parsed in one pass, loaded in parts, by any worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import dask.config
import pytest

from deltalakedb.importing.run import import_table
from deltalakedb.log import ranges, reader
from deltalakedb.parity import log_part
from deltalakedb.parity.run import diff_table
from tests.log.made_logs import write_checkpoint, write_commit
from tests.migrate.catalogs import content
from tests.migrate.faults import at, import_big, kill, small_parts, worker_processes
from tests.replay.generated import add, remove, table_commit

if TYPE_CHECKING:
    from distributed import Client

VERSION = 7
FILES = 1000


@pytest.fixture
def table(tmp_path: Path) -> Path:
    actions = [
        *[a for a in table_commit() if "commitInfo" not in a],
        *[add(f"f{n}", size=n + 1, value=str(n % 5)) for n in range(FILES)],
    ]
    log = tmp_path / "whole" / "_delta_log"
    write_checkpoint(log / f"{VERSION:020d}.checkpoint.parquet", actions)
    write_commit(log, VERSION + 1, [remove("f5", at=9), add("g")])
    return tmp_path / "whole"


@pytest.mark.parametrize(
    "any_catalog_url",
    ["sqlite", "postgresql", pytest.param("mysql", marks=pytest.mark.system)],
    indirect=True,
)
def test_its_parts_are_the_whole(
    table: Path,
    tmp_path: Path,
    any_catalog_url: str,
    dask_client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = str(tmp_path / "whole.sqlite")
    import_table(str(table), database=whole)
    monkeypatch.setattr(reader, "RANGE_BYTES", 4000)
    small_parts(monkeypatch, 4000)
    result = import_table(str(table), database=any_catalog_url, client=dask_client)
    assert result.live_files == FILES
    assert content(any_catalog_url, "whole") == content(whole, "whole")


@pytest.mark.parametrize("any_catalog_url", ["sqlite", "postgresql"], indirect=True)
def test_slices_of_a_commit_are_the_whole(
    tmp_path: Path,
    any_catalog_url: str,
    dask_client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Files that one commit adds twice, far apart, included: the later line stays."""
    log = tmp_path / "whole" / "_delta_log"
    write_commit(log, 0, [*table_commit(), add("old")])
    adds = [add(f"f{n}", size=n + 1, value=str(n % 5)) for n in range(300)]
    again = [add("f3", size=7, value="1"), add("f299", size=8, value="2")]
    write_commit(
        log, 1, [remove("old", at=9), *adds, *again, {"txn": {"appId": "a", "version": 1}}]
    )
    write_commit(log, 2, [remove("f4", at=10)])
    whole = str(tmp_path / "whole.sqlite")
    import_table(str(log), database=whole, mode="full-history")
    small_parts(monkeypatch, 4000)
    result = import_table(
        str(log), database=any_catalog_url, client=dask_client, mode="full-history"
    )
    assert (result.live_files, result.adds) == (299, 303)
    assert content(any_catalog_url, "whole") == content(whole, "whole")
    monkeypatch.setattr(ranges, "slices_of", lambda commit, size=4000: commit.size // 4000 or 1)
    monkeypatch.setattr(log_part, "slices_of", ranges.slices_of)
    assert diff_table("whole", database=any_catalog_url).parity


def test_a_worker_is_killed_between_its_parts(
    table: Path,
    tmp_path: Path,
    pg_database: str,
    private_dask: Callable[[], Client],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = str(tmp_path / "whole.sqlite")
    import_table(str(table), database=whole)
    monkeypatch.setattr(reader, "RANGE_BYTES", 4000)
    small_parts(monkeypatch, 4000)
    # Who still asks the dead one for its parts goes on asking for so long.
    with dask.config.set({"distributed.comm.timeouts.connect": "5s"}):
        client = private_dask()
    [victim, *_] = worker_processes(client)
    import_big(
        table,
        pg_database,
        mode="fast",
        client=client,
        progress=at(("load", 3), lambda: kill(victim)),
    )
    assert content(pg_database, "whole") == content(whole, "whole")
