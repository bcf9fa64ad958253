"""UPDATE: new values by expressions or as they are, under the table's constraints."""

from __future__ import annotations

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


def test_constraints_and_generated_columns(sqlite_url: str, tmp_path: Path) -> None:
    uri, place = f"deltasql://{sqlite_url}?table=t", tmp_path / "t"
    generated = pa.field("d", pa.int64(), metadata={"delta.generationExpression": "x * 2"})
    schema = pa.schema([pa.field("x", pa.int64(), nullable=False), generated])
    table = dl.create_table(
        uri,
        schema,
        location=str(place),
        properties={"delta.constraints.small": "x < 100"} | VECTORS,
    )
    table.append(pa.table({"x": [1, 2]}))
    table.update({"x": "x + 1"}, predicate="x = 2")
    assert rows_of(table) == [{"x": 1, "d": 2}, {"x": 3, "d": 6}]
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
