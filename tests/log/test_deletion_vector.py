from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from pyroaring import BitMap, BitMap64

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.deletion_vector import (
    NATIVE_MAGIC,
    PORTABLE_MAGIC,
    deleted_rows,
    unique_id,
    vector_path,
    vector_range,
)
from tests.tables import samples

ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
EXAMPLE = "wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L"


def z85(data: bytes) -> str:
    assert len(data) % 4 == 0
    out = []
    for start in range(0, len(data), 4):
        value = int.from_bytes(data[start : start + 4], "big")
        out.append("".join(ALPHABET[value // 85**k % 85] for k in range(4, -1, -1)))
    return "".join(out)


def inline(data: bytes, rows: int) -> dict[str, Any]:
    padded = data + b"\0" * (-len(data) % 4)
    return {
        "storageType": "i",
        "pathOrInlineDv": z85(padded),
        "sizeInBytes": len(padded),
        "cardinality": rows,
    }


def portable(rows: list[int]) -> bytes:
    return struct.pack("<I", PORTABLE_MAGIC) + BitMap64(rows).serialize()


def stored(data: bytes, rows: int, offset: int | None = 1) -> tuple[dict[str, Any], bytes]:
    descriptor = {
        "storageType": "u",
        "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^",
        "sizeInBytes": len(data),
        "cardinality": rows,
    }
    if offset is not None:
        descriptor["offset"] = offset
    entry = struct.pack(">I", len(data)) + data + struct.pack(">I", zlib.crc32(data))
    file = b"\x01" + b"x" * ((offset or 1) - 1) + entry
    begin, length = vector_range(descriptor)
    return descriptor, file[begin : begin + length]


@pytest.mark.parametrize(
    ("descriptor", "ident"),
    [
        ({"storageType": "u", "pathOrInlineDv": "ab", "offset": 4}, "uab@4"),
        ({"storageType": "u", "pathOrInlineDv": "ab", "offset": 0}, "uab@0"),
        ({"storageType": "i", "pathOrInlineDv": "xyz", "offset": None}, "ixyz"),
        ({"storageType": "p", "pathOrInlineDv": "s3://b/x"}, "ps3://b/x"),
    ],
)
def test_unique_id(descriptor: dict[str, Any], ident: str) -> None:
    assert unique_id(descriptor) == ident


def test_paths_of_the_protocol_text() -> None:
    name = "deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin"
    encoded = "^-aqEH.-t@S}K{vb[*k^"
    assert vector_path({"storageType": "u", "pathOrInlineDv": encoded}) == name
    assert vector_path({"storageType": "u", "pathOrInlineDv": f"ab{encoded}"}) == f"ab/{name}"
    absolute = {"storageType": "p", "pathOrInlineDv": "s3://my%20table/x.bin"}
    assert vector_path(absolute) == "s3://my table/x.bin"
    assert vector_path({"storageType": "i", "pathOrInlineDv": "0"}) is None


@pytest.mark.parametrize(
    ("kind", "text"), [("x", "abc"), ("u", "short"), ("u", "~" * 20), ("u", "#" * 20)]
)
def test_malformed_places_are_refused(kind: str, text: str) -> None:
    with pytest.raises(DeltaLakeError) as error:
        vector_path({"storageType": kind, "pathOrInlineDv": text})
    assert error.value.kind is DeltaLakeErrorKind.CORRUPT_DELETION_VECTOR


def test_inline_example_of_the_protocol_text() -> None:
    """It is in Spark's native format, big-endian."""
    descriptor = {
        "storageType": "i",
        "pathOrInlineDv": EXAMPLE,
        "sizeInBytes": 40,
        "cardinality": 6,
    }
    assert deleted_rows(descriptor).tolist() == [3, 4, 7, 11, 18, 29]


def test_native_format_in_either_byte_order() -> None:
    for order in "<>":
        parts = [BitMap([1, 70000]).serialize(), BitMap([5]).serialize()]
        data = struct.pack(f"{order}II", NATIVE_MAGIC, 2)
        for part in parts:
            data += struct.pack(f"{order}I", len(part)) + part
        assert deleted_rows(inline(data, 3)).tolist() == [1, 70000, 2**32 + 5]


def test_rows_are_ascending_int64() -> None:
    rows = [0, 65535, 65536, 2**31, 2**32, 2**33 + 7]
    found = deleted_rows(inline(portable(rows), len(rows)))
    assert found.dtype == np.int64
    assert found.tolist() == rows
    assert deleted_rows(inline(portable([]), 0)).tolist() == []


def test_runs_and_dense_vectors() -> None:
    rows = [*range(100_000), *range(200_000, 300_000, 2)]
    assert deleted_rows(*stored(portable(rows), len(rows))).tolist() == rows


def test_stored_with_and_without_offset() -> None:
    for offset in (None, 1, 17):
        assert deleted_rows(*stored(portable([2, 9]), 2, offset)).tolist() == [2, 9]


def test_padding_of_the_rust_crate() -> None:
    descriptor = {
        "storageType": "i",
        "pathOrInlineDv": "^Bg9^0rr910000000000iXQKl0rr91000005c8Xg##093",
        "sizeInBytes": 34,
        "cardinality": 1,
    }
    assert deleted_rows(descriptor).tolist() == [3]


def damage() -> list[tuple[str, dict[str, Any], bytes | None]]:
    descriptor, data = stored(portable([2, 9]), 2)
    inlined = inline(portable([2, 9]), 2)
    flipped = data[:20] + bytes([data[20] ^ 1]) + data[21:]
    unoffset, unversioned = stored(portable([2, 9]), 2, None)
    garbage = struct.pack("<I", PORTABLE_MAGIC) + b"\xff" * 12
    return [
        ("checksum", descriptor, flipped),
        ("ends after", descriptor, data[:-1]),
        ("ends after", descriptor, None),
        ("the log", descriptor, b"\1" + data[1:]),
        ("version", unoffset, b"\x02" + unversioned[1:]),
        ("rows instead", {**descriptor, "cardinality": 3}, data),
        ("bytes instead", {**inlined, "sizeInBytes": 8}, None),
        ("multiple of 5", {**inlined, "pathOrInlineDv": "abc"}, None),
        ("base85 character", {**inlined, "pathOrInlineDv": "ab~de"}, None),
        ("no bytes", {**inlined, "pathOrInlineDv": "#####"}, None),
        ("no bytes", {**inlined, "pathOrInlineDv": "%nSd000000"}, None),
        ("format number", inline(b"\1\2\3\4\5\6\7\10", 0), None),
        ("format number", {**inlined, "pathOrInlineDv": "", "sizeInBytes": 0}, None),
        ("bitmap", inline(garbage, 0), None),
        ("bitmap", inline(struct.pack("<IIII", NATIVE_MAGIC, 1, 99, 0), 0), None),
    ]


@pytest.mark.parametrize(
    ("why", "descriptor", "data"), [pytest.param(*case, id=case[0]) for case in damage()]
)
def test_damage_is_found(why: str, descriptor: dict[str, Any], data: bytes | None) -> None:
    with pytest.raises(DeltaLakeError, match=why) as error:
        deleted_rows(descriptor, data)
    assert error.value.kind is DeltaLakeErrorKind.CORRUPT_DELETION_VECTOR


def test_vectors_of_real_tables() -> None:
    seen = 0
    for name in samples.names("valid", trait="has-active-dvs"):
        for version in samples.versions(name):
            facts = samples.expected(name)["versions"][str(version)]
            files = zip(facts["files"], facts["file_details"], strict=True)
            for file, details in files:
                descriptor = details["deletion_vector"]
                if descriptor is None:
                    assert file["dv"] is None
                    continue
                assert unique_id(descriptor) == file["dv"]
                place, data = vector_path(descriptor), None
                if place is not None:
                    offset, length = vector_range(descriptor)
                    whole = (samples.path(name) / place).read_bytes()
                    data = whole[offset : offset + length]
                found = deleted_rows(descriptor, data)
                assert len(found) == descriptor["cardinality"]
                assert (np.diff(found) > 0).all()
                seen += 1
    assert seen > 5
