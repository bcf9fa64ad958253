"""Checkpoints that we write hold the table, for ourselves and for others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, QueryBuilder

from deltalakedb.log.action_tables import file_rows
from deltalakedb.log.checkpoint import action_rows
from deltalakedb.log.checkpoint_writer import CheckpointState, CheckpointWriter, WrittenCheckpoint
from deltalakedb.log.checksum import json_checksum, last_checkpoint, version_checksum
from deltalakedb.log.commit_writer import add_body, domain_body, metadata_body, txn_body
from deltalakedb.log.metadata import Metadata, TableSchema
from deltalakedb.log.protocol import Protocol
from deltalakedb.log.rows import FILE_SCHEMA
from deltalakedb.log.table_properties import DAY_MS, duration_ms, interval_ms

NOW = 1_700_000_000_000
VECTOR = {"storageType": "u", "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^", "offset": 4,
          "sizeInBytes": 40, "cardinality": 6}  # fmt: skip
SCHEMA = json.dumps(
    {
        "type": "struct",
        "fields": [
            {"name": n, "type": t, "nullable": True, "metadata": {}}
            for n, t in (
                ("a.b", "long"),
                ("d", "decimal(20,2)"),
                ("s", {"type": "struct", "fields": [
                    {"name": "x", "type": "timestamp", "nullable": True, "metadata": {}},
                    {"name": "l", "type": {"type": "array", "elementType": "long",
                     "containsNull": True}, "nullable": True, "metadata": {}}]}),
                ("p", "date"),
            )
        ],
    }
)  # fmt: skip
PLAIN = Protocol(1, 2)
V2 = Protocol(
    3, 7, ("deletionVectors", "v2Checkpoint"), ("appendOnly", "deletionVectors", "v2Checkpoint")
)


def metadata(**configuration: str) -> Metadata:
    properties = {key.replace("__", "."): value for key, value in configuration.items()}
    return Metadata("m", None, None, "parquet", 1, TableSchema(SCHEMA), ["p"], properties)


def adds(count: int) -> list[dict[str, Any]]:
    stats = (
        '{"numRecords":%d,"minValues":{"a.b":%d,"d":0.10,"s":{"x":"2024-01-01T00:00:00.000Z"}},'
        '"maxValues":{"a.b":9,"d":1.25},"nullCount":{"a.b":0,"s":{"l":2}},"tightBounds":true}'
    )
    found = [
        add_body(f"p=x/f{i}.parquet", {"p": f"2024-01-0{i % 3 + 1}"}, i, i, stats=stats % (i, i))
        for i in range(1, count)
    ]
    return [*found, add_body("z%20z", {"p": None}, 7, 8, tags={"k": "v"}, deletion_vector=VECTOR,
                             base_row_id=4, default_row_commit_version=2)]  # fmt: skip


def removed(path: str, at: int | None) -> pa.Table:
    row = file_rows([add_body(path, {"p": None}, 3, 4, deletion_vector=VECTOR)], 1).to_pylist()[0]
    return pa.Table.from_pylist([row | {"removed_version": 2, "removed_at": at}], FILE_SCHEMA)


def write(
    folder: Path, state: CheckpointState, files: pa.Table, **options: Any
) -> WrittenCheckpoint:
    log = folder / "_delta_log"
    (log / "_sidecars").mkdir(parents=True, exist_ok=True)
    writer = CheckpointWriter(
        lambda name: pa.OSFile(str(log / name), "wb"), state, now=NOW, **options
    )
    for batch in files.to_batches(max_chunksize=3):
        writer.add_files(batch)
    for path, at in (("new", NOW - DAY_MS), ("old", NOW - 8 * DAY_MS), ("unknown", None)):
        writer.add_removes(removed(path, at))
    written = writer.finish()
    (log / "_last_checkpoint").write_bytes(written.hint())
    return written


TXNS = (txn_body("fresh", 3, NOW - 1), txn_body("stale", 4, NOW - 3 * DAY_MS), txn_body("none", 5))
DOMAINS = (domain_body("d", "{}"), domain_body("gone", "{}", removed=True))


def read_all(folder: Path, written: WrittenCheckpoint) -> pa.Table:
    log = folder / "_delta_log"
    parts = [pq.read_table(log / written.name)]
    parts += [pq.read_table(log / "_sidecars" / each.name) for each in written.sidecars or ()]
    return pa.concat_tables(parts, promote_options="default")


@pytest.mark.parametrize("v2", [False, True])
def test_a_checkpoint_holds_the_table(tmp_path: Path, v2: bool) -> None:
    files = file_rows(adds(9), 5)
    found = metadata(delta__setTransactionRetentionDuration="2 days", delta__checkpointPolicy="v2")
    state = CheckpointState(5, V2 if v2 else PLAIN, found, TXNS, DOMAINS)
    assert state.policy == ("v2" if v2 else "classic")
    written = write(tmp_path, state, files, sidecar_rows=4)
    assert (written.num_adds, written.sidecars is None) == (9, not v2)
    if v2:
        assert len(written.sidecars or ()) == 4
    whole = read_all(tmp_path, written)
    assert written.num_actions == whole.num_rows
    rows = action_rows(whole, 5)
    assert rows.files.drop_columns("data_change").equals(files.drop_columns("data_change"))
    assert set(rows.files.column("data_change").to_pylist()) == {False}
    (closing,) = rows.closings.to_pylist()
    assert (closing["path"], closing["removed_at"]) == ("new", NOW - DAY_MS)
    assert json.loads(closing["dv"]) == VECTOR
    assert {(s.action, s.key) for s in rows.state} == {
        ("protocol", ""), ("metaData", ""), ("txn", "fresh"), ("txn", "none"),
        ("domainMetadata", "d"),
    }  # fmt: skip
    bodies = {s.action: s.body for s in rows.state}
    assert bodies["protocol"] == state.protocol.action()
    assert bodies["metaData"] == {k: v for k, v in metadata_body(found).items() if v is not None}
    hint = json.loads((tmp_path / "_delta_log" / "_last_checkpoint").read_bytes())
    assert hint["checksum"] == json_checksum(hint)
    assert (hint["version"], hint["size"], hint["numOfAddFiles"]) == (5, whole.num_rows, 9)
    assert ("v2Checkpoint" in hint) == v2


@pytest.mark.parametrize("policy", ["classic", "v2"])
@pytest.mark.parametrize("name", ["", "classic"])
def test_deltalake_reads_a_table_from_its_checkpoint(
    tmp_path: Path, policy: str, name: str
) -> None:
    bodies = []
    for number in range(5):
        rows = pa.table({"a.b": [number], "d": pa.array([None], pa.decimal128(20, 2))})
        pq.write_table(rows, tmp_path / f"{number} x.parquet")
        size = (tmp_path / f"{number} x.parquet").stat().st_size
        bounds = {"a.b": number}
        stats = json.dumps({"numRecords": 1, "minValues": bounds, "maxValues": bounds})
        bodies.append(
            add_body(f"{number}%20x.parquet", {"p": f"2024-01-0{number + 1}"}, size, 1, stats=stats)
        )
    struct = metadata(delta__checkpoint__writeStatsAsStruct="true")
    protocol = V2 if policy == "v2" else PLAIN
    state = CheckpointState(0, protocol, struct, TXNS, ())
    write(tmp_path, state, file_rows(bodies, 0), policy=policy, classic_name=name == "classic",
          sidecar_rows=2)  # fmt: skip
    table = DeltaTable(str(tmp_path))
    assert table.version() == 0
    assert table.transaction_version("fresh") == 3
    assert table.metadata().configuration == struct.configuration
    query = QueryBuilder().register("t", table)
    found = query.execute('SELECT "a.b" AS a, p FROM t WHERE "a.b" >= 2 ORDER BY 1')
    assert [str(p) for p in pa.table(found).column("p").to_pylist()] == [
        "2024-01-03", "2024-01-04", "2024-01-05"
    ]  # fmt: skip


def test_typed_statistics_and_partition_values(tmp_path: Path) -> None:
    found = metadata(
        delta__checkpoint__writeStatsAsStruct="true", delta__checkpoint__writeStatsAsJson="false"
    )
    written = write(tmp_path, CheckpointState(5, PLAIN, found), file_rows(adds(3), 5))
    column = read_all(tmp_path, written).column("add").combine_chunks()
    rows = [row for row in column.to_pylist() if row is not None]
    assert "stats" not in rows[0]
    parsed = rows[0]["stats_parsed"]
    assert (parsed["numRecords"], parsed["tightBounds"]) == (1, True)
    assert parsed["minValues"]["a.b"] == 1
    assert str(parsed["minValues"]["d"]) == "0.10"
    assert str(parsed["minValues"]["s"]["x"]) == "2024-01-01 00:00:00+00:00"
    assert parsed["nullCount"] == {"a.b": 0, "d": None, "s": {"x": None, "l": 2}}
    assert [str(row["partitionValues_parsed"]["p"]) for row in rows] == [
        "2024-01-02", "2024-01-03", "None"
    ]  # fmt: skip
    assert rows[2]["stats_parsed"] is None
    again = action_rows(read_all(tmp_path, written), 5).files.column("stats").to_pylist()
    assert json.loads(again[0])["maxValues"] == {"a.b": 9, "d": 1.25}


def test_sidecars_of_an_earlier_checkpoint_are_named_again(tmp_path: Path) -> None:
    state = CheckpointState(5, V2, metadata())
    first = write(tmp_path, state, file_rows(adds(5), 5), policy="v2", sidecar_rows=3)
    log = tmp_path / "_delta_log"
    later = CheckpointState(6, V2, metadata())
    writer = CheckpointWriter(lambda n: pa.OSFile(str(log / n), "wb"), later, policy="v2", now=NOW)
    writer.keep(first.sidecars or ())
    writer.add_files(file_rows([add_body("more", {"p": None}, 1, 1)], 6))
    second = writer.finish()
    assert second.num_adds == 6
    paths = action_rows(read_all(tmp_path, second), 6).files.column("path").to_pylist()
    assert sorted(paths) == sorted(["more", *(b["path"] for b in adds(5))])


def test_an_empty_table_has_a_checkpoint(tmp_path: Path) -> None:
    for policy in ("classic", "v2"):
        state = CheckpointState(0, V2, metadata())
        written = write(tmp_path / policy, state, FILE_SCHEMA.empty_table(), policy=policy)
        assert written.num_adds == 0
        assert DeltaTable(str(tmp_path / policy)).file_uris() == []


def test_checksums() -> None:
    # The example of PROTOCOL.md, "JSON checksum".
    example = {
        "k0": "'v 0'",
        "checksum": "adsaskfljadfkjadfkj",
        "k1": {"k2": 2, "k3": ["v3", [1, 2], {"k4": "v4", "k5": ["v5", "v6", "v7"]}]},
    }
    assert json_checksum(example) == "6a92d155a59bf2eecbd4b4ec7fd1f875"
    hint = json.loads(last_checkpoint(3, size=9, size_in_bytes=8, num_add_files=7, parts=2))
    assert hint.pop("checksum") == json_checksum(hint)
    assert hint == {"version": 3, "size": 9, "parts": 2, "sizeInBytes": 8, "numOfAddFiles": 7}
    found = json.loads(
        version_checksum(
            protocol=PLAIN,
            metadata=metadata(),
            num_files=2,
            table_size_bytes=30,
            txn_id="t",
            txns=[txn_body("a", 1)],
            domains=[],
        )
    )
    assert found["metadata"]["schemaString"] == SCHEMA
    assert "inCommitTimestampOpt" not in found
    del found["metadata"]
    assert found == {
        "txnId": "t", "tableSizeBytes": 30, "numFiles": 2, "numMetadata": 1, "numProtocol": 1,
        "setTransactions": [{"appId": "a", "version": 1}], "domainMetadata": [],
        "protocol": {"minReaderVersion": 1, "minWriterVersion": 2},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("interval 1 week", 7 * DAY_MS),
        ("30 days", 30 * DAY_MS),
        ("INTERVAL 2 hours 30 Minutes", 9_000_000),
        ("interval 0 seconds", 0),
        ("interval 1 month", None),
        ("", None),
        ("soon", None),
        ("1 day soon", None),
    ],
)
def test_intervals(text: str, expected: int | None) -> None:
    assert interval_ms(text) == expected


def test_retentions_have_defaults() -> None:
    assert duration_ms({}, "delta.logRetentionDuration") == 30 * DAY_MS
    assert duration_ms({}, "delta.setTransactionRetentionDuration") is None
    with pytest.raises(Exception, match="no length of time"):
        duration_ms({"delta.logRetentionDuration": "x"}, "delta.logRetentionDuration")
