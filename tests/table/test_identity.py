"""Identity columns: each number once, whoever writes, and the schema says how far they went."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.identity import IdentityColumn, with_marks


def schema(**said: Any) -> str:
    """`i` BIGINT GENERATED AS IDENTITY, `x` BIGINT."""
    identity = {f"delta.identity.{key}": value for key, value in said.items()}
    columns = [("i", identity), ("x", {})]
    fields = [
        {"name": name, "type": "long", "nullable": True, "metadata": metadata}
        for name, metadata in columns
    ]
    return json.dumps({"type": "struct", "fields": fields})


def made(url: str, place: Path, **said: Any) -> dl.Table:
    given = {"start": 10, "step": 5, "allowExplicitInsert": False, **said}
    return dl.create_table(f"deltasql://{url}?table=t", schema(**given), location=str(place))


def rows(*values: int) -> pa.Table:
    return pa.table({"x": pa.array(values, pa.int64())})


def content(table: dl.Table) -> list[tuple[int, int]]:
    found = table.to_pyarrow_table().to_pylist()
    return sorted((row["x"], row["i"]) for row in found)


def mark(place: Path) -> int | None:
    """As the newest metaData of the log has it."""
    found = None
    for file in sorted((place / "_delta_log").glob("*.json")):
        for line in file.read_text().splitlines():
            body = json.loads(line).get("metaData")
            if body is not None:
                [field, _] = json.loads(body["schemaString"])["fields"]
                found = field["metadata"].get("delta.identity.highWaterMark")
    return found


def test_rows_get_numbers(catalog_url: str, tmp_path: Path) -> None:
    place = tmp_path / "t"
    table = made(catalog_url, place)
    assert mark(place) is None
    table.append(rows(1, 2))
    assert content(table) == [(1, 10), (2, 15)]
    assert mark(place) == 15
    table.delete("x = 2")
    table.update(updates={"x": "x + 100"}, predicate="x = 1")
    assert content(table) == [(101, 10)]
    table.merge(rows(101, 7), "t.x = s.x", source_alias="s", target_alias="t").when_matched_update(
        {"x": "1"}
    ).when_not_matched_insert_all().execute()
    assert content(table) == [(1, 10), (7, 20)]
    assert mark(place) == 20
    table.overwrite(rows(7), predicate="x = 7")
    assert content(table) == [(1, 10), (7, 25)]
    table.restore(1)
    assert (content(table), mark(place)) == ([(1, 10), (2, 15)], 25)
    table.append(rows(3))
    assert content(table)[-1] == (3, 30)
    assert dl.diff_table("t", database=catalog_url).parity


def test_what_may_be_given(sqlite_url: str, tmp_path: Path) -> None:
    always = made(sqlite_url, tmp_path / "t")
    given = pa.table({"i": [1], "x": [1]})
    with pytest.raises(DeltaLakeError, match="given by the table") as caught:
        always.append(given)
    assert caught.value.kind is DeltaLakeErrorKind.CONSTRAINT_VIOLATION
    with pytest.raises(DeltaLakeError, match="can't be updated"):
        always.update(updates={"i": "1"})
    url = f"sqlite:///{tmp_path}/other.sqlite"
    default = made(url, tmp_path / "u", allowExplicitInsert=True, start=0, step=-1)
    default.append(given)
    default.append(rows(2, 3))
    assert content(default) == [(1, 1), (2, 0), (3, -1)]


def test_writers_at_once_get_ranges_apart(sqlite_url: str, tmp_path: Path) -> None:
    made(sqlite_url, tmp_path / "t", start=1, step=1)
    failures: list[BaseException] = []

    def write(first: int) -> None:
        try:
            table = dl.connect_to_table(f"deltasql://{sqlite_url}?table=t")
            for number in range(4):
                table.append(rows(first + number, first + number + 1_000))
        except BaseException as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    threads = [threading.Thread(target=write, args=(100 * n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    found = content(dl.connect_to_table(f"deltasql://{sqlite_url}?table=t"))
    assert sorted(number for _, number in found) == list(range(1, 25))
    assert mark(tmp_path / "t") == 24


def test_numbers_follow_marks_in_the_direction_of_the_steps() -> None:
    up = IdentityColumn("i", 0, 10, 5, None, False)
    assert [up.following(mark) for mark in (None, 10, 12, 15, -3)] == [10, 15, 15, 20, 10]
    down = IdentityColumn("i", 0, 0, -2, -4, False)
    assert down.furthest([-2, None]) == -4
    assert [down.following(mark) for mark in (-4, -3, 5)] == [-6, -4, 0]
    text = schema(start=1, step=-1, highWaterMark=-5)
    assert with_marks(text, [("i", -3)]) == text
    assert '"delta.identity.highWaterMark":-7' in with_marks(text, [("i", -7), ("i", -6)])


def test_beside_features_that_are_listed(sqlite_url: str, tmp_path: Path) -> None:
    """Vectors make a protocol that lists what a version implied before."""
    place = tmp_path / "t"
    table = dl.create_table(
        f"deltasql://{sqlite_url}?table=t",
        schema(start=10, step=-5, allowExplicitInsert=False),
        location=str(place),
        properties={"delta.enableDeletionVectors": "true", "delta.enableChangeDataFeed": "true"},
    )
    assert {"identityColumns", "deletionVectors"} <= set(table.protocol.writer_features or ())
    table.append(rows(1, 2))
    table.update({"x": "x + 10"}, predicate="x = 2")
    with dl.begin(sqlite_url) as tx:
        tx.append("t", rows(3))
        tx.update("t", {"x": "x + 10"}, predicate="x = 3 OR i = 10")
    assert content(table.refresh()) == [(11, 10), (12, 5), (13, 0)]
    found = table.load_cdf(starting_version=table.version).read_all().to_pylist()
    assert sorted((row["_change_type"], row["i"]) for row in found) == [
        ("insert", 0),
        ("update_postimage", 10),
        ("update_preimage", 10),
    ]
