"""The migration guide's code that writes runs as it is printed; only its places are put in."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from tests.table.test_guide import block, run
from tests.table.test_transaction import ids, rows, tables, uri_of

NAMES = ("sales", "inventory", "audit_log")


def test_after_the_migration(sqlite_url: str, tmp_path: Path) -> None:
    [table] = tables(sqlite_url, tmp_path, "mytable")
    table.append(rows(1, 2))
    printed = "deltasql://postgresql://user:pass@localhost:5432/db.mytable"
    found = run(block("# SQL-Backed Delta Lake"), {printed: uri_of(sqlite_url, "mytable")})
    assert (found["result"].version, found["result"].published) == (2, True)
    assert ids(sqlite_url, "mytable") == [1, 1, 2, 2]


def test_multi_table_transaction(
    sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables(sqlite_url, tmp_path, *NAMES)
    places = {f"deltasql://pg://localhost/db.{name}": uri_of(sqlite_url, name) for name in NAMES}
    code = block("# Create transaction manager")
    # As printed it stages no data, so there is nothing to commit.
    found = run(code, places)
    assert found["result"].message == "nothing was staged, so nothing was committed"
    assert capsys.readouterr().out.endswith("committed: False\n")
    sales, inventory, audit = places.values()
    staging = f"""
tx.write({sales!r}, data)
tx.write({audit!r}, data, mode=dl.WriteMode.APPEND)
tx.prepare()"""
    found = run(
        code.replace("\n    tx.prepare()", staging.replace("\n", "\n    "), 1), places, data=rows(1)
    )
    assert capsys.readouterr().out.endswith("committed: True\n")
    assert found["result"].versions == {"sales": 1, "audit_log": 1}
    assert (ids(sqlite_url, "sales"), ids(sqlite_url, "inventory")) == ([1], [])
    # What would conflict is said by prepare, and what was written is gone after rollback.
    tx = dl.MultiTableTransactionManager().create_transaction()
    tx.add_participant(sales, [dl.CrossTableOperationType.UPDATE])
    tx.update(sales, new_values={"id": 2})
    tx.prepare()
    dl.connect_to_table(sales).delete()
    with pytest.raises(DeltaLakeError) as caught:
        tx.prepare()
    assert caught.value.kind is DeltaLakeErrorKind.CONCURRENCY_ERROR
    with pytest.raises(DeltaLakeError, match="isn't a participant to write"):
        tx.write(sales, rows(3))
    with pytest.raises(DeltaLakeError, match="isn't a participant;"):
        tx.snapshot(inventory)
    tx.rollback()
    assert len(list((tmp_path / "sales").glob("*.parquet"))) == 1


def test_the_event_loop_goes_on(catalog_url: str, tmp_path: Path) -> None:
    names = [f"t{number}" for number in range(20)]
    tables(catalog_url, tmp_path, *names[:10])
    uris = [uri_of(catalog_url, names[number % 10]) for number in range(100)]
    late: list[float] = []
    took: list[float] = []

    async def heartbeat() -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            late.append(time.monotonic() - began - 0.005)

    async def everything() -> None:
        with dl.AsyncIOExecutor(dl.AsyncTaskConfig(max_concurrent_tasks=4)) as executor:
            ops = dl.AsyncDeltaLakeOperations(executor)
            await ops.read_table_async(uris[0])
            beating = asyncio.create_task(heartbeat())
            began = time.monotonic()
            while len(late) < 20:  # all of them are there before a second beat
                found = await asyncio.gather(*(ops.snapshot_async(uri) for uri in uris))
                assert [s.name for s in found] == [names[number % 10] for number in range(100)]
            at_once = await ops.snapshots_async(uris[:10])
            assert [s.version for s in at_once] == [0] * 10
            beating.cancel()
            took.append(time.monotonic() - began)
            writes = [ops.write_table_async(uris[0], rows(number)) for number in range(4)]
            done = await asyncio.gather(*writes)
            assert sorted(result.version for result in done) == [1, 2, 3, 4]
            read = await ops.read_table_async(uris[0], "id > 1", ["id"])
            assert sorted(read["id"].to_pylist()) == [2, 3]
            assert (await ops.read_table_async(uris[0], version=0)).num_rows == 0

    asyncio.run(everything())
    # Calls that kept it waiting would leave it a beat or two.
    assert sorted(late)[len(late) // 2] < max(0.05, took[0] / 10)
    with pytest.raises(DeltaLakeError, match="at least 1"):
        dl.AsyncTaskConfig(max_concurrent_tasks=0)


def test_no_more_calls_at_a_time_than_allowed() -> None:
    running, most = 0, 0
    lock, together = threading.Lock(), threading.Barrier(3, timeout=240)

    def call() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait()
        time.sleep(0.01)
        with lock:
            running -= 1

    async def calls() -> None:
        with dl.AsyncIOExecutor(dl.AsyncTaskConfig(max_concurrent_tasks=3)) as executor:
            await asyncio.gather(*(executor.run(call) for _ in range(12)))

    asyncio.run(calls())
    assert most == 3


def test_threads_take_short_turns_while_calls_are_under_way() -> None:
    before = sys.getswitchinterval()
    both = threading.Barrier(2, timeout=240)

    def call() -> float:
        both.wait()
        return sys.getswitchinterval()

    async def calls() -> list[float]:
        with dl.AsyncIOExecutor(dl.AsyncTaskConfig(max_concurrent_tasks=2)) as executor:
            return list(await asyncio.gather(executor.run(call), executor.run(call)))

    assert max(asyncio.run(calls())) < before
    assert sys.getswitchinterval() == before

    async def failing() -> None:
        with dl.AsyncIOExecutor() as executor:
            await executor.run(int, "no number")

    with pytest.raises(ValueError, match="no number"):
        asyncio.run(failing())
    assert sys.getswitchinterval() == before


def test_data_is_arrow(sqlite_url: str, tmp_path: Path) -> None:
    [table] = tables(sqlite_url, tmp_path, "t")
    ops = dl.AsyncDeltaLakeOperations()
    wrong = pa.table({"other": [1]})
    with pytest.raises(DeltaLakeError) as caught:
        asyncio.run(ops.write_table_async(table.uri, wrong))
    assert caught.value.kind is DeltaLakeErrorKind.SCHEMA_MISMATCH
    assert asyncio.run(ops.write_table_async(table.uri, rows(1), "overwrite")).version == 1
    with pytest.raises(DeltaLakeError) as caught:
        asyncio.run(ops.write_table_async(table.uri, rows(1), "upsert"))
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT
