"""Reading logs from a store: what the ranges hold together, and what can't be read."""

from __future__ import annotations

import gc
import json
import pickle
import random
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log import reader
from deltalakedb.log.ranges import RangeSpec
from deltalakedb.log.reader import plan_ranges, read_listing, read_range, read_ranges
from deltalakedb.log.segment import Segment, full_segment, latest_segment
from deltalakedb.replay.state import RangeState
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import ObjectStore
from tests.log.made_logs import (
    ADD_FIELDS,
    TEXTS,
    Action,
    checkpoint_schema,
    checkpoint_table,
    write_checkpoint,
    write_commit,
    write_lines,
)
from tests.replay.generated import add, remove, table_commit

UUID = "80a083e8-7026-4e79-81be-64bd76c43a11"
Files = set[tuple[str, int]]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = tmp_path / "a table" / "_delta_log"
    folder.mkdir(parents=True)
    return folder


def store(log: Path) -> ObjectStore:
    return open_store(StoreSpec(str(log)))


def checkpoint(version: int, kind: str = "parquet", *, classic: bool = False) -> str:
    return f"{version:020d}.checkpoint.{'' if classic else UUID + '.'}{kind}"


def read(log: Path, segment: Segment, size: int = 1 << 20) -> list[RangeState]:
    """The states of a segment's runs, each put together from its ranges."""
    ranges = plan_ranges(store(log), segment, size)
    assert [r.index for r in ranges] == list(range(len(ranges)))
    assert pickle.loads(pickle.dumps(ranges)) == ranges
    return [
        reduce(RangeState.merge, [replayed(log, r) for r in ranges if r.run == number])
        for number in range(len(segment.runs))
    ]


def replayed(log: Path, spec: RangeSpec) -> RangeState:
    return RangeState.replay(read_range(store(log), spec), spec.first, spec.last)


def newest(log: Path, size: int = 1 << 20) -> RangeState:
    [state] = read(log, latest_segment(read_listing(store(log))), size)
    return state


def live(state: RangeState, version: int) -> Files:
    rows = state.live_at(version).to_pylist()
    found = {(r["path"], r["size"]) for r in rows}
    assert len(found) == len(rows)
    return found


def adds(*paths: str) -> list[Action]:
    return [add(p, size=i) for i, p in enumerate(paths)]


def refusal(log: Path) -> DeltaLakeError:
    with pytest.raises(DeltaLakeError) as caught:
        newest(log)
    return caught.value


def test_a_place_that_is_not_there_or_holds_no_log(tmp_path: Path) -> None:
    with pytest.raises(DeltaLakeError) as caught:
        read_listing(store(tmp_path / "nowhere"))
    assert caught.value.kind is DeltaLakeErrorKind.NOT_FOUND
    with pytest.raises(DeltaLakeError) as caught:
        read_listing(store(tmp_path))
    assert caught.value.kind is DeltaLakeErrorKind.EMPTY_LOG


@pytest.mark.parametrize("size", [1, 700, 2000, 1 << 20])
def test_commits_are_cut_into_ranges_that_are_the_whole_together(log: Path, size: int) -> None:
    write_commit(log, 0, table_commit())
    for version in range(1, 12):
        write_commit(log, version, [add(f"f{version}"), remove(f"f{version - 2}", at=version)])
    segment = latest_segment(read_listing(store(log)))
    ranges = plan_ranges(store(log), segment, size)
    assert (len(ranges) == 1) == (size == 1 << 20)
    assert [c.version for r in ranges for c in r.commits] == list(range(12))
    assert all((r.first, r.last) == (r.commits[0].version, r.commits[-1].version) for r in ranges)
    state = newest(log, size)
    assert live(state, 11) == {("f11", 1), ("f10", 1)}
    assert live(state, 5) == {("f5", 1), ("f4", 1)}
    assert state.versions.column("version").to_pylist() == list(range(12))


def test_ranges_are_bounded_in_commits_too(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "RANGE_COMMITS", 4)
    for version in range(10):
        write_commit(log, version, table_commit())
    ranges = plan_ranges(store(log), latest_segment(read_listing(store(log))))
    assert [len(r.commits) for r in ranges] == [4, 4, 2]


def test_many_commits_are_fetched_in_order(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "SETTLE_ADDS", 2)
    for version in range(10):
        write_commit(log, version, table_commit() if not version else [add(f"f{version}")])
    state = newest(log)
    assert state.files.column("added_version").to_pylist() == list(range(1, 10))
    assert state.versions.column("version").to_pylist() == list(range(10))


def test_reading_leaves_the_collector_as_it_was(log: Path) -> None:
    write_commit(log, 0, table_commit())
    newest(log)
    assert gc.isenabled()
    gc.disable()
    try:
        newest(log)
        assert not gc.isenabled()
    finally:
        gc.enable()


STATE = [*table_commit(), {"txn": {"appId": "a", "version": 1}}]
TOMBSTONE = remove("gone", at=3)


def write_classic(log: Path) -> None:
    write_checkpoint(log / checkpoint(5, classic=True), [*STATE, *adds("a", "b"), TOMBSTONE])


def write_parts(log: Path) -> None:
    for number, actions in enumerate([STATE, adds("a", "b"), [TOMBSTONE]], 1):
        write_checkpoint(log / f"{5:020d}.checkpoint.{number:010d}.{3:010d}.parquet", actions)


def write_v2_whole(log: Path) -> None:
    top: list[Action] = [{"checkpointMetadata": {"version": 5}}, *STATE, *adds("a", "b"), TOMBSTONE]
    write_checkpoint(log / checkpoint(5), top)


def sidecars(log: Path, *paths: str) -> list[Action]:
    """Two sidecars under the names that the paths stand for, and the actions that name them."""
    first, second = (log / "_sidecars" / name for name in ("s 1.parquet", "s%2.parquet"))
    write_checkpoint(first, adds("a", "b"))
    write_checkpoint(second, [TOMBSTONE])
    body = {"sizeInBytes": 1, "modificationTime": 1}
    found: list[Action] = [{"sidecar": {"path": p, **body}} for p in paths]
    return [{"checkpointMetadata": {"version": 5}}, *found]


def write_v2_parquet(log: Path) -> None:
    named = sidecars(log, "s%201.parquet", "s%252.parquet")
    write_checkpoint(log / checkpoint(5), [*STATE, *named])


def write_v2_json(log: Path) -> None:
    named = sidecars(log, "s%201.parquet", "s%252.parquet")
    write_lines(log / checkpoint(5, "json"), [*named, *STATE])


def write_v2_classic_name(log: Path) -> None:
    named = sidecars(log, "s%201.parquet", "s%252.parquet")
    write_checkpoint(log / checkpoint(5, classic=True), [*STATE, *named])


def write_v2_absolute(log: Path) -> None:
    folder = str(log / "_sidecars").replace(" ", "%20")
    named = sidecars(log, f"file://{folder}/s%201.parquet", f"{folder}/s%252.parquet")
    write_lines(log / checkpoint(5, "json"), [*named, *STATE])


def write_v2_json_whole(log: Path) -> None:
    write_lines(log / checkpoint(5, "json"), [*STATE, *adds("a", "b"), TOMBSTONE])


CHECKPOINTS = [
    write_classic,
    write_parts,
    write_v2_whole,
    write_v2_parquet,
    write_v2_json,
    write_v2_classic_name,
    write_v2_absolute,
    write_v2_json_whole,
]


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize("write", CHECKPOINTS)
def test_a_checkpoint_of_any_kind_is_the_state_at_its_version(
    log: Path, write: Any, size: int
) -> None:
    write(log)
    write_commit(log, 6, [remove("a", at=9), add("c", size=9)])
    state = newest(log, size)
    assert (state.first, state.last) == (5, 6)
    assert live(state, 5) == {("a", 0), ("b", 1)}
    assert live(state, 6) == {("b", 1), ("c", 9)}
    assert state.closings.column("path").to_pylist() == ["gone"]
    assert state.closings.column("removed_at").to_pylist() == [3]
    kept = {(s.action, s.key): s.body for s in state.state}
    assert kept["txn", "a"] == {"appId": "a", "version": 1}
    assert kept["metaData", ""] == STATE[1]["metaData"]
    assert kept["protocol", ""] == STATE[0]["protocol"]
    assert len(kept) == len(state.state) == 3


def test_the_commit_of_the_checkpoint_is_history_alone(log: Path) -> None:
    write_classic(log)
    write_commit(log, 5, [{"commitInfo": {"operation": "WRITE"}}, add("a"), add("x")])
    segment = latest_segment(read_listing(store(log)))
    *_, last = plan_ranges(store(log), segment)
    assert (last.run, last.history_only) == (-1, True)
    found = read_range(store(log), last)
    assert found.versions.column("operation").to_pylist() == ["WRITE"]
    assert found.files.num_rows == 0


@pytest.mark.parametrize("missed", [3, 5])
def test_a_listing_that_misses_a_commit_is_made_again(
    log: Path, missed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As beside writers: what came first isn't there, and what came after it is."""
    write_classic(log)
    for version in range(6):
        write_commit(log, version, [add(f"c{version}")])
    found = store(log)
    whole, asked = found.list, []

    def listed() -> list[Any]:
        asked.append(missed)
        entries = list(whole())
        if len(asked) == 1:
            entries = [entry for entry in entries if entry.name != f"{missed:020d}.json"]
        return entries

    monkeypatch.setattr(found, "list", listed)
    listing = read_listing(found)
    assert [commit.version for commit in listing.commits] == list(range(6))
    assert len(asked) == 2


def test_row_groups_are_read_in_several_ranges(log: Path) -> None:
    paths = [f"f{i}" for i in range(40)]
    actions = [*STATE, *adds(*paths)]
    write_checkpoint(log / checkpoint(5, classic=True), actions, row_group_size=7)
    segment = latest_segment(read_listing(store(log)))
    # As small as can be: a row group that is larger than a range is cut, down to its rows.
    assert len(plan_ranges(store(log), segment, 1)) == len(actions)
    assert live(newest(log, 1), 5) == live(newest(log), 5) == {(p, i) for i, p in enumerate(paths)}


def test_a_huge_row_group_is_read_in_batches(log: Path) -> None:
    count = 70_000
    write_checkpoint(log / f"{5:020d}.checkpoint.{1:010d}.{2:010d}.parquet", STATE)
    body = pa.StructArray.from_arrays(
        [
            pa.array([f"part-{i}" for i in range(count)]),
            pa.array([[("p", str(i % 7))] for i in range(count)], TEXTS),
            pa.array(np.arange(count)),
        ],
        names=["path", "partitionValues", "size"],
    )
    second = log / f"{5:020d}.checkpoint.{2:010d}.{2:010d}.parquet"
    pq.write_table(pa.table({"add": body}), second, row_group_size=count)
    files = newest(log).files
    assert files.column("path").num_chunks > 1
    assert files.column("size").to_pylist() == list(range(count))
    found = files.column("partition_values").to_pylist()
    assert found == [f'{{"p":"{i % 7}"}}' for i in range(count)]


@pytest.mark.parametrize("seconds", [-62_135_596_800, -10_000_000_000, 0, 253_402_300_799])
def test_bounds_in_int96_keep_their_years(log: Path, seconds: int) -> None:
    """Spark's old timestamps, which Arrow reads as nanoseconds if nobody asks for more years."""
    bound = pa.struct([("ts", pa.timestamp("us", "UTC"))])
    parsed = {"stats_parsed": pa.struct([("numRecords", pa.int64()), ("minValues", bound)])}
    fields = {n: t for n, t in ADD_FIELDS.items() if n != "stats"} | parsed
    statistics = {"numRecords": 1, "minValues": {"ts": seconds * 1_000_000}}
    actions = [*STATE, {"add": {"path": "a", "stats_parsed": statistics}}]
    path = log / checkpoint(5, classic=True)
    found = []
    for int96 in (False, True):
        table = checkpoint_table(actions, checkpoint_schema(fields))
        log.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, use_deprecated_int96_timestamps=int96)
        found += newest(log).files["stats"].to_pylist()
    # INT96 says nothing of a zone: it is UTC's, unlike that of a column without one.
    assert found[0] == found[1]
    assert json.loads(found[0])["minValues"]["ts"].endswith("Z")


