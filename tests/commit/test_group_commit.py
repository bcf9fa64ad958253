"""Appends that wait for one table become one version, and each caller is told its own."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError
from deltalakedb.table.operations import gather, joint

SCHEMA = pa.schema([("n", pa.int64())])


def rows(*numbers: int) -> pa.Table:
    return pa.table({"n": pa.array(numbers, pa.int64())})


@pytest.fixture
def table(catalog_url: str, tmp_path: Path) -> dl.Table:
    return dl.create_table(
        f"deltasql://{catalog_url}?table=t",
        SCHEMA,
        location=str(tmp_path / "t"),
        properties={gather.PROPERTY: "true"},
    )


def together(
    table: dl.Table, monkeypatch: pytest.MonkeyPatch, calls: list[Callable[[dl.Table], Any]]
) -> list[Any]:
    """What calls give that all wait while a first append is being committed."""
    entered, go = threading.Event(), threading.Event()
    alone = joint._alone

    def held(each: Any) -> None:
        if not entered.is_set():
            entered.set()
            assert go.wait(120)
        alone(each)

    monkeypatch.setattr(joint, "_alone", held)

    def outcome(call: Callable[[dl.Table], Any]) -> Any:
        try:
            return call(dl.connect_to_table(table.uri, cache=False))
        except DeltaLakeError as error:
            return error

    with ThreadPoolExecutor(len(calls) + 1) as threads:
        first = threads.submit(outcome, lambda opened: opened.append(rows(0)))
        assert entered.wait(120)
        [mine] = [each for _, each in gather._gates.items() if each.is_busy]
        found = []
        for number, call in enumerate(calls, 1):
            found.append(threads.submit(outcome, call))
            while len(mine.waiting) < number and not found[-1].done():
                threading.Event().wait(0.005)
        go.set()
        assert first.result().published
        return [each.result() for each in found]


def commit_of(table: dl.Table, version: int) -> list[dict[str, Any]]:
    path = Path(table.location.removeprefix("file://")) / "_delta_log" / f"{version:020d}.json"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_one_version_for_those_who_wait(
    table: dl.Table, catalog_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def append(number: int) -> Callable[[dl.Table], Any]:
        txn = dl.AppTransaction(f"app{number}", number)
        return lambda opened: opened.append(
            rows(number),
            token=f"token{number}",
            commit_properties=dl.CommitProperties(app_transactions=[txn]),
        )

    found = together(table, monkeypatch, [append(number) for number in range(1, 7)])
    assert [(each.version, each.published, each.repeated) for each in found] == [
        (2, True, False)
    ] * 6
    assert [each.metrics["numOutputRows"] for each in found] == [1] * 6
    lines = commit_of(table, 2)
    kinds = Counter(next(iter(line)) for line in lines)
    assert kinds == {"commitInfo": 1, "txn": 6, "add": 6}
    assert lines[0]["commitInfo"]["operationMetrics"]["numOutputRows"] == "6"
    assert lines[0]["commitInfo"]["isBlindAppend"] is True
    seen = deltalake.DeltaTable(table.location).to_pyarrow_table()
    assert sorted(seen["n"].to_pylist()) == list(range(7))
    assert table.snapshot().transactions["app3"]["version"] == 3
    assert dl.diff_table("t", database=catalog_url).parity
    # Each was committed under its own token.
    again = append(4)(dl.connect_to_table(table.uri))
    assert (again.version, again.repeated) == (2, True)
    assert table.snapshot().count_rows() == 7


def test_the_fault_of_one_is_its_own(table: dl.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was committed before, and what no longer fits, don't concern those beside them."""
    assert table.append(rows(100), token="known").version == 1
    table.delete("n = 100")
    table.alter.add_columns([pa.field("more", pa.int64())])

    def fails(opened: dl.Table) -> Any:
        properties = dl.CommitProperties(max_commit_retries=0)
        return opened.append(rows(9), commit_properties=properties, token="x" * 65)

    found = together(
        table,
        monkeypatch,
        [
            lambda opened: opened.append(rows(1)),
            lambda opened: opened.append(rows(3), token="known"),
            fails,
            lambda opened: opened.append(rows(2)),
        ],
    )
    assert [each.version for each in (found[0], found[3])] == [5, 6]
    assert (found[1].version, found[1].repeated) == (1, True)
    assert "64 characters" in str(found[2])
    assert sorted(table.snapshot().to_pyarrow_table()["n"].to_pylist()) == [0, 1, 2]
    assert len(list(Path(table.location.removeprefix("file://")).glob("*.parquet"))) == 4
