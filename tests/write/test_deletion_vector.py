"""Vectors that we write are those that we, and others, read."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap64

from deltalakedb.error import DeltaLakeError
from deltalakedb.log.commit_writer import remove_body
from deltalakedb.log.deletion_vector import deleted_rows, vector_path, vector_range
from deltalakedb.log.statistics.collect import loosened
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.write.deletion_vector import (
    VectorFile,
    ascending,
    inline_descriptor,
    vector_bytes,
    z85,
)
from tests.write.support import Made

ROWS = st.lists(st.integers(0, 200) | st.integers(0, 2**40), max_size=30) | st.builds(
    range, st.integers(0, 100), st.integers(0, 70_000)
).map(list)


@settings(max_examples=25, deadline=None)
@given(st.lists(ROWS, max_size=3), st.sampled_from([0, 100, 10_000_000]))
def test_vectors_come_back(
    tmp_path_factory: pytest.TempPathFactory, vectors: list[list[int]], inline: int
) -> None:
    folder = tmp_path_factory.mktemp("v")
    store = open_store(StoreSpec(str(folder)))
    file = VectorFile(store, inline_bytes=inline)
    descriptors = [file.add(rows) for rows in vectors]
    assert file.close() == sum(path.stat().st_size for path in folder.iterdir())
    for rows, descriptor in zip(vectors, descriptors, strict=True):
        path = vector_path(descriptor)
        assert (path is None) == (descriptor["storageType"] == "i")
        stored = None if path is None else store.read_range(path, *vector_range(descriptor))
        assert deleted_rows(descriptor, stored).tolist() == sorted(set(rows))
    if inline == 0 and vectors:
        assert descriptors[0]["offset"] == 1
        assert file.name is not None
        assert store.read(file.name)[:1] == b"\x01"


def test_the_bytes_are_a_portable_bitmap() -> None:
    rows = np.array([0, 1, 2**32 + 7, 2**40], np.int64)
    data = vector_bytes(rows)
    assert struct.unpack("<I", data[:4]) == (1681511377,)
    assert list(BitMap64.deserialize(data[4:])) == rows.tolist()
    assert z85(b"\x86\x4f\xd2\x6f\xb5\x59\xf7\x5b") == "HelloWorld"
    with pytest.raises(DeltaLakeError, match="negative"):
        vector_bytes(np.array([-1], np.int64))


def test_delta_rs_honours_them(tmp_path: Path) -> None:
    count = 5000
    made = Made(
        tmp_path,
        pa.schema([("n", pa.int64())]),
        (),
        {"delta.enableDeletionVectors": "true"},
    )
    (first,) = made.write(pa.table({"n": range(count)})).adds
    (second,) = made.write(pa.table({"n": range(count, count + 10)})).adds
    assert json.loads(first["stats"])["tightBounds"] is True
    file = VectorFile(made.store, inline_bytes=100)
    actions = []
    for add, rows in ((first, range(1, count, 2)), (second, [0, 9])):
        vector = file.add(list(rows))
        stats = loosened(add["stats"], 0)
        actions += [
            {"remove": remove_body(add, 5)},
            {"add": add | {"deletionVector": vector, "stats": stats}},
        ]
    assert [a["add"]["deletionVector"]["storageType"] for a in actions[1::2]] == ["u", "i"]
    file.close()
    made.commit(actions)
    expected = [*range(0, count, 2), *range(count + 1, count + 9)]
    assert sorted(made.read_by_deltalake().column("n").to_pylist()) == expected


def test_inline_text_is_filled_up() -> None:
    descriptor = inline_descriptor(np.array([3, 4, 9], np.int64))
    assert descriptor["sizeInBytes"] % 4
    assert deleted_rows(descriptor).tolist() == [3, 4, 9]


def test_order_and_repetition_do_not_matter() -> None:
    rows = np.array([7, 2**33 + 1, 5, 7, 2**33, 70_000], dtype=np.int64)
    whole = np.unique(rows)
    assert ascending(whole) is whole
    assert ascending(rows).tolist() == whole.tolist()
    assert vector_bytes(rows) == vector_bytes(whole)
    assert inline_descriptor(rows)["cardinality"] == 5
    assert deleted_rows(inline_descriptor(rows)).tolist() == whole.tolist()
