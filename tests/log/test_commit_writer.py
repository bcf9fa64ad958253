"""Commits that we write say what was meant, to our reader and in Spark's form."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.commit import ActionReader, ActionRows
from deltalakedb.log.commit_writer import (
    CommitInfo,
    action_line,
    add_body,
    add_lines,
    change_body,
    commit_body,
    domain_body,
    group_body,
    metadata_body,
    remove_body,
    remove_lines,
    txn_body,
)
from deltalakedb.log.metadata import Metadata, TableSchema
from deltalakedb.log.protocol import Protocol

VECTOR = {"storageType": "u", "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^", "offset": 4,
          "sizeInBytes": 40, "cardinality": 6}  # fmt: skip


def read(data: bytes, version: int = 3) -> ActionRows:
    reader = ActionReader()
    reader.commit(version, data, name="3.json", file_time=0)
    return reader.finish()


def whole_commit() -> bytes:
    info = CommitInfo(
        operation="WRITE",
        parameters={"mode": "Append", "partitionBy": ["p"], "predicate": None, "n": 3},
        metrics={"numFiles": 1, "numOutputRows": "7"},
        isolation_level="WriteSerializable",
        is_blind_append=True,
        engine_info="deltalakedb/1",
        txn_id="t-1",
        user_metadata="é\u2028",
        tags={"k": "v"},
        extra={"mine": {"a": [1]}},
    )
    add = add_body(
        "p=a%2525/x.parquet",
        {"p": "a%", "q": None},
        10,
        11,
        stats='{"numRecords":7}',
        tags={"t": "1"},
        deletion_vector=VECTOR,
        base_row_id=5,
        default_row_commit_version=3,
    )
    metadata = Metadata(
        "m", None, "d", None, 7, TableSchema('{"type":"struct","fields":[]}'), ["p"], {"a": "b"}
    )
    body = commit_body(
        [
            {"protocol": Protocol(3, 7, ("deletionVectors",), ("deletionVectors",)).action()},
            {"metaData": metadata_body(metadata)},
            {"txn": txn_body("app", 4)},
            {"domainMetadata": domain_body("delta.rowTracking", "{}")},
            {"cdc": change_body("_change_data/c.parquet", {"p": "a%"}, 3)},
            {"transactionGroup": group_body("g", [("t1", 4)], "c")},
            {"add": add},
            {"remove": remove_body(add | {"path": "old"}, 99)},
        ]
    )
    return info.line(timestamp=1, read_version=2, in_commit_timestamp=5) + body


def test_our_reader_finds_what_was_written() -> None:
    found = read(whole_commit())
    (version,) = found.versions.to_pylist()
    assert version["in_commit_time"] == 5
    assert version["info_time"] == 1
    assert version["operation"] == "WRITE"
    assert version["txn_id"] == "t-1"
    assert version["read_version"] == 2
    assert version["is_blind_append"] is True
    assert version["user_metadata"] == "é\u2028"
    assert json.loads(version["operation_parameters"]) == {
        "mode": "Append", "partitionBy": '["p"]', "predicate": None, "n": "3"
    }  # fmt: skip
    assert json.loads(version["operation_metrics"]) == {"numFiles": "1", "numOutputRows": "7"}
    (file,) = found.files.to_pylist()
    assert file["path"] == "p=a%2525/x.parquet"
    assert file["base_row_id"] == 5
    assert json.loads(file["partition_values"]) == {"p": "a%", "q": None}
    assert json.loads(file["dv"]) == VECTOR
    (closing,) = found.closings.to_pylist()
    assert closing["path"] == "old"
    assert closing["removed_at"] == 99
    assert closing["dv_id"] == file["dv_id"]
    assert [s.action for s in found.state] == ["protocol", "metaData", "txn", "domainMetadata"]
    assert found.changes.num_rows == 1
    assert found.others.num_rows == 1


def test_first_line_is_the_commit_info_and_nothing_null_is_written() -> None:
    lines = [json.loads(line) for line in whole_commit().splitlines()]
    assert next(iter(lines[0])) == "commitInfo"
    assert list(lines[0]["commitInfo"])[:2] == ["inCommitTimestamp", "timestamp"]
    assert "description" in lines[2]["metaData"]
    assert "name" not in lines[2]["metaData"]
    assert lines[-1]["remove"]["extendedFileMetadata"] is True
    assert Protocol(1, 2).action() == {"minReaderVersion": 1, "minWriterVersion": 2}
    assert Protocol(1, 7, None, ("appendOnly",)).action() == {
        "minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["appendOnly"]
    }  # fmt: skip


def test_tables_of_files_make_the_same_lines_as_dicts() -> None:
    bodies: list[dict[str, Any]] = [
        add_body(f"f{i}", {"p": str(i), "a": None}, i, i, stats=f'{{"numRecords":{i}}}')
        for i in range(3)
    ]
    bodies.append(add_body("v", {}, 1, 1, deletion_vector=VECTOR) | {"new": [1]})
    data = commit_body([{"add": b} for b in bodies])
    files = read(data).files
    again = b"".join(add_lines(files))
    assert [json.loads(x) for x in again.splitlines()] == [{"add": b} for b in bodies]
    assert read(again).files.equals(files)
    removed = b"".join(remove_lines(files, 8, data_change=False))
    assert [json.loads(x)["remove"] for x in removed.splitlines()] == [
        remove_body(b, 8, data_change=False) for b in bodies
    ]
    assert list(add_lines(pa.Table.from_batches([], files.schema))) == []


def test_what_a_commit_cannot_hold_is_refused() -> None:
    with pytest.raises(DeltaLakeError, match="txnId") as caught:
        CommitInfo(operation="WRITE", engine_info="x", extra={"txnId": 1, "ok": 2})
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT
    with pytest.raises(DeltaLakeError, match="JSON"):
        action_line("txn", {"appId": "\ud800", "version": 1})
