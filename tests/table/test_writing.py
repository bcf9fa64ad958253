"""Tables that are made and written through SQL, read here and by delta-rs."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import deltalake
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind


def uri_of(database: str, name: str = "ns.t") -> str:
    return f"deltasql://{database}?table={name}"


def by_delta_rs(location: Path) -> list[dict[str, Any]]:
    rows = deltalake.DeltaTable(str(location)).to_pyarrow_table().to_pylist()
    return sorted(rows, key=str)


def ours(uri: str) -> list[dict[str, Any]]:
    return sorted(dl.connect_to_table(uri).to_pyarrow_table().to_pylist(), key=str)


def commit_of(location: Path, version: int) -> list[dict[str, Any]]:
    text = (location / "_delta_log" / f"{version:020d}.json").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_create_append_overwrite(any_catalog_url: str, tmp_path: Path) -> None:
    uri, place = uri_of(any_catalog_url), tmp_path / "t"
    schema = pa.schema([("id", pa.int64()), ("p", pa.string())])
    table = dl.create_table(uri, schema, location=str(place), partition_by=["p"])
    assert table.version == 0
    assert by_delta_rs(place) == []
    rows = pa.table({"id": [1, 2, 3], "p": ["a", None, "x/y=z%"]})
    assert table.append(rows).version == 1
    assert ours(uri) == by_delta_rs(place) == sorted(rows.to_pylist(), key=str)
    more = pa.table({"id": [4, 5], "p": ["a", "new"]})
    result = table.overwrite(more, partition_overwrite="dynamic")
    assert (result.version, result.metrics["numRemovedFiles"]) == (2, 1)
    kept = [{"id": 2, "p": None}, {"id": 3, "p": "x/y=z%"}, *more.to_pylist()]
    assert ours(uri) == by_delta_rs(place) == sorted(kept, key=str)
    assert table.overwrite(rows.slice(0, 1)).version == 3
    assert ours(uri) == by_delta_rs(place) == [{"id": 1, "p": "a"}]
    assert table.snapshot(1).to_pyarrow_table().num_rows == 3
    report = dl.diff_table("ns.t", database=any_catalog_url)
    assert report.parity
    assert report.exit_code == 0


def test_modes(catalog_url: str, tmp_path: Path) -> None:
    uri, place = uri_of(catalog_url), tmp_path / "t"
    data = pa.table({"x": [1]})
    first = dl.write_deltalake(uri, data, location=str(place), description="d")
    assert (first.version, first.published) == (0, True)
    assert commit_of(place, 0)[0]["commitInfo"]["operation"] == "CREATE TABLE AS SELECT"
    with pytest.raises(DeltaLakeError) as caught:
        dl.write_deltalake(uri, data)
    assert caught.value.kind is DeltaLakeErrorKind.TABLE_EXISTS
    assert dl.write_deltalake(uri, data, mode="ignore").version == 0
    assert dl.write_deltalake(uri, data, mode="append").version == 1
    with pytest.raises(DeltaLakeError, match="import it"):
        dl.write_deltalake(uri_of(catalog_url, "other"), data, location=str(place))
    with pytest.raises(DeltaLakeError, match="no warehouse"):
        dl.write_deltalake(uri_of(catalog_url, "other"), data)
    assert sorted(p.name for p in (tmp_path).iterdir() if p.is_dir() and p.name != "t") in (
        [],
        ["c.sqlite.queue"],
        ["catalog.sqlite.queue"],
    )


def test_schema_evolution(catalog_url: str, tmp_path: Path) -> None:
    uri, place = uri_of(catalog_url), tmp_path / "t"
    dl.write_deltalake(uri, pa.table({"x": [1]}), location=str(place))
    table = dl.connect_to_table(uri)
    wider = pa.table({"x": [2], "y": ["new"]})
    with pytest.raises(DeltaLakeError) as caught:
        table.append(wider)
    assert caught.value.kind is DeltaLakeErrorKind.SCHEMA_MISMATCH
    assert len(list(place.glob("*.parquet"))) == 1
    table.append(wider, schema_mode="merge")
    rows = [{"x": 1, "y": None}, {"x": 2, "y": "new"}]
    assert ours(uri) == by_delta_rs(place) == rows
    table.overwrite(pa.table({"z": [1.5]}), schema_mode="overwrite")
    assert ours(uri) == by_delta_rs(place) == [{"z": 1.5}]


def test_types_widen_where_the_table_lets_them(sqlite_url: str, tmp_path: Path) -> None:
    uri = uri_of(sqlite_url)
    narrow = pa.table({"i": pa.array([1], pa.int32()), "c": pa.array([1], pa.int32())})
    wide = pa.table({"i": [2**40], "c": [2]})
    dl.write_deltalake(uri, narrow, location=str(tmp_path / "t"))
    table = dl.connect_to_table(uri)
    with pytest.raises(DeltaLakeError, match="column i doesn't fit integer") as caught:
        table.append(wide, schema_mode="merge")
    assert caught.value.kind is DeltaLakeErrorKind.SCHEMA_MISMATCH
    table.alter.set_table_properties({"delta.enableTypeWidening": "true"})
    table.alter.add_constraint({"small": "c < 100"})
    table.append(wide, schema_mode="merge")
    table.refresh()
    # What a constraint is about keeps its type.
    assert table.schema == pa.schema([("i", pa.int64()), ("c", pa.int32())])
    assert table.to_pyarrow_table("i < 2").to_pylist() == [{"i": 1, "c": 1}]
    assert sorted(table.to_pyarrow_table().column("i").to_pylist()) == [1, 2**40]
    assert dl.diff_table("ns.t", database=sqlite_url).parity


def test_a_merge_widens_what_it_sets(sqlite_url: str, tmp_path: Path) -> None:
    uri = uri_of(sqlite_url)
    narrow = pa.table({"i": pa.array([1, 2], pa.int32()), "f": pa.array([0.5, 0.5], pa.float32())})
    on = {"delta.enableTypeWidening": "true"}
    dl.write_deltalake(uri, narrow, location=str(tmp_path / "t"), configuration=on)
    table = dl.connect_to_table(uri)
    source = pa.table({"i": [1, 2**40], "f": [0.1, 0.2]})
    merged = table.merge(source, "target.i = source.i", merge_schema=True)
    merged.when_matched_update({"f": "source.f"}).execute()
    table.refresh()
    assert table.schema == pa.schema([("i", pa.int32()), ("f", pa.float64())])
    merged = table.merge(source, "target.i = source.i", merge_schema=True)
    merged.when_not_matched_insert_all().execute()
    table.refresh()
    rows = sorted(table.to_pyarrow_table().to_pylist(), key=lambda row: row["i"])
    assert [(row["i"], row["f"]) for row in rows] == [(1, 0.1), (2, 0.5), (2**40, 0.2)]


def test_dynamic_overwrite_of_partitions_that_others_spell(sqlite_url: str, tmp_path: Path) -> None:
    """delta-rs writes an instant, a whole double and bytes otherwise: the values are the same."""
    day = [datetime(2020, 1, n, tzinfo=UTC) for n in (1, 2)]
    columns = {
        "t": pa.array(day, pa.timestamp("us", "UTC")),
        "f": pa.array([1.0, float("nan")]),
        "b": pa.array([b"a", None]),
    }
    rows = pa.table({**columns, "x": [1, 2]})
    place = tmp_path / "t"
    deltalake.write_deltalake(str(place), rows, partition_by=[*columns])
    dl.import_table(log_dir=str(place), database=sqlite_url, table_name="t")
    table = dl.connect_to_table(uri_of(sqlite_url, "t"))
    table.overwrite(
        rows.slice(0, 1).set_column(3, "x", pa.array([3])), partition_overwrite="dynamic"
    )
    table.refresh()
    assert sorted(table.to_pyarrow_table().column("x").to_pylist()) == [2, 3]
    table.overwrite(
        rows.slice(1, 1).set_column(3, "x", pa.array([4])), partition_overwrite="dynamic"
    )
    table.refresh()
    assert sorted(table.to_pyarrow_table().column("x").to_pylist()) == [3, 4]


def test_one_write_a_token_and_application_version(catalog_url: str, tmp_path: Path) -> None:
    uri, place = uri_of(catalog_url), tmp_path / "t"
    dl.write_deltalake(uri, pa.table({"x": [0]}), location=str(place))
    table = dl.connect_to_table(uri)
    data = pa.table({"x": [1]})
    assert table.append(data, token="once").version == 1
    again = table.append(data, token="once")
    assert (again.version, again.repeated) == (1, True)
    mine = dl.CommitProperties(app_transactions=[dl.AppTransaction("app", 7)])
    assert table.append(data, commit_properties=mine).version == 2
    again = table.append(data, commit_properties=mine)
    assert (again.version, again.repeated) == (2, True)
    older = dl.CommitProperties(app_transactions=[dl.AppTransaction("app", 6)])
    assert table.append(data, commit_properties=older).repeated
    newer = dl.CommitProperties(app_transactions=[dl.AppTransaction("app", 8)])
    assert table.append(data, commit_properties=newer).version == 3
    assert table.snapshot().count_rows() == 4
    # What wasn't committed has left no files.
    assert len(list(place.glob("*.parquet"))) == 4
    with pytest.raises(DeltaLakeError, match="not at 1") as caught:
        table.append(data, if_version=1)
    assert caught.value.outcome == "failed"
    assert table.append(data, if_version=3).version == 4


def test_what_a_commit_says(catalog_url: str, tmp_path: Path) -> None:
    uri, place = uri_of(catalog_url), tmp_path / "t"
    dl.write_deltalake(uri, pa.table({"x": [0]}), location=str(place))
    properties = dl.CommitProperties(custom_metadata={"userMetadata": "hello", "mine": "1"})
    dl.connect_to_table(uri).append(
        pa.table({"x": [1, 2]}), commit_properties=properties, token="tok"
    )
    [info, add] = commit_of(place, 1)
    said = info["commitInfo"]
    assert said["operation"] == "WRITE"
    assert said["operationParameters"] == {"mode": "Append", "partitionBy": "[]"}
    assert said["readVersion"] == 0
    assert said["isolationLevel"] == "WriteSerializable"
    assert said["isBlindAppend"] is True
    assert said["txnId"] == "tok"
    assert said["operationMetrics"]["numOutputRows"] == "2"
    assert (said["userMetadata"], said["mine"]) == ("hello", "1")
    assert said["engineInfo"].startswith("deltalakedb/")
    assert json.loads(add["add"]["stats"])["numRecords"] == 2
    [newest, _] = dl.connect_to_table(uri).history()
    assert newest["operation"] == "WRITE"
    assert newest["user_metadata"] == "hello"


def test_overwriting_the_rows_of_a_predicate(catalog_url: str, tmp_path: Path) -> None:
    uri, place = uri_of(catalog_url), tmp_path / "t"
    rows = pa.table({"p": ["a", "a", "b", None], "x": [1, 2, 3, None]})
    dl.write_deltalake(uri, rows, location=str(place), partition_by="p")
    table = dl.connect_to_table(uri)
    done = table.overwrite(pa.table({"p": ["a"], "x": [20]}), predicate="x >= 2 AND p = 'a'")
    assert (done.metrics["numCopiedRows"], done.metrics["numRemovedFiles"]) == (1, 1)
    expected = [{"p": "a", "x": 1}, {"p": "a", "x": 20}, {"p": "b", "x": 3}, {"p": None, "x": None}]
    assert ours(uri) == by_delta_rs(place) == sorted(expected, key=str)
    done = table.overwrite(pa.table({"p": ["b"], "x": [30]}), predicate="p = 'b'")
    assert done.metrics["numCopiedRows"] == 0
    with pytest.raises(DeltaLakeError, match="isn't one of those") as caught:
        table.overwrite(pa.table({"p": ["b"], "x": [1]}), predicate="x >= 30")
    assert caught.value.kind is DeltaLakeErrorKind.CONSTRAINT_VIOLATION
    table.overwrite(pa.table({"p": ["b"], "x": [31]}), predicate="x >= 30")
    expected[2] = {"p": "b", "x": 31}
    assert ours(uri) == by_delta_rs(place) == sorted(expected, key=str)


def test_overwriting_by_vectors_and_telling_of_it(sqlite_url: str, tmp_path: Path) -> None:
    uri, place = uri_of(sqlite_url), tmp_path / "t"
    properties = {"delta.enableDeletionVectors": "true", "delta.enableChangeDataFeed": "true"}
    dl.write_deltalake(
        uri, pa.table({"x": [1, 2, 3, None]}), location=str(place), configuration=properties
    )
    table = dl.connect_to_table(uri)
    files = {p.name for p in place.glob("*.parquet")}
    # What only the engine evaluates chooses rows, and is held against those that come.
    with pytest.raises(DeltaLakeError, match="'x': 4"):
        table.overwrite(pa.table({"x": [5, 4]}), predicate="x % 2 = 1")
    assert {p.name for p in place.glob("*.parquet")} == files
    done = table.overwrite(pa.table({"x": [5]}), predicate="x % 2 = 1")
    assert (done.metrics["numDeletionVectorsAdded"], done.metrics["numFiles"]) == (1, 1)
    assert ours(uri) == [{"x": 2}, {"x": 5}, {"x": None}]
    [change] = [body["cdc"] for body in commit_of(place, 1) if "cdc" in body]
    told = pq.ParquetFile(place / change["path"]).read().to_pylist()
    assert sorted((row["_change_type"], row["x"]) for row in told) == [
        ("delete", 1),
        ("delete", 3),
        ("insert", 5),
    ]


def test_checks(sqlite_url: str, tmp_path: Path) -> None:
    uri, place = uri_of(sqlite_url), tmp_path / "t"
    table = dl.create_table(
        uri,
        pa.schema([("x", pa.int64())]),
        location=str(place),
        properties={"delta.constraints.positive": "x > 0"},
    )
    table.append(pa.table({"x": [1]}))
    with pytest.raises(DeltaLakeError, match="positive") as caught:
        table.append(pa.table({"x": [1, -1]}))
    assert caught.value.kind is DeltaLakeErrorKind.CONSTRAINT_VIOLATION
    assert ours(uri) == by_delta_rs(place) == [{"x": 1}]


def test_constraints_on_columns(sqlite_url: str, tmp_path: Path) -> None:
    uri, place = uri_of(sqlite_url), tmp_path / "t"
    schema = pa.schema([pa.field("x", pa.int64(), nullable=False)])
    properties = {"delta.appendOnly": "true", "delta.columnMapping.mode": "name"}
    table = dl.create_table(uri, schema, location=str(place), properties=properties)
    with pytest.raises(DeltaLakeError, match="NOT NULL of column x") as caught:
        table.append(pa.table({"x": pa.array([1, None], pa.int64())}))
    assert caught.value.kind is DeltaLakeErrorKind.CONSTRAINT_VIOLATION
    table.append(pa.table({"x": [1]}))
    with pytest.raises(DeltaLakeError, match="append-only") as caught:
        table.overwrite(pa.table({"x": [1]}))
    assert caught.value.kind is DeltaLakeErrorKind.READ_ONLY
    assert len(list(place.glob("*.parquet"))) == 1
    # delta-rs hands physical names to pyarrow, which finds no column x.
    assert ours(uri) == [{"x": 1}]


def test_dropping_publishes_first(sqlite_url: str, tmp_path: Path) -> None:
    uri, place = uri_of(sqlite_url), tmp_path / "t"
    dl.write_deltalake(uri, pa.table({"x": [0]}), location=str(place))
    table = dl.connect_to_table(uri)
    for number in range(3):
        assert table.append(pa.table({"x": [number]}), mirror="async").version == number + 1
    dl.drop_table("ns.t", database=sqlite_url)
    assert deltalake.DeltaTable(str(place)).version() == 3
    # The key of the dropped table is the next one's; its log is its own.
    other = tmp_path / "other"
    dl.write_deltalake(uri, pa.table({"x": [0]}), location=str(other))
    dl.connect_to_table(uri).append(pa.table({"x": [1]}))
    assert deltalake.DeltaTable(str(place)).version() == 3
    assert deltalake.DeltaTable(str(other)).version() == 1


def test_the_documentation_runs(sqlite_url: str, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "writing.md").read_text()
    block = text.split("```python\n", 1)[1].split("```", 1)[0]
    exec(compile(block, "docs/writing.md", "exec"), {
        "database": sqlite_url, "location": str(tmp_path / "t"),
    })  # fmt: skip
    assert len(by_delta_rs(tmp_path / "t")) == 2


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"app": ("x" * 513, 1)}, "more than 512"),
        ({"app": ("a\0", 1)}, "NUL"),
        ({"app": ("\ud800", 1)}, "surrogate"),
        ({"app": (7, 1)}, "no text"),
        ({"app": ("a", 2**63)}, "64 bits"),
        ({"app": ("a", 1.5)}, "64 bits"),
        ({"app": ("a", "3")}, "64 bits"),
        ({"app": ("a", True)}, "64 bits"),
        ({"app": ("a", 1, 2**64)}, "64 bits"),
        ({"token": "a\0"}, "NUL"),
        ({"token": "\ud800"}, "surrogate"),
        ({"token": "x" * 65}, "more than 64"),
    ],
)
def test_names_and_numbers_that_no_database_holds(
    sqlite_url: str, tmp_path: Path, given: dict[str, Any], says: str
) -> None:
    data = pa.table({"x": [1]})
    uri = f"deltasql://{sqlite_url}?table=t"
    dl.write_deltalake(uri, data, location=str(tmp_path / "t"))
    options = dict(given)
    if "app" in options:
        txn = dl.AppTransaction(*options.pop("app"))
        options["commit_properties"] = dl.CommitProperties(app_transactions=[txn])
    table = dl.connect_to_table(uri)
    with pytest.raises(DeltaLakeError, match=says) as caught:
        table.append(data, **options)
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT
    assert dl.connect_to_table(uri).version == 0
    assert table.append(data).version == 1


def test_postgresql_says_that_it_holds_no_nul(pg_database: str, tmp_path: Path) -> None:
    uri = f"deltasql://{pg_database}?table=t"
    with pytest.raises(DeltaLakeError, match="NUL") as caught:
        dl.create_table(
            uri, pa.schema([("x", pa.int64())]), location=str(tmp_path / "t"), description="a\0"
        )
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT


def test_what_is_no_rows_is_refused(catalog_url: str, tmp_path: Path) -> None:
    uri = uri_of(catalog_url)
    odd = [
        *(pl.Series("a", [1]), {"a": [1]}, "a.parquet", None, pl.LazyFrame({"a": [1]})),
        pl.DataFrame({"a": pl.Series([object()], dtype=pl.Object)}),
        pd.DataFrame({"a": [1, "x"]}),
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.DataFrame({"a": [1 + 2j]}),
    ]
    for given in odd:
        with pytest.raises(DeltaLakeError, match="can't be written") as caught:
            dl.write_deltalake(uri, given, location=str(tmp_path / "t"))
        assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT
    with pytest.raises(DeltaLakeError, match="no columns"):
        dl.write_deltalake(uri, pd.DataFrame(), location=str(tmp_path / "t"))
    assert not (tmp_path / "t").exists()


def test_numbers_and_columns_that_make_no_sense_are_refused(
    catalog_url: str, tmp_path: Path
) -> None:
    uri, place = uri_of(catalog_url), str(tmp_path / "t")
    rows = pa.table({"a": [1], "b": [2], "c": [3]})
    with pytest.raises(DeltaLakeError, match="above 0"):
        dl.write_deltalake(uri, rows, location=place, target_file_size=0)
    with pytest.raises(DeltaLakeError, match="named twice"):
        dl.write_deltalake(uri, rows, location=place, partition_by=["a", "a"])
    assert not (tmp_path / "t").exists()
    table = dl.create_table(uri, rows.schema, location=place, partition_by=["a"])
    for written_to in (table, uri):
        with pytest.raises(DeltaLakeError, match="leave partition_by out"):
            dl.write_deltalake(written_to, rows, mode="append", partition_by="b")
    assert dl.write_deltalake(table, rows, mode="append", partition_by="a").version == 1


@pytest.mark.parametrize("name", [" t", "a/b", "a%0Ab", "x" * 256, str(uuid.UUID(int=7))])
def test_names_that_import_refuses_make_no_table(tmp_path: Path, name: str) -> None:
    uri = f"deltasql://sqlite:///{tmp_path}/catalog.sqlite?table={name}"
    schema = pa.schema([("a", pa.int64())])
    with pytest.raises(DeltaLakeError):
        dl.create_table(uri, schema, location=str(tmp_path / "t"))
    with pytest.raises(DeltaLakeError):
        dl.write_deltalake(uri, pa.table({"a": [1]}), location=str(tmp_path / "t"))
    assert not (tmp_path / "t").exists()
