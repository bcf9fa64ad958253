"""Reading the sample tables: the rows must be those that other readers agree on."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.protocol import Protocol
from deltalakedb.scan.dataset import DeltaDataset, DeltaFileDataset, scan_dataset
from deltalakedb.scan.scan import count_rows, scan_batches, scan_table
from tests.snapshot.scan_support import sample_facts, sample_scan, sample_versions
from tests.tables import samples

READABLE = sample_versions("readable")


@pytest.mark.parametrize(("name", "version"), READABLE)
def test_rows_are_the_expected_ones(name: str, version: int) -> None:
    facts = sample_facts(name, version)
    spec = sample_scan(name, version)
    table = scan_table(spec)
    assert samples.data_sha256(table, facts["schema"]) == facts["data"]["sha256"]
    assert table.schema.names == [field["name"] for field in facts["schema"]["fields"]]
    assert count_rows(spec) == facts["data"]["num_rows"] == table.num_rows
    table.validate(full=True)


@pytest.mark.parametrize(("name", "version"), sample_versions("readable", newest_only=True))
def test_datasets_give_the_same_rows_in_every_way(name: str, version: int) -> None:
    facts = sample_facts(name, version)
    wanted = facts["data"]["sha256"]
    dataset = scan_dataset(sample_scan(name, version))
    tables = [
        dataset.to_table(),
        dataset.scanner().to_table(),
        pickle.loads(pickle.dumps(dataset)).to_table(),
    ]
    plain = isinstance(dataset, DeltaFileDataset)
    if plain:  # Arrow's own scan, by the fragments' guarantees
        tables.append(ds.Scanner.from_dataset(dataset).to_table())
    assert [samples.data_sha256(table, facts["schema"]) for table in tables] == [wanted] * len(
        tables
    )
    rows = facts["data"]["num_rows"]
    assert dataset.count_rows() == rows
    assert dataset.head(2).num_rows == min(2, rows)
    assert dataset.to_table(columns=[]).num_rows == rows
    uses_vectors = any(file["dv"] for file in facts["files"])
    mapped = facts["configuration"].get("delta.columnMapping.mode", "none") != "none"
    assert not (plain and (uses_vectors or mapped))


def test_both_kinds_of_dataset_are_met() -> None:
    kinds = {type(scan_dataset(sample_scan(*each))) for each in READABLE}
    assert kinds == {DeltaDataset, DeltaFileDataset}


@pytest.mark.parametrize(("name", "version"), sample_versions("missing_files"))
def test_a_missing_file_is_named(name: str, version: int) -> None:
    with pytest.raises(DeltaLakeError) as caught:
        scan_table(sample_scan(name, version))
    paths = [detail["raw_path"] for detail in sample_facts(name, version)["file_details"]]
    assert caught.value.kind is DeltaLakeErrorKind.NOT_FOUND
    assert caught.value.facts["path"] in paths
    assert f"version {version} of" in caught.value.message
    assert "does not exist" in caught.value.message


def test_a_vector_written_by_another_padding_is_read_or_refused() -> None:
    [(name, version)] = sample_versions("ambiguous")
    facts = sample_facts(name, version)
    accepted = [each for each in facts["data"]["acceptable"] if isinstance(each, dict)]
    digest = samples.data_sha256(scan_table(sample_scan(name, version)), facts["schema"])
    assert digest in [each["sha256"] for each in accepted]


def test_unknown_reader_features_are_refused_by_name() -> None:
    spec = sample_scan("dat-no_stats", 0)
    newer = replace(spec, protocol=Protocol(3, 7, ("deletionVectors", "futureFeature"), ()))
    for use in (scan_table, scan_dataset, count_rows):
        with pytest.raises(DeltaLakeError, match="futureFeature") as caught:
            use(newer)
        assert caught.value.kind is DeltaLakeErrorKind.UNSUPPORTED_FEATURE


@pytest.mark.parametrize(
    ("name", "predicate"),
    [
        ("dat-all_primitive_types", pc.field("int32") > 2),
        ("dat-multi_partitioned_2", pc.field("bool") == pa.scalar(True)),
        ("dat-column_mapping", pc.field("new_int") < 100),
        ("kernel-table-with-dv-small", pc.field("value") >= 5),
        ("golden-data-reader-nested-struct", pc.field("a", "aa") == "8"),
        ("rs-http_requests", pc.field("date") == "2023-04-13"),
    ],
)
def test_predicates_keep_exactly_the_rows_that_satisfy_them(
    name: str, predicate: pc.Expression
) -> None:
    version = [v for n, v in READABLE if n == name][-1]
    spec = sample_scan(name, version)
    every = scan_table(spec)
    wanted = every.filter(predicate)
    assert wanted.num_rows > 0
    assert scan_table(spec, predicate=predicate).equals(wanted)
    last = every.schema.names[-1:]
    assert scan_table(spec, last, predicate).equals(wanted.select(last))
    assert count_rows(spec, predicate) == wanted.num_rows
    assert scan_dataset(spec).filter(predicate).count_rows() == wanted.num_rows
    assert scan_dataset(spec).to_table(filter=predicate).equals(wanted)


def test_columns_come_in_the_order_asked_for() -> None:
    spec = sample_scan("dat-multi_partitioned_2", 0)
    names = list(reversed(spec.schema.arrow.names))
    assert scan_table(spec, names).equals(scan_table(spec).select(names))


def test_questions_that_do_not_fit_the_table() -> None:
    spec = sample_scan("kernel-table-with-dv-small", 1)
    for columns in (["value", "nope"], ["value", "value"]):
        with pytest.raises(DeltaLakeError) as caught:
            scan_table(spec, columns)
        assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT
    for predicate in (pc.field("nope") > 1, pc.field("value") == "x", pc.field("value")):
        with pytest.raises(DeltaLakeError) as caught:
            next(scan_batches(spec, predicate=predicate))
        assert caught.value.kind is DeltaLakeErrorKind.INVALID_PREDICATE
