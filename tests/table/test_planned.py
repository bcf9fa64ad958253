"""Plans of real files: none that holds a matching row is left out, by whichever way they are found.

DuckDB says which rows match, over all rows of all files.
"""

from __future__ import annotations

import datetime as dt
import decimal
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deltalakedb.config import CacheConfig
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing.run import import_table
from deltalakedb.snapshot.snapshot import Snapshot
from deltalakedb.table import connect
from tests.table.opening import GrowingTable, add, asked, first_actions, open_table, remove

SOME = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
OPERATORS = ("=", "!=", "<", "<=", ">", ">=")


@pytest.fixture(scope="module")
def rows(generated: Path) -> pa.Table:
    """All rows of the files that are live at the head, with the file's path and partition."""
    live: dict[str, dict[str, Any]] = {}
    for commit in sorted((generated / "_delta_log").glob("*.json")):
        for line in commit.read_text().splitlines():
            action = json.loads(line)
            if "remove" in action:
                del live[action["remove"]["path"]]
            if "add" in action:
                live[action["add"]["path"]] = action["add"]["partitionValues"]
    tables = []
    for path, values in live.items():
        table = pq.ParquetFile(generated / path).read()
        own = [pa.array([v] * table.num_rows) for v in (path, values["region"])]
        date = pa.array([dt.date.fromisoformat(values["date"])] * table.num_rows)
        names = [*table.column_names, "file", "region", "date"]
        tables.append(pa.table([*table.columns, *own, date], names=names))
    return pa.concat_tables(tables)


@pytest.fixture(scope="module")
def oracle(rows: pa.Table) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.register("arrow_rows", rows)
    connection.sql("CREATE TABLE rows AS SELECT * FROM arrow_rows")
    return connection


@pytest.fixture(scope="module")
def by_sql(shared: str) -> Snapshot:
    return open_table(shared).snapshot()


@pytest.fixture(scope="module")
def by_cache(shared: str, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    config = CacheConfig(directory=str(tmp_path_factory.mktemp("lists")))
    snapshot = open_table(shared, cache=config).snapshot()
    snapshot.plan()
    return snapshot


@dataclass(frozen=True)
class Test:
    """A predicate as we take it and as DuckDB does; as a tuple of delta-rs where it is one."""

    __test__ = False
    ours: str
    duck: str
    filter: tuple[str, str, Any] | None = None


def literal(value: Any) -> str:
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, dt.datetime):
        return f"TIMESTAMP '{value.isoformat()}'"
    if isinstance(value, dt.date):
        return f"DATE '{value}'"
    return str(value)


def in_duckdb(value: Any) -> str:
    if isinstance(value, dt.datetime):
        return f"TIMESTAMPTZ '{value.isoformat()}'"
    return f"{value}::DOUBLE" if isinstance(value, float) else literal(value)


@st.composite
def leaves(draw: st.DrawFn, rows: pa.Table) -> Test:
    names = ["id", "ts", "uid", "due", "amt", "lat", "sku", "qty", "date", "region"]
    name = draw(st.sampled_from(names))
    column = rows[name]

    def value() -> Any:
        found = column[draw(st.integers(0, len(column) - 1))].as_py()
        if found is None:
            found = column.drop_null()[0].as_py()
        if draw(st.booleans()):
            return found
        nudge = draw(st.sampled_from([-1, 1]))
        if isinstance(found, (int, float, decimal.Decimal)):
            return found + nudge
        if isinstance(found, dt.date):
            return found + dt.timedelta(days=nudge)
        return str(found) + "z"

    kind = draw(st.sampled_from(["compare", "compare", "compare", "in", "null", "between", "like"]))
    if kind == "in":
        found = [value() for _ in range(draw(st.integers(1, 4)))]
        word = draw(st.sampled_from(["IN", "NOT IN"]))
        ours, duck = (f"{name} {word} ({', '.join(map(f, found))})" for f in (literal, in_duckdb))
        return Test(ours, duck, (name, word.lower(), found))
    if kind == "null":
        text = f"{name} IS {draw(st.sampled_from(['', 'NOT ']))}NULL"
        return Test(text, text)
    if kind == "between":
        low, high = value(), value()
        ours, duck = (f"{name} BETWEEN {f(low)} AND {f(high)}" for f in (literal, in_duckdb))
        return Test(ours, duck)
    if kind == "like" and name in ("sku", "region"):
        text = f"{name} LIKE '{value()[: draw(st.integers(1, 3))]}%'"
        return Test(text, text)
    operator, found = draw(st.sampled_from(OPERATORS)), value()
    ours, duck = (f"{name} {operator} {f(found)}" for f in (literal, in_duckdb))
    return Test(ours, duck, (name, operator, found))


def predicates(rows: pa.Table) -> st.SearchStrategy[Test]:
    def joined(tests: list[Test], word: str) -> Test:
        ours, duck = (f" {word} ".join(f"({t})" for t in side) for side in _sides(tests))
        return Test(ours, duck)

    return st.recursive(
        leaves(rows),
        lambda inner: st.one_of(
            st.lists(inner, min_size=2, max_size=3).map(lambda t: joined(t, "AND")),
            st.lists(inner, min_size=2, max_size=3).map(lambda t: joined(t, "OR")),
            inner.map(lambda t: Test(f"NOT ({t.ours})", f"NOT ({t.duck})")),
        ),
        max_leaves=5,
    )


