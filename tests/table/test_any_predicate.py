"""Predicates beyond the planner's grammar: pruned by what it understands, decided on the rows."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing.run import import_table
from deltalakedb.snapshot.snapshot import Snapshot
from tests.table.opening import open_table, table_uri
from tests.tables import samples

if TYPE_CHECKING:
    from distributed import Client

ROWS = pa.table(
    {
        "id": list(range(60)),
        "region": [["eu", "us", None][n % 3] for n in range(60)],
        "name": [None if n % 7 == 0 else f"Name {n} " + "x" * (n % 5) for n in range(60)],
        "at": pa.array(
            [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(60)],
            pa.timestamp("us", "UTC"),
        ),
        "price": [n / 4 for n in range(60)],
    }
)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("any")
    place = str(folder / "sales")
    for start in range(0, 60, 20):  # three files a region, each with its range of ids
        rows = ROWS.slice(start, 20)
        write_deltalake(place, rows, mode="append", partition_by=["region"])
    url = f"sqlite:///{folder / 'catalog.sqlite'}"
    import_table(place, database=url)
    return url


@pytest.fixture
def snapshot(database: str) -> Snapshot:
    return open_table(database).snapshot()


CASES = {
    # SQL: (ids it selects, files that are planned of 9, what pruned, what is left to the rows)
    "length(name) > 8 AND region = 'eu'": (
        [n for n in range(0, 60, 3) if n % 7 and len(f"Name {n} ") + n % 5 > 8],
        3,
        "region = 'eu'",
        ["LENGTH(name) > 8"],
    ),
    "id + 1 > 50 and id >= 45": (list(range(50, 60)), 3, "id >= 45", ["id + 1 > 50"]),
    "year(at) = 2024 AND month(at) = 2 AND (region = 'us' OR upper(name) LIKE 'NAME 5%')": (
        [n for n in range(31, 60) if n % 3 == 1 or (n % 7 and str(n).startswith("5"))],
        9,
        "",
        ["YEAR(at) = 2024", "MONTH(at) = 2", "(region = 'us' OR UPPER(name) LIKE 'NAME 5%')"],
    ),
    "(id = 3 AND length(name) > 1) OR (id = 41 AND price * 2 > 20)": (
        [3, 41],
        5,
        "id = 3 OR id = 41",
        ["(id = 3 AND LENGTH(name) > 1) OR (id = 41 AND price * 2 > 20)"],
    ),
    "id <> 0 AND 12 / id >= 4": ([1, 2, 3], 9, "id != 0", ["12 / id >= 4"]),
    "coalesce(name, 'none') = 'none' AND region IS NULL": (
        [n for n in range(2, 60, 3) if n % 7 == 0],
        3,
        "region IS NULL",
        ["COALESCE(name, 'none') = 'none'"],
    ),
    "not (substring(name, 1, 6) = 'Name 1') and id < 20": (
        [n for n in range(20) if n % 7 and not str(n).startswith("1")],
        3,
        "id < 20",
        ["NOT (SUBSTRING(name, 1, 6) = 'Name 1')"],
    ),
}


@pytest.mark.parametrize("sql", CASES)
def test_rows_are_exact_and_what_is_understood_prunes(snapshot: Snapshot, sql: str) -> None:
    ids, files, pruned_by, left = CASES[sql]
    assert sorted(snapshot.to_pyarrow_table(sql)["id"].to_pylist()) == ids
    assert snapshot.count_rows(sql) == len(ids)
    explained = snapshot.explain(sql)
    assert explained.planned_files == files
    assert explained.pruned_by == pruned_by
    assert [part.lower() for part in explained.left_to_rows] == [part.lower() for part in left]


SQL = "length(name) > 8 AND region = 'eu'"


def test_every_form_of_a_scan_has_the_same_rows(snapshot: Snapshot, dask_client: Client) -> None:
    ids, files, *_ = CASES[SQL]
    scan = snapshot.scan(SQL, ["price", "id"])
    assert scan.files.num_rows == files
    assert scan.count_rows() == len(ids)
    whole = snapshot.scan(SQL)
    connection = duckdb.connect()
    frames = {
        "table": scan.to_pyarrow_table(),
        "batches": pa.Table.from_batches(scan.to_batches()),
        "pandas": pa.Table.from_pandas(scan.to_pandas(), preserve_index=False),
        "polars": scan.to_polars().collect().to_arrow(),
        "duckdb": scan.to_duckdb(connection).to_arrow_table(),
        "dask": pa.Table.from_pandas(
            dask_client.compute(scan.to_dask(bin_bytes=1)).result(), preserve_index=False
        ),
        "dataset": whole.to_pyarrow_dataset().to_table(["price", "id"]),
    }
    for form, found in frames.items():
        assert found.column_names == ["price", "id"], form
        assert sorted(found["id"].to_pylist()) == ids, form
        assert [p * 4 for p in found["price"].to_pylist()] == found["id"].to_pylist(), form
    dataset = whole.to_pyarrow_dataset()
    assert dataset.count_rows() == len(ids)
    assert dataset.head(2).num_rows == 2
    assert scan.to_pyarrow_table().num_rows == snapshot.to_pandas(SQL).shape[0]
    with pytest.raises(DeltaLakeError, match="a dataset has all columns"):
        scan.to_pyarrow_dataset()


def test_plain_predicates_are_exact_in_lazy_forms_too(snapshot: Snapshot) -> None:
    ids = list(range(55, 60))
    assert sorted(snapshot.to_pyarrow_dataset("id >= 55").to_table()["id"].to_pylist()) == ids
    assert sorted(snapshot.to_polars("id >= 55").collect()["id"].to_list()) == ids
    connection = duckdb.connect()
    relation = snapshot.to_duckdb(connection, "id >= 55", ["id"])
    assert sorted(relation.fetchall()) == [(n,) for n in ids]
    # Partitions are decided by the choice of files, so that Arrow's own fragments remain.
    for where, count in {"region = 'eu'": 20, "region IS NULL": 20, "region <> 'eu'": 20}.items():
        dataset = snapshot.to_pyarrow_dataset(where)
        assert len(list(dataset.get_fragments())) == 3
        assert dataset.count_rows() == count == snapshot.count_rows(where)


def test_predicates_are_joined_and_parsed_once(snapshot: Snapshot) -> None:
    both = snapshot.where("length(name) > 8", [("region", "=", "eu")])
    assert sorted(snapshot.to_pyarrow_table(both)["id"].to_pylist()) == CASES[SQL][0]
    assert snapshot.plan(both).num_rows == 3


@pytest.mark.parametrize(
    ("sql", "kind", "said"),
    [
        ("soundex(name) = 'x'", DeltaLakeErrorKind.UNSUPPORTED_FEATURE, "the function soundex"),
        ("name rlike 'a'", DeltaLakeErrorKind.UNSUPPORTED_FEATURE, "REGEXPLIKE"),
        ("length(nome) > 1", DeltaLakeErrorKind.INVALID_PREDICATE, "did you mean name"),
        ("length(id) > 1", DeltaLakeErrorKind.INVALID_PREDICATE, "type string, not long"),
        ("id + 1", DeltaLakeErrorKind.INVALID_PREDICATE, "id"),
        ("id = = 1", DeltaLakeErrorKind.INVALID_PREDICATE, "="),
    ],
)
def test_what_is_not_evaluated_is_named(
    snapshot: Snapshot, sql: str, kind: DeltaLakeErrorKind, said: str
) -> None:
    with pytest.raises(DeltaLakeError) as caught:
        snapshot.plan(sql)
    assert said in caught.value.message
    assert caught.value.kind is kind


def test_a_row_without_an_answer_ends_the_reading(snapshot: Snapshot) -> None:
    assert snapshot.plan("12 / (id - 30) > 1").num_rows == 9
    with pytest.raises(DeltaLakeError, match="division by zero"):
        snapshot.to_pyarrow_table("12 / (id - 30) > 1")


def test_dl_plan_says_which_part_pruned(database: str) -> None:
    catalog = database.removeprefix("sqlite:///")
    command = [str(Path(sys.executable).with_name("dl")), "plan", "sales"]
    command += ["--database", catalog, "--where", "length(name) > 8 AND region = 'eu'"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout
    assert "pruned by region = 'eu'" in told
    assert "left to the rows: LENGTH(name) > 8" in told
    command += ["--format", "json"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout
    plan = json.loads(told)
    assert plan["pruned_by"] == "region = 'eu'"
    assert plan["left_to_rows"] == ["LENGTH(name) > 8"]


def test_a_predicate_that_planning_understands_imports_no_engine(database: str) -> None:
    code = (
        "import sys; from deltalakedb.table.connect import connect_to_table\n"
        f"snapshot = connect_to_table({table_uri(database)!r}).snapshot()\n"
        "assert snapshot.plan(\"id > 3 AND region = 'eu'\").num_rows == 3\n"
        "assert not {'duckdb', 'sqlglot', 'sqlalchemy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("kernel-table-with-dv-small", "value"),  # deletion vectors
        ("dat-column_mapping", "new_int"),  # other names in the files
    ],
)
def test_conditions_see_the_tables_rows_not_its_files(
    name: str, column: str, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    import_table(str(samples.path(name)), database=url, table_name="t")
    snapshot = open_table(url, "t").snapshot()
    live = snapshot.to_pyarrow_table()[column].to_pylist()
    kept = sorted(v for v in live if v % 3 == 1)
    found = snapshot.scan(f"`{column}` % 3 = 1", [column])
    assert 0 < len(kept) < len(live)
    assert sorted(found.to_pyarrow_table()[column].to_pylist()) == kept
    assert sorted(found.to_polars().collect()[column].to_list()) == kept
