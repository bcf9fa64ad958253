"""Scans as frames of pandas, Polars, DuckDB and Dask."""

from __future__ import annotations

import builtins
import datetime
import pickle
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from deltalakedb import secret
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.scan.frames import to_dask, to_duckdb, to_pandas
from deltalakedb.scan.polars_frame import to_polars
from deltalakedb.scan.scan import ScanSpec, scan_table
from tests.servers.s3 import SECRET, S3Bucket
from tests.snapshot.scan_support import (
    column,
    file_row,
    made_scan,
    sample_facts,
    sample_scan,
    write_deletion_vector,
    write_parquet,
)
from tests.tables import samples

if TYPE_CHECKING:
    from distributed import Client


def from_dask(spec: ScanSpec) -> pa.Table:
    frame = to_dask(spec, bin_bytes=1000)
    return pa.Table.from_pandas(frame.compute(scheduler="sync"), preserve_index=False)


def from_duckdb(spec: ScanSpec) -> pa.Table:
    with duckdb.connect() as connection:
        connection.execute("SET timezone = 'UTC'")
        return to_duckdb(spec, connection).to_arrow_table()


WAYS: dict[str, Callable[[ScanSpec], pa.Table]] = {
    "polars": lambda spec: to_polars(spec).collect().to_arrow(),
    "duckdb": from_duckdb,
    "dask": from_dask,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("dat-all_primitive_types", 0),
        ("dat-column_mapping", 3),
        ("dat-nested_types", 0),
        ("dat-no_stats", 0),
        ("derived-dv-inline-small", 1),
        ("golden-data-reader-partition-values", 0),
        ("golden-data-reader-timestamp_ntz-id-mode", 0),
        ("golden-parquet-all-types-legacy-format", 0),
        ("golden-type-widening-nested", 2),
        ("kernel-table-with-dv-small", 1),
    ],
)
def test_frames_hold_the_expected_rows(way: str, name: str, version: int) -> None:
    facts = sample_facts(name, version)
    table = WAYS[way](sample_scan(name, version))
    assert samples.data_sha256(table, facts["schema"]) == facts["data"]["sha256"]


def partitioned(folder: Path) -> ScanSpec:
    """Ten files in five partitions; four of them are missing, and one column can't be read."""
    rows = []
    for number in range(10):
        part = number // 2
        name = f"{number}.parquet"
        if part < 3:
            stored = pa.table(
                {
                    "a": [number, None, number + 100],
                    "x": [1.0, float("nan"), float(number)],
                    "bad": ["text"] * 3,
                }
            )
            write_parquet(folder / name, stored)
        rows.append(file_row(name, {"p": f"2024-01-0{part + 1}"}, num_records=3, size=600))
    fields = [
        column("p", "date"),
        column("a", "long"),
        column("x", "double"),
        column("bad", "long"),
    ]
    return made_scan(folder, fields, rows, partition_columns=["p"])


DAY = datetime.date(2024, 1, 2)


def test_polars_reads_only_what_a_query_needs(tmp_path: Path) -> None:
    frame = to_polars(partitioned(tmp_path))
    assert frame.collect_schema() == {
        "p": pl.Date,
        "a": pl.Int64,
        "x": pl.Float64,
        "bad": pl.Int64,
    }
    found = frame.filter((pl.col("p") == DAY) & (pl.col("a") > 50)).select("a").collect()
    assert found["a"].to_list() == [102, 103]
    assert frame.select("a").head(4).collect()["a"].to_list() == [0, None, 100, 1]
    query = frame.filter(pl.col("p") < datetime.date(2024, 1, 3)).group_by("p").agg(pl.len())
    assert query.collect(engine="streaming")["len"].to_list() == [6, 6]
    with pytest.raises(Exception, match="does not exist"):
        frame.select("a").collect()


def test_polars_compares_as_polars_does(tmp_path: Path) -> None:
    """NaN is the greatest number to Polars; Arrow finds it neither less nor greater."""
    frame = to_polars(partitioned(tmp_path)).filter(pl.col("p") == DAY).select("x", "a")
    rows = frame.collect()
    for predicate in (
        pl.col("x") > 1.5,
        pl.col("x") == float("nan"),
        pl.col("x").is_nan() | (pl.col("a") == 3),
        pl.col("a").ne_missing(3),
        pl.col("a").is_in([2, None]),
        (pl.col("a") + 1).is_null(),
    ):
        assert frame.filter(predicate).collect().equals(rows.filter(predicate))


def test_duckdb_reads_only_what_a_query_needs(tmp_path: Path) -> None:
    spec = partitioned(tmp_path)
    # What is missing is told before; what can't be read only when it is read.
    for number in range(10):
        if not (tmp_path / f"{number}.parquet").exists():
            (tmp_path / f"{number}.parquet").write_bytes(b"no Parquet")
    with duckdb.connect() as connection:
        relation = to_duckdb(spec, connection)
        found = relation.filter("p = DATE '2024-01-02' AND a > 50").project("a").order("a")
        assert found.fetchall() == [(102,), (103,)]
        relation.create_view("t")
        query = (
            "SELECT p, count(a), max(x) FROM t WHERE p < DATE '2024-01-03' GROUP BY p ORDER BY p"
        )
        assert [row[1] for row in connection.sql(query).fetchall()] == [4, 4]
        assert connection.sql(query).fetchall()[0][1] == 4  # a relation is read again and again
        with pytest.raises(Exception, match=r"\d\.parquet"):
            relation.project("a").fetchall()
        (tmp_path / "6.parquet").unlink()
        with pytest.raises(DeltaLakeError, match=r"6\.parquet.* does not exist"):
            to_duckdb(spec, connection)