def test_a_huge_row_group_is_read_in_parts(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by itself, as after the death of a worker, or all with one pass over the group."""
    paths = [f"f{i}" for i in range(50)]
    parsed = {"stats_parsed": pa.struct([("numRecords", pa.int64())])}
    actions = [*STATE, *adds(*paths), {"remove": {"path": "gone"}}]
    structs_only = actions[20]["add"]
    structs_only |= {"stats": None, "stats_parsed": {"numRecords": 3}}
    write_checkpoint(
        log / checkpoint(5, classic=True), actions, checkpoint_schema(ADD_FIELDS | parsed)
    )
    whole = newest(log)
    monkeypatch.setattr(reader, "RANGE_BYTES", 1000)
    monkeypatch.setattr(reader, "_SLICE_BATCH", 6)
    ranges = plan_ranges(store(log), latest_segment(read_listing(store(log))), 1000)
    assert len(ranges) > 3
    assert {r.shared for r in ranges} == {(checkpoint(5, classic=True), (0,))}
    singly = [read_range(store(log), r) for r in ranges]
    for found in (singly, list(read_ranges(store(log), ranges))):
        files = pa.concat_tables([rows.files for rows in found])
        assert files.to_pylist() == whole.files.to_pylist()
        assert [s for rows in found for s in rows.state] == list(whole.state)
        assert sum(rows.closings.num_rows for rows in found) == 1
    assert [rows.files.num_rows > 0 for rows in singly] == [True] * len(ranges)
    row = whole.files.filter(pc.equal(whole.files["path"], structs_only["path"]))
    assert row["stats"].to_pylist() == ['{"numRecords":3}']
    assert next(iter(read_ranges(store(log), ranges[1:]))).files.equals(singly[1].files)


def test_a_damaged_part_of_a_row_group_names_the_checkpoint(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_checkpoint(log / checkpoint(5, classic=True), [*STATE, *adds("a", "b", "c")])
    monkeypatch.setattr(reader, "RANGE_BYTES", 300)
    ranges = plan_ranges(store(log), latest_segment(read_listing(store(log))), 300)
    assert len(ranges) > 1
    content = path.read_bytes()
    path.write_bytes(b"\0" * 3000 + content[3000:])
    for read_them in (
        lambda: list(read_ranges(store(log), ranges)),
        lambda: read_range(store(log), ranges[-1]),
    ):
        with pytest.raises(DeltaLakeError) as caught:
            read_them()
        assert caught.value.kind is DeltaLakeErrorKind.CORRUPT_CHECKPOINT
        assert caught.value.facts["checkpoint"] == ranges[0].checkpoint


@pytest.mark.parametrize("texts", [None, '{"numRecords":7}'], ids=["none", "some"])
def test_statistics_come_from_their_structs_where_the_text_is_missing(
    log: Path, texts: str | None
) -> None:
    fields = ADD_FIELDS | {"stats_parsed": pa.struct([("numRecords", pa.int64())])}
    actions: list[Action] = [
        {"add": {"path": "a", "stats": texts, "stats_parsed": {"numRecords": 8}}},
        {"add": {"path": "b", "stats_parsed": {"numRecords": 9}}},
        {"add": {"path": "c"}},
    ]
    schema = checkpoint_schema(fields)
    write_checkpoint(log / checkpoint(5, classic=True), [*STATE, *actions], schema)
    rows = newest(log).files.to_pylist()
    assert {r["path"]: r["stats"] for r in rows} == {
        "a": texts or '{"numRecords":8}',
        "b": '{"numRecords":9}',
        "c": None,
    }


def test_both_sides_of_a_gap_are_read(log: Path) -> None:
    write_commit(log, 0, table_commit())
    write_commit(log, 1, [add("x")])
    write_classic(log)
    write_commit(log, 6, [remove("a")])
    left, right = read(log, full_segment(read_listing(store(log))))
    assert live(left, 1) == {("x", 1)}
    assert live(right, 5) == {("a", 0), ("b", 1)}
    assert live(right, 6) == {("b", 1)}


def test_what_else_lies_in_the_log_is_not_looked_at(log: Path) -> None:
    write_commit(log, 0, [*table_commit(), add("a")])
    (log / "_last_checkpoint").write_text('{"version": 99')
    (log / f"{0:020d}.crc").write_bytes(b"")
    (log / f"{0:020d}.{3:020d}.compacted.json").write_bytes(b"garbage")
    (log / f"{0:020d}.json.tmp").write_bytes(b"garbage")
    (log / "_staged_commits").mkdir()
    assert live(newest(log), 0) == {("a", 1)}


def test_a_commit_that_goes_after_the_listing_is_named(log: Path) -> None:
    write_commit(log, 0, table_commit())
    gone = write_commit(log, 1, [add("a")])
    segment = latest_segment(read_listing(store(log)))
    gone.unlink()
    with pytest.raises(DeltaLakeError) as caught:
        read(log, segment)
    assert caught.value.kind is DeltaLakeErrorKind.NOT_FOUND
    assert gone.name in caught.value.message


def assert_names_the_checkpoint(log: Path, error: DeltaLakeError, name: str) -> None:
    assert error.kind is DeltaLakeErrorKind.CORRUPT_CHECKPOINT
    assert name in error.message
    assert error.facts["version"] == 5
    listing = read_listing(store(log))
    assert error.facts["checkpoint"] == listing.checkpoints[0].fingerprint
    assert pickle.loads(pickle.dumps(error)).facts == error.facts


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[1]\n",
        b'{"sidecar":{}}\n',
        b'{"sidecar":5}\n',
        b'{"txn":{}}\n',
        b'{"add":{"size":1}}\n',
        b'{"add":5}\n',
        b'{"remove":{"path":5}}\n',
        b"PAR1",
        b"\xff\xfe",
    ],
)
def test_a_json_checkpoint_that_is_none_is_refused_by_name(log: Path, content: bytes) -> None:
    name = checkpoint(5, "json")
    (log / name).write_bytes(content)
    assert_names_the_checkpoint(log, refusal(log), name)


def test_a_missing_sidecar_is_named(log: Path) -> None:
    write_v2_json(log)
    (log / "_sidecars" / "s%2.parquet").unlink()
    assert_names_the_checkpoint(log, refusal(log), "s%2.parquet")


@pytest.mark.parametrize(
    "column",
    [
        pa.array([{"path": 5, "size": "x"}]),
        pa.array([{"path": "a", "size": "x"}]),
        pa.array([{"path": "a", "partitionValues": "x"}]),
        pa.array([{"path": "a", "deletionVector": {"storageType": "u"}}]),
        pa.array(["a"]),
    ],
    ids=lambda column: str(column.type),
)
def test_columns_of_wrong_types_are_no_checkpoint(log: Path, column: pa.Array) -> None:
    name = checkpoint(5, classic=True)
    pq.write_table(pa.table({"add": column}), log / name)
    assert_names_the_checkpoint(log, refusal(log), name)


@pytest.mark.parametrize("name", [checkpoint(5, classic=True), "_sidecars/s 1.parquet"])
def test_a_damaged_parquet_file_is_read_or_refused_but_never_more(log: Path, name: str) -> None:
    """Any other error would be a traceback for the user."""
    write_v2_classic_name(log)
    whole = (log / name).read_bytes()
    generator = random.Random(5)
    refused: list[DeltaLakeError] = []
    for attempt in range(150):
        broken = bytearray(whole)
        if attempt % 3 == 0:
            del broken[generator.randrange(1, len(whole)) :]
        else:
            for _ in range(generator.choice([1, 4, 40])):
                broken[generator.randrange(len(whole))] = generator.randrange(256)
        (log / name).write_bytes(bytes(broken))
        try:
            newest(log)
        except DeltaLakeError as error:
            refused.append(error)
    assert {e.kind for e in refused} == {DeltaLakeErrorKind.CORRUPT_CHECKPOINT}
    assert all(name in e.message for e in refused)
    assert len(refused) > 50


def test_json_checkpoints_keep_unknown_actions(log: Path) -> None:
    write_lines(log / checkpoint(5, "json"), [*STATE, {"future": {"a": 1}}])
    [row] = newest(log).others.to_pylist()
    assert (row["action"], json.loads(row["body"])) == ("future", {"a": 1})
