"""Columns that conditions ask again and again are kept, as long as their file is the same."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.fs
import pytest

from deltalakedb.scan import kept


def test_only_the_same_file_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_MOST_OF_ONE", 1_000)
    place = tmp_path / "file"
    reads: list[int] = []

    def asked(values: list[int], what: str = "x") -> list[int]:
        key = kept.key_of(pyarrow.fs.LocalFileSystem(), str(place), (what,))
        found = kept.find(key)
        if found is not None:
            assert found.num_rows == len(values)
            return [x for batch in found.batches for x in batch.column("x").to_pylist()]
        reads.append(len(values))
        again = kept.was_asked(key)
        read = kept.Keeping()
        batch = pa.record_batch({"x": values})
        seen = [part for part, _ in read.noting([(batch, len(values))]) if part is not None]
        if again:
            kept.keep(key, len(values), {}, read)
        return [x for part in seen for x in part.column("x").to_pylist()]

    place.write_bytes(b"1")
    assert [asked([1, 2]) for _ in range(4)] == [[1, 2]] * 4
    # Read once, read to be kept, and no more.
    assert reads == [2, 2]
    assert asked([3], "y") == [3]
    place.write_bytes(b"22")
    assert asked([4, 5, 6]) == [4, 5, 6]
    place.write_bytes(b"333")
    large = list(range(1_000))
    for _ in range(3):
        assert asked(large) == large
    assert reads == [2, 2, 1, 3, 1_000, 1_000, 1_000]
