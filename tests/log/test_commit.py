"""Commits: every action of PROTOCOL.md, what it doesn't define, and what is no commit."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pyarrow as pa
import pytest
import xxhash

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log import commit_slices
from deltalakedb.log.commit import ActionReader, ActionRows, OpenCommit, StateChange
from deltalakedb.log.commit_slices import slice_rows
from deltalakedb.log.partition import partition_id
from deltalakedb.log.rows import LIVE, file_keys

NAME = "00000000000000000007.json"
ADD: dict[str, Any] = {"path": "a", "partitionValues": {}, "size": 1, "modificationTime": 2}


DV: dict[str, Any] = {"storageType": "i", "pathOrInlineDv": "00000"}


def lines(*actions: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(a).encode() + b"\n" for a in actions)


def read(data: bytes, version: int = 7, *, history_only: bool = False) -> ActionRows:
    reader = ActionReader()
    reader.commit(version, data, name=NAME, file_time=1000, history_only=history_only)
    return reader.finish()


def refusal(data: bytes) -> DeltaLakeError:
    with pytest.raises(DeltaLakeError) as caught:
        read(data)
    assert caught.value.kind is DeltaLakeErrorKind.CORRUPT_COMMIT
    assert pickle.loads(pickle.dumps(caught.value)).facts == caught.value.facts
    return caught.value


def test_an_add_keeps_every_field() -> None:
    vector = {
        "storageType": "u",
        "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^",
        "offset": 4,
        "sizeInBytes": 40,
        "cardinality": 6,
        "maxRowIndex": 9,
    }
    stats = '{"numRecords":3,"minValues":{"é":1.10}}'
    action = {
        "path": "p=%C3%A9/part-0%25.parquet",
        "partitionValues": {"q": "", "p": "é", "n": None},
        "size": 2**40,
        "modificationTime": 1_700_000_000_123,
        "dataChange": False,
        "stats": stats,
        "tags": {"INSERTION_TIME": "1", "gone": None},
        "deletionVector": vector,
        "baseRowId": 5,
        "defaultRowCommitVersion": 6,
        "clusteringProvider": "liquid",
        "newField": {"deep": [1, None, "x"]},
        "stats_parsed": {"numRecords": 3},
    }
    [row] = read(lines({"add": action})).files.to_pylist()
    dv_id = "uab^-aqEH.-t@S}K{vb[*k^@4"
    text = '{"n":null,"p":"é","q":null}'
    key, key2 = file_keys([action["path"]], [dv_id])
    assert json.loads(row.pop("dv")) == vector
    assert json.loads(row.pop("tags")) == action["tags"]
    assert json.loads(row.pop("extra")) == {"newField": action["newField"]}
    assert row == {
        "path": action["path"],
        "dv_id": dv_id,
        "partition_values": text,
        "size": 2**40,
        "modification_time": 1_700_000_000_123,
        "data_change": False,
        "num_records": None,
        "stats": stats,
        "base_row_id": 5,
        "default_row_commit_version": 6,
        "clustering_provider": "liquid",
        "added_version": 7,
        "removed_version": LIVE,
        "removed_at": None,
        "path_key": key[0],
        "path_key2": key2[0],
        "partition_id": partition_id(text),
    }


def test_an_add_may_lack_all_but_its_path() -> None:
    found = read(lines({"add": {"path": "a"}}, {"add": ADD | {"partitionValues": None}}))
    bare, null = found.files.to_pylist()
    assert (bare["path"], bare["size"], bare["stats"], bare["tags"]) == ("a", None, None, None)
    assert bare["partition_values"] == null["partition_values"] == "{}"
    assert bare["partition_id"] == null["partition_id"] == partition_id("{}")
    assert bare["extra"] is bare["dv_id"] is bare["data_change"] is None


def test_fields_that_only_some_actions_have_stay_with_theirs() -> None:
    vector = {"storageType": "i", "pathOrInlineDv": "abc", "sizeInBytes": 1, "cardinality": 1}
    adds = [
        ADD | {"path": "a", "baseRowId": 3},
        ADD | {"path": "b", "deletionVector": vector, "new": 1},
        ADD | {"path": "c", "deletionVector": None, "tags": {}},
    ]
    found = read(lines(*({"add": a} for a in adds))).files.to_pylist()
    assert [r["base_row_id"] for r in found] == [3, None, None]
    assert [r["dv_id"] for r in found] == [None, "iabc", None]
    assert [r["extra"] for r in found] == [None, '{"new":1}', None]
    assert [r["tags"] for r in found] == [None, None, "{}"]


def test_a_remove_keeps_every_field_and_may_lack_all_but_its_path() -> None:
    full = {
        "path": "a",
        "deletionTimestamp": 99,
        "dataChange": True,
        "extendedFileMetadata": True,
        "partitionValues": {"p": "1"},
        "size": 4,
        "tags": {"t": "1"},
        "deletionVector": {"storageType": "p", "pathOrInlineDv": "/x", "sizeInBytes": 1},
        "surprise": 1,
    }
    found = read(lines({"remove": full}, {"remove": {"path": "b"}})).closings.to_pylist()
    first, second = found
    assert (first["path"], first["dv_id"], first["removed_at"]) == ("a", "p/x", 99)
    assert (first["size"], first["data_change"], first["removed_version"]) == (4, True, 7)
    assert (first["partition_values"], first["extra"]) == ('{"p":"1"}', '{"surprise":1}')
    assert second["removed_version"] == 7
    rest = {k: v for k, v in second.items() if k not in ("path", "path_key", "path_key2")}
    rest.pop("removed_version")
    assert rest.pop("partition_values") == "{}"
    assert set(rest.values()) == {None}


def test_small_actions_are_kept_whole_with_their_version_and_key() -> None:
    actions: list[dict[str, Any]] = [
        {"protocol": {"minReaderVersion": 3, "readerFeatures": ["x"], "minWriterVersion": 7}},
        {"metaData": {"id": "1", "schemaString": "{}", "later": {"a": None}}},
        {"txn": {"appId": "app", "version": 2, "lastUpdated": None}},
        {"domainMetadata": {"domain": "d", "configuration": "", "removed": False}},
    ]
    assert read(lines(*actions)).state == [
        StateChange(7, "protocol", "", actions[0]["protocol"]),
        StateChange(7, "metaData", "", actions[1]["metaData"]),
        StateChange(7, "txn", "app", actions[2]["txn"]),
        StateChange(7, "domainMetadata", "d", actions[3]["domainMetadata"]),
    ]


def test_change_files_are_kept() -> None:
    body = {
        "path": "_change_data/x",
        "partitionValues": {"p": ""},
        "size": 3,
        "dataChange": False,
        "tags": {"a": "b"},
    }
    found = read(lines({"cdc": body}, {"cdc": {"path": "y"}})).changes.to_pylist()
    assert found == [
        {
            "version": 7,
            "path": "_change_data/x",
            "partition_values": '{"p":null}',
            "size": 3,
            "tags": '{"a":"b"}',
        },
        {"version": 7, "path": "y", "partition_values": "{}", "size": None, "tags": None},
    ]


def test_unknown_actions_are_kept_with_their_place() -> None:
    found = read(lines({"add": ADD}, {"future": {"a": [1]}}, {"flag": True}, {"none": None}))
    assert found.others.to_pylist() == [
        {"version": 7, "position": 2, "action": "future", "body": '{"a":[1]}'},
        {"version": 7, "position": 3, "action": "flag", "body": "true"},
    ]


def test_actions_of_checkpoints_are_no_actions_of_a_commit() -> None:
    found = read(lines({"checkpointMetadata": {"version": 1}}, {"sidecar": {"path": "x"}}))
    assert found.others.num_rows == 0


def test_a_line_may_hold_several_actions_and_nulls() -> None:
    """Not as PROTOCOL.md has it, but nothing of it may get lost."""
    line = {"add": ADD, "remove": {"path": "b"}, "txn": {"appId": "x", "version": 1}, "cdc": None}
    found = read(lines(line, {"remove": {"path": "c"}, "add": None}))
    assert found.files.column("path").to_pylist() == ["a"]
    assert found.closings.column("path").to_pylist() == ["b", "c"]
    assert [s.key for s in found.state] == ["x"]


def test_provenance_is_taken_from_commit_info() -> None:
    info = {
        "timestamp": 5,
        "inCommitTimestamp": 6,
        "operation": "WRITE",
        "operationParameters": {"mode": "Append", "partitionBy": '["p"]'},
        "operationMetrics": {"numFiles": "1"},
        "engineInfo": "engine/1",
        "txnId": "t",
        "readVersion": 6,
        "isolationLevel": "Serializable",
        "isBlindAppend": True,
        "userMetadata": "note",
        "own": 1,
    }
    data = lines({"commitInfo": info}, {"add": ADD | {"size": 40}}, {"add": ADD | {"path": "b"}})
    [row] = read(data + lines({"remove": {"path": "c"}})).versions.to_pylist()
    assert json.loads(row.pop("commit_info")) == info
    assert json.loads(row.pop("operation_parameters")) == info["operationParameters"]
    assert row.pop("operation_metrics") == '{"numFiles":"1"}'
    whole = data + lines({"remove": {"path": "c"}})
    assert row == {
        "version": 7,
        "file_time": 1000,
        "in_commit_time": 6,
        "info_time": 5,
        "operation": "WRITE",
        "engine_info": "engine/1",
        "txn_id": "t",
        "read_version": 6,
        "isolation_level": "Serializable",
        "is_blind_append": True,
        "user_metadata": "note",
        "num_adds": 2,
        "num_removes": 1,
        "bytes_added": 41,
        "log_bytes": len(whole),
        "log_digest": xxhash.xxh3_128_hexdigest(whole),
    }


def test_commit_info_is_free_form() -> None:
    info = {
        "timestamp": "yesterday",
        "inCommitTimestamp": True,
        "readVersion": 2**63,
        "operation": {"name": "X"},
        "operationParameters": "none",
        "isBlindAppend": "maybe",
        "userMetadata": [1],
        "txnId": 5,
    }
    [row] = read(lines({"commitInfo": info})).versions.to_pylist()
    for name in ("info_time", "in_commit_time", "read_version", "is_blind_append"):
        assert row[name] is None
    assert (row["operation"], row["txn_id"]) == ('{"name":"X"}', "5")
    assert (row["operation_parameters"], row["user_metadata"]) == ('"none"', "[1]")
    assert json.loads(row["commit_info"]) == info


def test_commit_info_may_be_missing() -> None:
    [row] = read(lines({"add": ADD})).versions.to_pylist()
    assert row["commit_info"] is row["operation"] is row["info_time"] is None
    assert (row["num_adds"], row["file_time"]) == (1, 1000)


@pytest.mark.parametrize(
    "data",
    [
        b'{"add":{"path":"a"}}\r\n{"add":{"path":"b"}}\r\n',
        b'\n\r\n{"add":{"path":"a"}}\n  \t\n\n{"add":{"path":"b"}}\n\n',
        b'{"add":{"path":"a"}}\n{"add":{"path":"b"}}',
        b' {"add" : {"path":"a"}} \n\t{"add":{"path":"b"}}\n \n',
    ],
    ids=["crlf", "blank lines", "no last line feed", "spaces"],
)
def test_blank_lines_and_line_endings_mean_nothing(data: bytes) -> None:
    assert read(data).files.column("path").to_pylist() == ["a", "b"]


def test_line_feeds_inside_strings_stay() -> None:
    found = read(lines({"add": ADD | {"path": "a\nb,c"}}))
    assert found.files.column("path").to_pylist() == ["a\nb,c"]


def test_history_only_keeps_the_provenance_alone() -> None:
    data = lines(
        {"commitInfo": {"operation": "WRITE"}},
        {"add": ADD},
        {"remove": {"path": "b"}},
        {"txn": {"appId": "x", "version": 1}},
        {"cdc": {"path": "c"}},
        {"future": {}},
    )
    found = read(data, history_only=True)
    for table in (found.files, found.closings, found.changes, found.others):
        assert table.num_rows == 0
    assert found.state == []
    [row] = found.versions.to_pylist()
    assert (row["operation"], row["num_adds"], row["num_removes"]) == ("WRITE", 1, 1)


def test_several_commits_keep_their_versions_whenever_they_are_settled() -> None:
    reader = ActionReader()
    for version in range(4):
        commit = lines({"add": ADD | {"path": f"a{version}"}}, {"remove": {"path": f"r{version}"}})
        reader.commit(version, commit, name=NAME, file_time=version)
        if version % 2:
            assert reader.pending
            reader.settle()
            assert not reader.pending
    found = reader.finish()
    assert found.files.column("added_version").to_pylist() == [0, 1, 2, 3]
    assert found.files.column("path").to_pylist() == ["a0", "a1", "a2", "a3"]
    assert found.closings.column("removed_version").to_pylist() == [0, 1, 2, 3]
    assert found.versions.column("file_time").to_pylist() == [0, 1, 2, 3]


def test_the_file_key_is_of_path_and_vector() -> None:
    key, _ = file_keys(["a", "a", "ab"], [None, "b", None])
    assert len(set(key.tolist())) == 3


@pytest.mark.parametrize(
    ("data", "says"),
    [(b"", "zero bytes"), (b" \r\n\n", "zero actions")],
    ids=["zero bytes", "blank lines alone"],
)
def test_an_empty_commit_is_refused(data: bytes, says: str) -> None:
    error = refusal(data)
    assert says in error.message
    assert NAME in error.message
    assert error.facts == {"file": NAME, "version": 7}


GOOD = '{"add":{"path":"é"}}\n'.encode()


@pytest.mark.parametrize(
    ("bad", "at", "says"),
    [
        (b'{"add":{"path":"b","size":1', 27, "not valid JSON"),
        (b'{"add":{"path":"b"', 18, "not valid JSON"),
        (b'{"add":{"path":"b"}}}', 20, "not valid JSON"),
        ('{"add":{"path":"é", x'.encode(), 21, "not valid JSON"),
        (b'{"add":{"path":"a\xff"}}', 17, "not valid JSON"),
        (b'{"add":{"path":"\x00"}}', 16, "not valid JSON"),
        (b'{"add":{"path":"b"}}{"add":{"path":"c"}}', 20, "not valid JSON"),
        (b"\x00\x00\x00\x00", 0, "not valid JSON"),
        (b"[]", 0, "not a JSON object"),
        (b'"add"', 0, "not a JSON object"),
        (b'{"add":5}', 0, "action add is not an object"),
        (b'{"txn":{"version":1}}', 0, "action txn has no appId"),
        (b'{"txn":{"appId":"a"}}', 0, "action txn has no version"),
        (b'{"txn":{"appId":"a","version":"1"}}', 0, "version of action txn is not a 64-bit"),
        (b'{"cdc":{"size":1}}', 0, "action cdc has no path"),
        (b'{"metaData":[]}', 0, "action metaData is not an object"),
        (b'{"metaData":{"createdTime":1.5}}', 0, "createdTime of action metaData is not"),
        (b'{"domainMetadata":{"configuration":""}}', 0, "action domainMetadata has no domain"),
        (b'{"metaData":{"format":{"provider":1}}}', 0, "field provider of format of action"),
        (b'{"metaData":{"configuration":{"a":1}}}', 0, "configuration of action metaData is not"),
        (b'{"metaData":{"partitionColumns":[1]}}', 0, "partitionColumns of action metaData is"),
        (b'{"protocol":{"minReaderVersion":1}}', 0, "action protocol has no minWriterVersion"),
        (b'{"protocol":{"minReaderVersion":1,"minWriterVersion":2147483648}}', 0, "32-bit"),
        (b'{"cdc":{"path":"a","partitionValues":{"p":1}}}', 0, "partitionValues of action cdc"),
        (b'{"commitInfo":"x"}', 0, "action commitInfo is not an object"),
        (b'{"add":{"path":"a","size":"1"}}', 0, "field size of action add is not"),
    ],
)
@pytest.mark.parametrize("after", [b"\n", b"\n" + GOOD, b"", b"\r\n\n" + GOOD])
def test_what_is_no_action_is_refused_with_its_line_and_byte(
    bad: bytes, at: int, says: str, after: bytes
) -> None:
    data = GOOD + b"\n" + bad + after
    error = refusal(data)
    assert says in error.message
    start = len(GOOD) + 1
    assert error.facts == {"file": NAME, "version": 7, "line": 3, "byte": start + at}
    assert f"{NAME}, line 3, byte {start + at}" in error.message


def test_an_action_that_a_line_feed_breaks_in_two_is_refused() -> None:
    """Read with a comma in its place, it would be an action."""
    error = refusal(b'{"add":{"path":"a"\n"size":1}}\n')
    assert (error.facts["line"], error.facts["byte"]) == (1, 18)


@pytest.mark.parametrize(
    ("kind", "body", "says"),
    [
        ("add", {"size": 1}, "action add has no path"),
        ("add", {"path": 5}, "field path of action add is not a string"),
        ("add", {"path": "b", "partitionValues": {"p": {}}}, "is not an object of strings"),
        ("add", {"path": "b", "partitionValues": ["p"]}, "partitionValues of action add is not"),
        ("add", {"path": "b", "modificationTime": 2**63}, "modificationTime of action add"),
        ("add", {"path": "b", "stats": {"numRecords": 1}}, "stats of action add is not a string"),
        ("add", {"path": "b", "deletionVector": {"storageType": "u"}}, "has no pathOrInlineDv"),
        ("add", {"path": "b", "deletionVector": "u"}, "deletionVector of action add is not"),
        ("add", {"path": "b", "dataChange": "yes"}, "dataChange of action add"),
        ("add", {"path": "b", "partitionValues": {"p": 0}}, "is not an object of strings"),
        ("add", {"path": "b", "partitionValues": {"p": False}}, "is not an object of strings"),
        ("add", {"path": "b", "partitionValues": []}, "partitionValues of action add is not"),
        ("add", {"path": "b", "partitionValues": ""}, "partitionValues of action add is not"),
        ("add", {"path": "b", "size": 1.5}, "field size of action add is not a 64-bit"),
        ("add", {"path": "b", "size": True}, "field size of action add is not a 64-bit"),
        ("add", {"path": "b", "tags": "x"}, "field tags of action add is not"),
        ("add", {"path": "b", "deletionVector": {**DV, "offset": [1]}}, "field offset of"),
        ("add", {"path": "b", "deletionVector": {**DV, "sizeInBytes": -1}}, "sizeInBytes of"),
        ("add", {"path": "b", "deletionVector": {**DV, "cardinality": 2**63}}, "cardinality of"),
        ("add", {"path": "b", "deletionVector": []}, "deletionVector of action add is not"),
        ("remove", {}, "action remove has no path"),
        ("remove", 5, "action remove is not an object"),
        ("remove", {"path": "b", "deletionTimestamp": "now"}, "deletionTimestamp of action"),
    ],
)
def test_a_file_action_of_wrong_types_is_refused_with_its_version_and_number(
    kind: str, body: Any, says: str
) -> None:
    good = lines({"add": ADD}, {"remove": {"path": "z"}})

    def read_all() -> None:
        reader = ActionReader()
        for version in range(3, 6):
            data = good + (lines({kind: body}) if version == 4 else b"")
            reader.commit(version, data, name=f"{version}.json", file_time=0)
        reader.finish()

    with pytest.raises(DeltaLakeError) as caught:
        read_all()
    error = caught.value
    assert error.kind is DeltaLakeErrorKind.CORRUPT_COMMIT
    assert says in error.message
    assert (error.facts["version"], error.facts["number"]) == (4, 2)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("piece", [1, 64, 1000])
def test_slices_of_a_commit_are_the_whole(
    count: int, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line is in one slice, however the edges fall; the commit's own row comes at the end."""
    actions: list[dict[str, Any]] = [
        {"commitInfo": {"operation": "WRITE", "timestamp": 5}},
        *[{"add": {**ADD, "path": "p" * (n % 40) + str(n)}} for n in range(20)],
        {"future": {"a": 1}},
        {"remove": {"path": "gone"}},
    ]
    data = lines(*actions)
    whole = read(data)
    monkeypatch.setattr(commit_slices, "PIECE_BYTES", piece)
    source = pa.BufferReader(data)
    found = list(slice_rows(source, len(data), count, OpenCommit(7, NAME, 1000)))
    assert len(found) == count
    for name in ("files", "closings", "versions", "others"):
        joined = pa.concat_tables([getattr(rows, name) for rows in found])
        assert joined.to_pylist() == getattr(whole, name).to_pylist()


def test_a_fault_in_a_late_piece_is_told_by_its_place_in_the_commit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(commit_slices, "PIECE_BYTES", 64)
    good = lines(*[{"add": ADD}] * 20)
    for bad, says in ((b"{]", "line 21, byte"), (b'{"add":{"path":"b","size":1.5}}', "number 21")):
        data = good + bad + b"\n" + good
        with pytest.raises(DeltaLakeError, match=says) as caught:
            list(slice_rows(pa.BufferReader(data), len(data), 3, OpenCommit(7, NAME, 0)))
        assert caught.value.kind is DeltaLakeErrorKind.CORRUPT_COMMIT
