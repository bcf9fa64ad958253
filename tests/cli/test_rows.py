"""Rows of files as `dl write` reads them: each form, and what isn't one of them."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import deltalakedb as dl
from deltalakedb.cli.rows import rows_of_file

ROWS = pa.table({"id": pa.array([1, 2, 3], pa.int64()), "s": ["a", "b", None]})


def written(folder: Path) -> dict[str, Path]:
    found = {name: folder / name for name in ("a.parquet", "a.arrows", "a.feather", "a.csv")}
    pq.write_table(ROWS, found["a.parquet"])
    with pa.ipc.new_stream(str(found["a.arrows"]), ROWS.schema) as stream:
        stream.write_table(ROWS)
    with pa.ipc.new_file(str(found["a.feather"]), ROWS.schema) as file:
        file.write_table(ROWS)
    found["a.csv"].write_text("id,s\n1,a\n2,b\n3,\n")
    return found


def test_each_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = written(tmp_path)
    for name in ("a.parquet", "a.arrows", "a.feather"):
        assert rows_of_file(str(files[name]), None).read_all().equals(ROWS), name
    assert rows_of_file(str(files["a.csv"]), None).read_all()["id"].to_pylist() == [1, 2, 3]
    for name, kind in (("a.parquet", "parquet"), ("a.arrows", None)):
        data = io.BytesIO(files[name].read_bytes())
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(data))
        assert rows_of_file("-", kind).read_all().equals(ROWS), name


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.parquet", b"hello"),
        ("a.arrows", b"hello"),
        ("a.feather", b"ARROW1 and no more"),
        ("empty.csv", b""),
        ("ragged.csv", b"id,s\n1,a\n2,b,c\n"),
        ("header.csv", b"\xff\xfe,s\n1,a\n"),
        ("late.csv", b"id,s\n" + b"1,abcdefgh\n" * 200_000 + b"1,2,3\n"),
    ],
)
def test_what_is_none_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(dl.DeltaLakeError, match=f"{name} can't be read as ") as caught:
        rows_of_file(str(tmp_path / name), None).read_all()
    assert caught.value.kind is dl.DeltaLakeErrorKind.INVALID_ARGUMENT
    assert caught.value.facts["file"] == str(tmp_path / name)
