"""Changes of columns, constraints, features and properties, read here and by delta-rs."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind


def made(database: str, place: Path, **options: Any) -> dl.Table:
    rows = pa.table({"id": pa.array([1, 2, 3], pa.int64()), "s": ["a", "b", None]})
    uri = f"deltasql://{database}?table=t"
    dl.write_deltalake(uri, rows, location=str(place), **options)
    return dl.connect_to_table(uri)


def delta_rs(place: Path) -> deltalake.DeltaTable:
    return deltalake.DeltaTable(str(place))


def kind_of(call: Any) -> DeltaLakeErrorKind:
    with pytest.raises(DeltaLakeError) as caught:
        call()
    return caught.value.kind


def test_columns_by_delta_rs_names(any_catalog_url: str, tmp_path: Path) -> None:
    place = tmp_path / "t"
    table = made(any_catalog_url, place)
    fields = [deltalake.Field("n", "integer"), deltalake.Field("w", "double")]
    assert table.alter.add_columns(fields).version == 1
    table.alter.set_column_metadata("n", {"comment": "how many"})
    table.append(pa.table({"id": [4], "s": ["d"], "n": pa.array([7], pa.int32()), "w": [0.5]}))
    again = delta_rs(place)
    assert [f.name for f in again.schema().fields] == ["id", "s", "n", "w"]
    assert again.schema().fields[2].metadata == {"comment": "how many"}
    ours = table.to_pyarrow_table().to_pylist()
    assert sorted(ours, key=str) == sorted(again.to_pyarrow_table().to_pylist(), key=str)
    assert kind_of(lambda: table.alter.add_columns(pa.field("N", pa.int8()))) is (
        DeltaLakeErrorKind.SCHEMA_MISMATCH
    )
    assert kind_of(lambda: table.alter.rename_column("s", "x")) is (
        DeltaLakeErrorKind.UNSUPPORTED_FEATURE
    )
    table.alter.set_table_name("called")
    table.alter.set_table_description("described")
    found = delta_rs(place).metadata()
    assert (found.name, found.description) == ("called", "described")
    report = dl.diff_table("t", database=any_catalog_url)
    assert report.parity


def test_rename_and_drop_with_column_mapping(catalog_url: str, tmp_path: Path) -> None:
    place = tmp_path / "t"
    table = made(catalog_url, place, partition_by=["s"])
    table.alter.set_table_properties({"delta.columnMapping.mode": "name"})
    assert delta_rs(place).protocol().min_reader_version >= 2
    table.alter.add_columns(pa.field("extra", pa.string()))
    table.append(pa.table({"id": [4], "s": ["d"], "extra": ["e"]}))
    table.alter.rename_column("id", "key")
    table.alter.rename_column("s", "part")
    table.alter.move_column("extra", first=True)
    assert table.metadata.partition_columns == ["part"]
    rows = sorted(table.to_pyarrow_table().to_pylist(), key=lambda row: row["key"])
    assert rows == [
        {"extra": None, "key": 1, "part": "a"},
        {"extra": None, "key": 2, "part": "b"},
        {"extra": None, "key": 3, "part": None},
        {"extra": "e", "key": 4, "part": "d"},
    ]
    # delta-rs's Arrow datasets don't know column mapping, its own engine does.
    query = deltalake.QueryBuilder().register("t", delta_rs(place))
    theirs = pa.table(query.execute("SELECT extra, key, part FROM t ORDER BY key"))
    assert theirs.to_pylist() == rows
    table.alter.drop_column("extra")
    table.alter.add_columns(pa.field("extra", pa.string()))
    # Another column of the same name: the dropped one's values stay away.
    assert set(table.to_pyarrow_table().column("extra").to_pylist()) == {None}
    assert kind_of(lambda: table.alter.drop_column("part")) is DeltaLakeErrorKind.SCHEMA_MISMATCH
    table.alter.add_constraint({"positive": "key > 0"})
    assert kind_of(lambda: table.alter.rename_column("key", "id")) is (
        DeltaLakeErrorKind.SCHEMA_MISMATCH
    )


def test_constraints_look_at_the_rows(catalog_url: str, tmp_path: Path) -> None:
    place = tmp_path / "t"
    table = made(catalog_url, place)
    assert kind_of(lambda: table.alter.add_constraint({"small": "id < 3"})) is (
        DeltaLakeErrorKind.CONSTRAINT_VIOLATION
    )
    assert kind_of(lambda: table.alter.add_constraint({"known": "s = 'a' OR s = 'b'"})) is (
        DeltaLakeErrorKind.CONSTRAINT_VIOLATION
    )
    table.alter.add_constraint({"small": "id < 10"})
    bad = pa.table({"id": [10], "s": ["x"]})
    assert kind_of(lambda: table.append(bad)) is DeltaLakeErrorKind.CONSTRAINT_VIOLATION
    with pytest.raises(Exception, match="failed validation check"):
        deltalake.write_deltalake(str(place), bad, mode="append")
    assert kind_of(lambda: table.alter.drop_constraint("other")) is (
        DeltaLakeErrorKind.INVALID_ARGUMENT
    )
    version = table.version
    assert table.alter.drop_constraint("other", raise_if_not_exists=False).version == version
    assert kind_of(lambda: table.alter.drop_feature("checkConstraints")) is (
        DeltaLakeErrorKind.INVALID_ARGUMENT
    )
    table.alter.drop_constraint("SMALL")
    table.alter.drop_feature("checkConstraints")
    assert not table.protocol.supports_writer_feature("checkConstraints")
    table.append(bad)
    assert table.count() == delta_rs(place).to_pyarrow_table().num_rows == 4
    # What comes back with an older version comes with its feature.
    table.restore(version)
    assert table.refresh().protocol.supports_writer_feature("checkConstraints")
    assert kind_of(lambda: table.append(bad)) is DeltaLakeErrorKind.CONSTRAINT_VIOLATION


def test_types_widen(catalog_url: str, tmp_path: Path) -> None:
    rows = pa.table({"n": pa.array([1, 2], pa.int32()), "d": pa.array([1.5, 2.5], pa.float32())})
    uri = f"deltasql://{catalog_url}?table=t"
    dl.write_deltalake(uri, rows, location=str(tmp_path / "t"))
    table = dl.connect_to_table(uri)
    assert kind_of(lambda: table.alter.change_type("n", "long")) is (
        DeltaLakeErrorKind.UNSUPPORTED_FEATURE
    )
    table.alter.set_table_properties({"delta.enableTypeWidening": "true"})
    table.alter.change_type("n", "long")
    table.alter.change_type("d", pa.float64())
    assert kind_of(lambda: table.alter.change_type("n", "integer")) is (
        DeltaLakeErrorKind.SCHEMA_MISMATCH
    )
    table.append(pa.table({"n": [1 << 40], "d": [0.1]}))
    assert sorted(table.to_pyarrow_table().column("n").to_pylist()) == [1, 2, 1 << 40]
    assert table.to_pyarrow_table(filters="n > 2000000000").column("d").to_pylist() == [0.1]
    assert table.to_pyarrow_table(filters="d < 1").num_rows == 1


def test_properties_and_features(catalog_url: str, tmp_path: Path) -> None:
    table = made(catalog_url, tmp_path / "t")
    alter = table.alter
    for bad in ({"delta.appendOnly": "yes"}, {"delta.apendOnly": "true"}):
        call = lambda bad=bad: alter.set_table_properties(bad)  # noqa: E731
        assert kind_of(call) is DeltaLakeErrorKind.INVALID_ARGUMENT
    version = table.version
    alter.set_table_properties({"delta.enableDeletionVectors": "true", "mine": "1"})
    assert table.version == version + 1
    assert table.protocol.supports_writer_feature("deletionVectors")
    assert alter.set_table_properties({"mine": "1"}).version == version + 1
    alter.unset_table_properties(["mine"])
    assert "mine" not in table.metadata.configuration
    assert kind_of(lambda: alter.drop_feature("deletionVectors")) is (
        DeltaLakeErrorKind.UNSUPPORTED_FEATURE
    )
    alter.add_feature(deltalake.TableFeatures.AppendOnly)
    assert kind_of(lambda: alter.add_feature("catalogManaged")) is (
        DeltaLakeErrorKind.UNSUPPORTED_FEATURE
    )


def test_two_who_alter_both_do(catalog_url: str, tmp_path: Path) -> None:
    made(catalog_url, tmp_path / "t")
    uri = f"deltasql://{catalog_url}?table=t"
    ready = threading.Barrier(2)

    def add(name: str) -> None:
        table = dl.connect_to_table(uri)
        ready.wait()
        table.alter.add_columns(pa.field(name, pa.int64()))

    both = [threading.Thread(target=add, args=(name,)) for name in ("left", "right")]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert set(dl.connect_to_table(uri).schema.names) == {"id", "s", "left", "right"}


def test_a_column_that_may_be_null_from_now_on(sqlite_url: str, tmp_path: Path) -> None:
    place = tmp_path / "t"
    schema = pa.schema([pa.field("id", pa.int64(), nullable=False)])
    uri = f"deltasql://{sqlite_url}?table=t"
    dl.write_deltalake(uri, pa.table({"id": [1]}, schema=schema), location=str(place))
    table, nulls = dl.connect_to_table(uri), pa.table({"id": pa.array([None], pa.int64())})
    with pytest.raises(DeltaLakeError, match="id"):
        table.append(nulls)
    table.alter.drop_column_not_null("id")
    table.append(nulls)
    assert table.to_pyarrow_table()["id"].null_count == 1
    assert delta_rs(place).schema().fields[0].nullable
    assert delta_rs(place).to_pyarrow_table()["id"].null_count == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("delta.appendOnly", "maybe"),
        ("delta.checkpointInterval", "0"),
        ("delta.dataSkippingNumIndexedCols", "-2"),
        ("delta.logRetentionDuration", "soon"),
        ("mine", ["a", "list"]),
        ("", "nameless"),
    ],
)
def test_a_new_table_has_no_property_that_cannot_be_set(
    catalog_url: str, tmp_path: Path, name: str, value: Any
) -> None:
    place = tmp_path / "t"
    assert kind_of(lambda: made(catalog_url, place, configuration={name: value})) is (
        DeltaLakeErrorKind.INVALID_ARGUMENT
    )
    assert not place.exists()
    table = made(catalog_url, place)
    assert kind_of(lambda: table.alter.set_table_properties({name: value})) is (
        DeltaLakeErrorKind.INVALID_ARGUMENT
    )


def test_properties_are_texts_as_delta_rs_reads_them(catalog_url: str, tmp_path: Path) -> None:
    given = {"delta.appendOnly": True, "delta.checkpointInterval": 7, "none": None}
    table = made(catalog_url, tmp_path / "t", configuration=given)
    table.alter.set_table_properties({"delta.appendOnly": False})
    assert delta_rs(tmp_path / "t").metadata().configuration == {
        "delta.appendOnly": "false",
        "delta.checkpointInterval": "7",
    }
