"""Comparing by hashes finds what a plain comparison of all files finds, however it is split."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing.run import import_table
from deltalakedb.parity import buckets
from deltalakedb.parity.buckets import Buckets, bucket_count
from deltalakedb.parity.diff import FileDrift, compare_files, first_difference
from deltalakedb.parity.facts import FILE_RECORD, Records, bucket_of
from deltalakedb.parity.run import diff_table
from tests.parity.logs import METADATA, PROTOCOL, Log, add

# Few keys, so that sides meet; equal first halves with other second ones, so that these count.
_KEYS = st.tuples(st.sampled_from([-(2**63), -5, 0, 3, 2**63 - 1]), st.integers(-1, 1))
_FILES = st.tuples(st.integers(0, 2), st.booleans())


def _records(files: list[tuple[tuple[int, int], tuple[int, bool]]]) -> Records:
    records = np.zeros(len(files), dtype=FILE_RECORD)
    for number, ((key, key2), (fact, stats)) in enumerate(files):
        records[number] = (key, key2, fact, 0, stats)
    return records


@given(
    st.dictionaries(_KEYS, _FILES),
    st.lists(st.tuples(_KEYS, _FILES), max_size=20),
    st.sampled_from([1, 2, 8]),
)
def test_files_are_compared_as_a_plain_comparison_does(
    log: dict[tuple[int, int], tuple[int, bool]],
    catalog: list[tuple[tuple[int, int], tuple[int, bool]]],
    count: int,
) -> None:
    rows = Counter(key for key, _ in catalog)
    facts = dict(catalog)
    different = {
        key
        for key in log.keys() & facts.keys()
        if rows[key] > 1 or log[key][0] != facts[key][0] or (log[key][1] and not facts[key][1])
    }
    drift = FileDrift(room=1000)
    ours, theirs = _records(list(log.items())), _records(catalog)
    for bucket in range(count):
        compare_files(
            ours[bucket_of(ours["key"], count) == bucket],
            theirs[bucket_of(theirs["key"], count) == bucket],
            drift,
        )
    found = {
        kind: {(int(r["key"]), int(r["key2"])) for r in drift.records(kind)}
        for kind in drift.counts
    }
    expected = {
        "missing_in_catalog": log.keys() - facts.keys(),
        "missing_in_log": facts.keys() - log.keys(),
        "different": different,
    }
    assert found == expected
    assert drift.counts == {kind: len(keys) for kind, keys in expected.items()}


def test_only_the_first_are_kept_and_all_are_counted() -> None:
    drift = FileDrift(room=3)
    for start in (0, 2, 10):
        files = [((key, 0), (0, False)) for key in range(start, start + 2)]
        compare_files(_records(files), _records([]), drift)
    assert drift.counts["missing_in_catalog"] == 6
    assert drift.records("missing_in_catalog")["key"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("count", [1, 4])
def test_buckets_give_back_what_was_put_in(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DL_SPILL_DIR", str(tmp_path))
    keys = [-(2**63), -1, 0, 1, 2**62, 2**63 - 1]
    records = _records([((key, 1), (2, True)) for key in keys])
    with Buckets(count, FILE_RECORD) as kept:
        kept.add(records[:4])
        kept.add(records[4:])
        assert len(list(tmp_path.iterdir())) == (count > 1)
        found = [kept.take(bucket) for bucket in range(count)]
    assert sorted(np.concatenate(found)["key"].tolist()) == keys
    for bucket, piece in enumerate(found):
        assert set(bucket_of(piece["key"], count).tolist()) <= {bucket}
    assert list(tmp_path.iterdir()) == []


def test_a_spill_that_can_t_be_written_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DL_SPILL_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(DeltaLakeError, match="DL_SPILL_DIR") as raised:
        Buckets(2, FILE_RECORD).add(_records([((1, 1), (1, True))]))
    assert raised.value.kind is DeltaLakeErrorKind.SPILL_ERROR


def test_buckets_are_as_many_as_the_records_need() -> None:
    size = buckets.BUCKET_RECORDS
    assert [bucket_count(n) for n in (0, 1, size, size + 1, 3 * size)] == [1, 1, 1, 2, 4]
    assert bucket_count(10**15) == 1024


def test_a_table_of_several_buckets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same answer as in memory; more differences than a report lists."""
    monkeypatch.setattr(buckets, "BUCKET_RECORDS", 100)
    monkeypatch.setenv("DL_SPILL_DIR", str(tmp_path))
    adds = [add(f"part-{n:04}") for n in range(500)]
    log = Log.write(tmp_path / "many", [[PROTOCOL, METADATA, *adds[:400]], adds[400:]])
    database = str(tmp_path / "catalog.sqlite")
    table = import_table(str(log.table), database=database).table_id
    assert diff_table(table, database=database).exit_code == 0
    changed = [add(f"part-{n:04}", size=1) for n in range(150)]
    fresh = [add(f"new-{n:04}") for n in range(120)]
    log.checkpoint(1, [PROTOCOL, METADATA, *changed, *adds[150:370], *fresh])
    report = diff_table(table, database=database)
    assert report.file_drift == 150 + 120 + 130
    facts: dict[str, Any] = report.to_json()
    for kind, count in (("different", 150), ("missing_in_catalog", 120), ("missing_in_log", 130)):
        paths = [f["path"] for f in facts[kind]]
        assert (len(paths), facts[f"{kind}_count"]) == (100, count)
        assert paths == sorted(paths)
    assert "… and 140 more" in str(report)
    assert not list(tmp_path.glob("dl-parity-*"))


_A = '{"type":"struct","fields":[{"name":"a","type":"long","nullable":true}]}'


@pytest.mark.parametrize(
    ("log", "name", "values"),
    [
        (_A.replace('"long"', '"date"'), "schema.a", ("long", "date")),
        (_A.replace("true", "false"), "schema.a.nullable", (True, False)),
        (_A.replace('"a"', '"b"'), "schema.b.name", ("a", "b")),
        (_A.replace("}]", '},{"name":"z"}]'), "schema.z", (None, {"name": "z"})),
        ("not json", "schema", (_A, "not json")),
    ],
)
def test_the_first_difference_of_schemas(log: str, name: str, values: tuple[Any, Any]) -> None:
    found = first_difference(log, _A)
    assert found is not None
    assert (found.name, (found.catalog, found.log)) == (name, values)


def test_schemas_that_are_written_differently_are_the_same() -> None:
    assert first_difference(_A, _A.replace(",", ", ")) is None