def test_duckdb_uses_its_default_connection() -> None:
    relation = to_duckdb(sample_scan("kernel-table-with-dv-small", 1))
    assert relation.aggregate("sum(value)").fetchall() == [(36,)]
    assert duckdb.sql("SELECT count(*) FROM relation").fetchall() == [(8,)]


def test_dask_bins_files_and_prunes_partitions(tmp_path: Path) -> None:
    spec = partitioned(tmp_path)
    assert to_dask(spec, bin_bytes=1).npartitions == 10
    assert to_dask(spec, bin_bytes=1200).npartitions == 5
    assert to_dask(spec, bin_bytes=1 << 30).npartitions == 1
    two = pc.field("p") <= DAY
    frame = to_dask(spec, predicate=two & (pc.field("a") > 50), bin_bytes=1)
    assert frame.npartitions == 4
    with dask.config.set(scheduler="sync"):
        assert frame["a"].compute().tolist() == [100, 101, 102, 103]
        named = to_dask(spec, ["a"], two)
        assert named.compute()["a"].isna().sum() == 4
        assert len(to_dask(spec, ["p", "a"], two)) == 12
        nothing = to_dask(spec, ["a", "p"], pc.field("p") == datetime.date(1999, 1, 1))
        assert nothing.npartitions == 1
        assert nothing.compute().empty
        with pytest.raises(DeltaLakeError, match="does not exist"):
            to_dask(spec, ["a"]).compute()
    assert str(frame.dtypes["a"]) == "int64[pyarrow]"
    with pytest.raises(DeltaLakeError) as caught:
        to_dask(spec, predicate=pc.field("nope") > 1)
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_PREDICATE


def test_a_task_carries_only_its_own_files() -> None:
    rows = [file_row(f"part-{i:05}-{'x' * 60}.parquet", size=1) for i in range(2000)]
    spec = made_scan("/nowhere", [column("a", "long")], rows)
    frame = to_dask(spec, bin_bytes=20)
    graph = frame.optimize().__dask_graph__()
    sizes = [len(pickle.dumps(task)) for task in graph.values()]
    assert len(sizes) == 100
    assert max(sizes) < 20_000


def test_dask_on_a_cluster(dask_client: Client, tmp_path: Path) -> None:
    vector = write_deletion_vector(tmp_path / "v.bin", [1])
    rows = []
    for number in range(6):
        stored = pa.table({"a": [number, 50, 100], "bad": ["text"] * 3})
        rows.append(file_row(write_parquet(tmp_path / f"{number}", stored), None, vector))
    spec = made_scan(tmp_path, [column("a", "long"), column("bad", "long")], rows)
    frame = to_dask(spec, bin_bytes=2)
    assert frame["a"].sum().compute() == sum(range(6)) + 600
    assert sorted(frame[frame.a < 3]["a"].compute().tolist()) == [0, 1, 2]


def test_credentials_travel_as_references(
    dask_client: Client, s3: S3Bucket, tmp_path: Path
) -> None:
    name = write_parquet(tmp_path / "f.parquet", pa.table({"a": [1, 2]}))
    s3.client.upload_file(str(tmp_path / name), s3.name, f"t/{name}")
    options = s3.options
    spec = made_scan(f"s3://{s3.name}/t", [column("a", "long")], [file_row(name)], options=options)
    spec = replace(spec, store=spec.opened)
    assert scan_table(spec).num_rows == 2
    frame = to_dask(spec)
    graph = pickle.dumps(list(frame.optimize().__dask_graph__().values()))
    assert SECRET.encode() not in graph + pickle.dumps(spec)
    for each in spec.place.secrets():
        dask_client.run(secret.register, each.reference, each.reveal())
    assert frame["a"].sum().compute() == 3


def test_pandas_takes_the_options_of_arrow() -> None:
    table = pa.table({"a": [1, None]})
    assert to_pandas(table)["a"].isna().tolist() == [False, True]
    assert to_pandas(table, integer_object_nulls=True)["a"].tolist() == [1, None]


@pytest.mark.parametrize(
    ("package", "use"),
    [
        ("pandas", lambda spec: to_pandas(scan_table(spec))),
        ("polars", to_polars),
        ("pandas", to_dask),
    ],
)
def test_a_missing_package_is_named_with_the_way_to_get_it(
    package: str, use: Callable[[ScanSpec], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name == package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return genuine(name, *args, **options)

    class Missing:
        def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> None:
            if name == package:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DeltaLakeError, match=rf"pip install 'deltalakedb\[{package}\]'") as caught:
        use(sample_scan("kernel-table-with-dv-small", 1))
    assert caught.value.kind is DeltaLakeErrorKind.CONFIGURATION_ERROR