def _sides(tests: list[Test]) -> tuple[list[str], list[str]]:
    return [t.ours for t in tests], [t.duck for t in tests]


def matching(oracle: duckdb.DuckDBPyConnection, where: str) -> tuple[set[str], int]:
    """Files with matching rows, and how many these are."""
    found = oracle.sql(f"SELECT file, count(*) FROM rows WHERE {where} GROUP BY file").fetchall()
    return {file for file, _ in found}, sum(count for _, count in found)


@SOME
@given(data=st.data())
def test_a_plan_holds_every_matching_file(
    data: st.DataObject,
    by_sql: Snapshot,
    by_cache: Snapshot,
    rows: pa.Table,
    oracle: duckdb.DuckDBPyConnection,
) -> None:
    test = data.draw(predicates(rows))
    expected, count = matching(oracle, test.duck)
    plan = by_sql.plan(test.ours)
    assert expected <= set(plan["path"].to_pylist()), test
    assert by_cache.plan(test.ours).sort_by("path").equals(plan.sort_by("path")), test
    explained = by_sql.explain(test.ours)
    assert explained.planned_files == plan.num_rows
    assert explained.planned_bytes == (pc.sum(plan["size"]).as_py() or 0)
    if 0 < plan.num_rows <= 12:
        found = by_sql.to_pyarrow_table(test.ours)
        assert found.num_rows == count == by_sql.count_rows(test.ours)


@SOME
@given(data=st.data())
def test_tuples_and_text_plan_the_same(
    data: st.DataObject, by_sql: Snapshot, rows: pa.Table, oracle: duckdb.DuckDBPyConnection
) -> None:
    simple = leaves(rows).filter(lambda t: t.filter is not None)
    groups = data.draw(st.lists(st.lists(simple, min_size=1, max_size=3), min_size=1, max_size=2))
    filters = [[test.filter for test in group] for group in groups]
    ours, duck = (
        " OR ".join("(" + " AND ".join(_sides(group)[side]) + ")" for group in groups)
        for side in (0, 1)
    )
    plan = by_sql.plan(filters).sort_by("path")
    assert plan.equals(by_sql.plan(ours).sort_by("path"))
    assert matching(oracle, duck)[0] <= set(plan["path"].to_pylist())


def test_arrow_expressions_plan_too(by_sql: Snapshot, by_cache: Snapshot) -> None:
    expression = (pc.field("qty") > 90) & (pc.field("region") == "us")
    expected = by_sql.plan("qty > 90 AND region = 'us'").sort_by("path")
    for snapshot in (by_sql, by_cache):
        assert snapshot.plan(expression).sort_by("path").equals(expected)
    assert 0 < expected.num_rows < 60


def test_a_plan_has_the_columns_that_are_asked_for(by_sql: Snapshot, by_cache: Snapshot) -> None:
    for snapshot in (by_sql, by_cache):
        plan = snapshot.plan("region = 'us'", ["size", "partition_values", "path"])
        assert plan.column_names == ["size", "partition_values", "path"]
        assert set(map(type, plan.to_pylist()[0].values())) == {int, str}
        with pytest.raises(DeltaLakeError, match="a plan has no column color") as caught:
            snapshot.plan(None, ["color"])
        assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT


def test_explain_tells_what_each_step_left(by_sql: Snapshot, by_cache: Snapshot) -> None:
    predicate = "region = 'us' AND date = DATE '2024-01-02' AND sku < '1'"
    explained = by_sql.explain(predicate)
    assert [step.name for step in explained.steps] == ["partitions", "keys", "statistics"]
    left = [step.files for step in explained.steps]
    assert left == sorted(left, key=lambda files: -(files or 0))
    assert left[-1] == explained.planned_files < (left[0] or 0) < explained.num_files == 270
    assert "1 of 30 partitions" in explained.steps[0].detail
    assert "index on (partition_id, removed_version)" in explained.steps[1].detail
    text = str(explained)
    assert text.splitlines()[0].startswith(f"sales version 20: {left[-1]:,} of 270 files in ")
    assert explained.to_json()["steps"][2]["files"] == explained.planned_files
    assert "cached file list" in by_cache.explain(predicate).steps[1].detail


def test_a_partition_costs_its_files(by_sql: Snapshot, shared: str) -> None:
    table = open_table(shared)
    for _ in range(2):
        table.snapshot().plan("region = 'us'")
    snapshot = table.snapshot()
    with asked(table) as statements:
        snapshot.plan("region = 'us' AND date = DATE '2024-01-02'")
    [statement] = statements
    assert "partition_id IN (" in statement


