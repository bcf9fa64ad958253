"""UPDATE: new values by expressions or as they are, under the table's constraints."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.table.operations.rewrite import RewriteOptions
from deltalakedb.table.operations.update import update
from tests.table.changed import (
    CHANGES,
    VECTORS,
    changes_of,
    commit_of,
    rows_of,
    seen_by_delta_rs,
    stale,
)


@pytest.mark.parametrize("properties", [{}, VECTORS | CHANGES])
def test_update(sqlite_url: str, tmp_path: Path, properties: dict[str, str]) -> None:
    uri, place = f"deltasql://{sqlite_url}?table=t", tmp_path / "t"
    rows = pa.table({"x": [1, 2, None], "y": ["a", None, "c"], "p": ["k", "k", "l"]})
    dl.write_deltalake(uri, rows, location=str(place), partition_by=["p"], configuration=properties)
    table = dl.connect_to_table(uri)
    # Expressions see the old values; a row may change its partition.
    done = table.update({"x": "x + 10", "Y": "concat(p, '!')", "p": "'m'"}, predicate="x >= 2")
    assert done["num_updated_rows"] == 1
    assert done["num_copied_rows"] == (0 if properties else 1)
    expected = [
        {"x": 1, "y": "a", "p": "k"},
        {"x": 12, "y": "k!", "p": "m"},
        {"x": None, "y": "c", "p": "l"},
    ]
    assert rows_of(table) == seen_by_delta_rs(place) == sorted(expected, key=str)
    metrics = commit_of(place, 1)["commitInfo"][0]["operationMetrics"]
    assert metrics["numUpdatedRows"] == "1"
    assert metrics["numDeletionVectorsAdded"] == ("1" if properties else "0")
    if properties:
        assert changes_of(place, 1) == [
            ("update_postimage", {"x": 12, "y": "k!", "p": "m"}),
            ("update_preimage", {"x": 2, "y": None, "p": "k"}),
        ]
    assert table.update({"y": "'z'"}, "x = 12")["num_updated_rows"] == 1
    assert table.update(new_values={"y": None, "x": 7})["num_updated_rows"] == 3
    assert {(row["x"], row["y"]) for row in rows_of(table)} == {(7, None)}
    assert dl.diff_table("t", database=sqlite_url).parity


def test_values_are_cast_to_their_columns(sqlite_url: str, tmp_path: Path) -> None:
    """As Spark does: fractions are cut off, decimals rounded."""
    uri = f"deltasql://{sqlite_url}?table=t"
    schema = pa.schema(
        [
            ("i", pa.int32()),
            ("d", pa.float64()),
            ("n", pa.decimal128(6, 2)),
            ("b", pa.binary()),
            pa.field("half", pa.float64(), metadata={"delta.generationExpression": "i * 0.5"}),
        ]
    )
    table = dl.create_table(uri, schema, location=str(tmp_path / "t"))
    table.append(pa.table({"i": pa.array([1], pa.int32()), "n": pa.array([None], schema[2].type)}))
    table.update({"i": "-2.7", "d": "1.5", "n": "-1.005", "b": "X'6162'"})
    expected = {"i": -2, "d": 1.5, "n": Decimal("-1.01"), "b": b"ab", "half": -1.0}
    assert rows_of(table) == [expected]
    source = pa.table({"k": [-2], "v": [Decimal("7.3")]})
    merged = table.merge(source, "target.i = source.k")
    merged.when_matched_update({"target.i": "source.v", "d": "v", "n": "3"}).execute()
    assert rows_of(table) == [
        expected | {"i": 7, "d": 7.3, "n": Decimal("3.00"), "half": 3.5},
    ]
    with pytest.raises(DeltaLakeError, match="no value for n \\* 10000"):
        table.update({"n": "n * 10000"})


def test_members_of_structs(sqlite_url: str, tmp_path: Path) -> None:
    uri, place = f"deltasql://{sqlite_url}?table=t", tmp_path / "t"
    inner = pa.struct([("z", pa.int64())])
    kind = pa.struct([("x", pa.int32()), ("y", pa.string()), ("in", inner)])
    schema = pa.schema([("id", pa.int64()), ("s", kind), ("a", pa.list_(pa.int64()))])
    rows = [
        {"id": 1, "s": {"x": 1, "y": "a", "in": {"z": 5}}, "a": [1]},
        {"id": 2, "s": None, "a": None},
        {"id": 3, "s": {"x": 3, "y": "c", "in": None}, "a": [3]},
    ]
    table = dl.create_table(uri, schema, location=str(place), properties=VECTORS | CHANGES)
    table.append(pa.Table.from_pylist(rows, schema))
    table.update({"s.x": "s.x + 10", "S.`in`.z": "id"}, predicate="id < 3")
    one = {"x": 11, "y": "a", "in": {"z": 1}}
    # A struct that was null is one with nothing else, as in Spark.
    two = {"x": None, "y": None, "in": {"z": 2}}
    assert [row["s"] for row in rows_of(table)] == [one, two, rows[2]["s"]]
    table.update(new_values={"s.y": "new"}, predicate="id = 3")
    table.update({"s": "named_struct('y', upper(s.y), 'x', id, 'in', s.`in`)"}, predicate="id = 1")
    table.update({"s": "struct(id AS x, s.y, struct(7 AS z) AS `in`)"}, predicate="id = 2")
    assert [row["s"] for row in rows_of(table)] == [
        {"x": 1, "y": "A", "in": {"z": 1}},
        {"x": 2, "y": None, "in": {"z": 7}},
        {"x": 3, "y": "new", "in": None},
    ]
    source = pa.table({"id": [1, 9], "v": [100, 900]})
    merged = table.merge(source, "t.id = s.id", source_alias="s", target_alias="t")
    merged.when_matched_update({"t.s.x": "v", "a": "NULL"}).when_not_matched_insert(
        {"id": "s.id", "s": "named_struct('x', v, 'y', NULL, 'in', NULL)"}
    ).execute()
    by_id = {row["id"]: row for row in rows_of(table)}
    assert by_id[1] == {"id": 1, "s": {"x": 100, "y": "A", "in": {"z": 1}}, "a": None}
    assert by_id[9] == {"id": 9, "s": {"x": 900, "y": None, "in": None}, "a": None}
    for wrong, said in (
        ({"s.q": "1"}, "no column s.q to set"),
        ({"s.x": "1", "s": "NULL"}, "set twice"),
        ({"s": "struct(1 AS x)"}, "has the members x, but the struct that it is for has x, y, in"),
    ):
        with pytest.raises(DeltaLakeError, match=said):
            table.update(wrong)
    insert = table.merge(source, "target.id = source.id")
    with pytest.raises(DeltaLakeError, match="given as a whole"):
        insert.when_not_matched_insert({"s.x": "v"}).execute()
    assert dl.diff_table("t", database=sqlite_url).parity


def test_constraints_and_generated_columns(sqlite_url: str, tmp_path: Path) -> None:
    uri, place = f"deltasql://{sqlite_url}?table=t", tmp_path / "t"
    generated = pa.field("d", pa.int64(), metadata={"delta.generationExpression": "x * 2"})
    kept = pa.field("s", pa.string(), metadata={"CURRENT_DEFAULT": "'none'"})
    schema = pa.schema([pa.field("x", pa.int64(), nullable=False), generated, kept])
    table = dl.create_table(
        uri,
        schema,
        location=str(place),
        properties={"delta.constraints.small": "x < 100"} | VECTORS,
    )
    table.append(pa.table({"x": [1, 2]}))
    table.update({"x": "x + 1"}, predicate="x = 2")
    table.update(new_values={"s": "said"}, predicate="x = 1")
    assert rows_of(table) == [{"x": 1, "d": 2, "s": "said"}, {"x": 3, "d": 6, "s": "none"}]
    table.update({"s": "DEFAULT", "x": "x + 1"}, predicate="s = 'said'")
    merger = table.merge(pa.table({"k": [3, 9]}), "x = k")
    merger.when_matched_update({"s": "concat(s, k)"})
    merger.when_not_matched_insert({"x": "k", "s": " default "}).execute()
    assert [(row["x"], row["s"]) for row in rows_of(table)] == [
        (2, "none"),
        (3, "none3"),
        (9, "none"),
    ]
    files = sorted(place.glob("*.parquet"))
    for updates, what in (
        ({"x": "x + 98"}, "small"),
        ({"d": "5"}, "generated column d"),
        ({"x": "CASE WHEN x = 1 THEN 5 END"}, "NOT NULL"),
    ):
        with pytest.raises(DeltaLakeError, match=what) as caught:
            table.update(updates)
        assert caught.value.kind is DeltaLakeErrorKind.CONSTRAINT_VIOLATION
    assert sorted(place.glob("*.parquet")) == files
    with pytest.raises(DeltaLakeError, match="no column z"):
        table.update({"z": "1"})
    with pytest.raises(DeltaLakeError, match="can't hold 'text'"):
        table.update(new_values={"x": "text"})


def test_beside_others(sqlite_url: str, tmp_path: Path) -> None:
    uri, place = f"deltasql://{sqlite_url}?table=t", tmp_path / "t"
    dl.write_deltalake(
        uri, pa.table({"x": [1, 2, 3], "n": [0, 0, 0]}), location=str(place), configuration=VECTORS
    )
    table = dl.connect_to_table(uri)
    add = {"n": "n + 1"}
    # Another row of the file, and an append elsewhere, even under Serializable.
    old = stale(table)
    table.update(add, predicate="x = 1")
    table.append(pa.table({"x": [50], "n": [0]}))
    update(table._catalog, old, add, None, "x = 2", RewriteOptions())
    assert [(row["x"], row["n"]) for row in rows_of(table)] == [(1, 1), (2, 1), (3, 0), (50, 0)]
    old = stale(table)
    table.append(pa.table({"x": [60], "n": [0]}))
    done = table.update(add, predicate="x BETWEEN 3 AND 50", isolation="Serializable")
    assert done["num_updated_rows"] == 2
    # Rows that came and match are found when the call runs again: nothing is lost.
    update(table._catalog, old, add, None, "x > 10", RewriteOptions())
    assert [(row["x"], row["n"]) for row in rows_of(table)] == [
        (1, 1),
        (2, 1),
        (3, 1),
        (50, 2),
        (60, 1),
    ]
