from __future__ import annotations

import pytest

from deltalakedb.log.paths import (
    CheckpointFile,
    ChecksumFile,
    CommitFile,
    CompactedFile,
    LastCheckpointFile,
    LogFile,
    SidecarFile,
    StagedCommitFile,
    commit_name,
    decode_path,
    is_absolute,
    parse_log_name,
)

V = "00000000000000000010"
UUID = "80a083e8-7026-4e79-81be-64bd76c43a11"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        (f"{V}.json", CommitFile(10)),
        (f"{V}.checkpoint.parquet", CheckpointFile(10, "parquet")),
        (
            f"{V}.checkpoint.0000000001.0000000003.parquet",
            CheckpointFile(10, "parquet", part=1, parts=3),
        ),
        (f"{V}.checkpoint.{UUID}.json", CheckpointFile(10, "json", uuid=UUID)),
        (f"{V}.checkpoint.{UUID}.parquet", CheckpointFile(10, "parquet", uuid=UUID)),
        (f"{V}.00000000000000000012.compacted.json", CompactedFile(10, 12)),
        (f"{V}.crc", ChecksumFile(10)),
        (f"_staged_commits/{V}.{UUID}.json", StagedCommitFile(10, UUID)),
        (f"_sidecars/{UUID}.parquet", SidecarFile(f"_sidecars/{UUID}.parquet")),
        ("_last_checkpoint", LastCheckpointFile()),
    ],
)
def test_names_of_the_protocol(name: str, file: LogFile) -> None:
    assert parse_log_name(name) == file


@pytest.mark.parametrize(
    "name",
    [
        "10.json",
        "000000000000000000010.json",
        "0000000000000000001x.json",
        "٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠١٠.json",
        "9223372036854775807".rjust(20, "0") + ".json",
        "99999999999999999999.json",
        f"{V}.json.tmp",
        f".{V}.json.crc",
        f"._{V}.json",
        f".tmp/{V}.json",
        f"{V}.checkpoint.json",
        f"{V}.checkpoint.0000000000.0000000003.parquet",
        f"{V}.checkpoint.0000000004.0000000003.parquet",
        f"{V}.checkpoint.1.3.parquet",
        f"{V}.checkpoint.0000000001.0000000003.json",
        f"{V}.checkpoint.short.parquet",
        f"{V}.{V}.compacted.json",
        f"{V}.{UUID}.json",
        f"_sidecars/deep/{UUID}.parquet",
        f"_sidecars/.{UUID}.parquet.crc",
        "",
        "_delta_log",
    ],
)
def test_strangers_are_ignored(name: str) -> None:
    assert parse_log_name(name) is None


def test_greatest_version_leaves_the_sentinel_free() -> None:
    assert parse_log_name(f"{2**63 - 2:020d}.json") == CommitFile(2**63 - 2)


def test_commit_name_is_parsed_back() -> None:
    assert parse_log_name(commit_name(123)) == CommitFile(123)


@pytest.mark.parametrize(
    ("raw", "decoded"),
    [
        ("part-0.parquet", "part-0.parquet"),
        ("a%20b/c%3D1", "a b/c=1"),
        ("p%2525", "p%25"),
        ("%C3%A9%E4%BD%A0", "é你"),
        ("plus+stays", "plus+stays"),
        ("bad%zz%4", "bad%zz%4"),
        ("%C3x%FF%41", "%C3x%FFA"),
        ("é%20ü", "é ü"),
    ],
)
def test_paths_are_decoded_exactly_once(raw: str, decoded: str) -> None:
    assert decode_path(raw) == decoded


@pytest.mark.parametrize(
    ("raw", "absolute"),
    [
        ("/data/p", True),
        ("file:/p", True),
        ("file:///p", True),
        ("s3a://bucket/p", True),
        ("C:/data/p", True),
        ("part-0.parquet", False),
        ("a=1/p", False),
        ("at 12:30/p", False),
        ("time:12/p", False),
        ("../p", False),
    ],
)
def test_absolute_paths(raw: str, absolute: bool) -> None:
    assert is_absolute(raw) is absolute