def test_predicates_of_both_kinds_are_joined(shared: str, oracle: Any) -> None:
    table = open_table(shared)
    _, count = matching(oracle, "region = 'us' AND date = DATE '2024-01-02' AND qty > 50")
    found = table.to_pyarrow_table(
        partitions=[("region", "=", "us"), ("date", "=", "2024-01-02")], filters="qty > 50"
    )
    assert found.num_rows == count > 0
    assert len(table.to_pandas(filters=[("region", "=", "us"), ("qty", ">", 50)], columns=["id"]))
    with pytest.raises(DeltaLakeError, match="two predicates"):
        table.file_uris([("region", "=", "us")], file_pruning_predicate="qty > 5")


def test_files_without_statistics_are_kept(tmp_path: Path, catalog_url: str) -> None:
    made = GrowingTable(tmp_path, catalog_url)
    bare = add("bare")
    del bare["add"]["stats"]
    empty = add("empty")
    empty["add"]["stats"] = '{"numRecords":3}'
    nulls = add("nulls")
    nulls["add"]["stats"] = '{"numRecords":3,"minValues":{},"maxValues":{},"nullCount":{"id":3}}'
    made.commit(*first_actions(), bare, empty, nulls, add("low"), add("high", least=1000))
    made.imported()
    for cached in (False, CacheConfig(directory=str(tmp_path / "lists"))):
        snapshot = made.open(cache=cached).snapshot()
        snapshot.plan()

        def names(predicate: Any, snapshot: Snapshot = snapshot) -> set[str]:
            paths = snapshot.plan(predicate, ["path"])["path"].to_pylist()
            return {path.rpartition("/")[2].removesuffix(".parquet") for path in paths}

        assert names("id >= 1000") == {"bare", "empty", "high"}
        assert names("id IS NULL") == {"bare", "empty", "nulls"}
        assert names("id IS NOT NULL") == {"bare", "empty", "low", "high"}
        assert names("id = 5 OR day IS NULL") >= {"bare", "empty", "low"}
        assert names("day = DATE '2024-05-02'") == set()
        assert names([("id", "in", [3, 1003])]) == {"bare", "empty", "low", "high"}


def test_of_many_partitions_the_few_that_may_match_are_fetched(
    generated: Path, any_catalog_url: str
) -> None:
    """The first time; whoever asks again gets all, and asks no more."""
    import_table(str(generated), database=any_catalog_url, mode="full-history")
    table = open_table(any_catalog_url)
    snapshot = table.snapshot()
    where = [("date", "=", "2024-01-03"), ("region", "=", "eu")]
    with asked(table) as statements:
        first = snapshot.plan(where)
        assert [" LIKE " in s for s in statements if "dl_partitions" in s] == [True]
    with asked(table) as statements:
        assert snapshot.plan(where).equals(first)
        assert [" LIKE " in s for s in statements if "dl_partitions" in s] == [False]
    with asked(table) as statements:
        assert snapshot.plan(where).equals(first)
        assert not [s for s in statements if "dl_partitions" in s]
    values = {json.dumps({"date": "2024-01-03", "region": "eu"}, separators=(",", ":"))}
    assert set(first["partition_values"].to_pylist()) == values
    connect._catalogs.clear()  # as in a new process
    table = open_table(any_catalog_url)
    with asked(table) as statements:
        assert table.snapshot().plan("region = 'nowhere'").num_rows == 0
        assert all(" LIKE " in s or "count(*)" in s for s in statements if "dl_partitions" in s)
    connect._catalogs.clear()
    nothing = open_table(any_catalog_url).snapshot().explain("region = 'nowhere'")
    assert (nothing.planned_files, nothing.steps[0].detail) == (0, "0 of 30 partitions")


def test_a_new_version_of_many_partitions_is_planned_by_the_few_that_may_match(
    tmp_path: Path, sqlite_url: str
) -> None:
    """Until the values of all, which were fetched for the version before, are worth it again."""
    made = GrowingTable(tmp_path, sqlite_url)
    first = dt.date(2020, 1, 1)
    days = [(first + dt.timedelta(days=n)).isoformat() for n in range(1_200)]
    made.commit(*first_actions(), *(add(f"f{day}", day) for day in days))
    made.imported()
    table = made.open()
    for _ in range(2):
        assert table.snapshot().plan(f"day = '{days[3]}'").num_rows == 1
    made.commit(add("more", days[3]), remove(f"f{days[5]}", days[5]), add("new", "2024-05-01"))
    made.imported()
    snapshot = table.snapshot()
    for day, count in ((days[3], 2), (days[5], 0), ("2024-05-01", 1), (days[7], 1)):
        with asked(table) as statements:
            assert snapshot.plan(f"day = '{day}'").num_rows == count
            texts = [s for s in statements if "dl_partitions" in s]
            assert all(" LIKE " in s or "count(*)" in s for s in texts)
        assert table.snapshot(0).plan(f"day = '{day}'").num_rows == (day in days)
    for _ in range(20):
        assert snapshot.plan(f"day = '{days[3]}'").num_rows == 2
    with asked(table) as statements:
        assert snapshot.plan(f"day = '{days[5]}'").num_rows == 0
        assert not [s for s in statements if "dl_partitions" in s]
