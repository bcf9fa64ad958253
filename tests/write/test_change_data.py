"""Change data files tell readers what happened to rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from deltalakedb.log.commit_writer import remove_body
from deltalakedb.write.change_data import ChangeWriter, change_target
from deltalakedb.write.files import write_files
from tests.write.support import Made

TABLE = pa.table({"n": [1, 2, 3], "p": ["a b", "a b", "c"], "x": [1.5, None, 2.5]})


def test_an_update_is_read_by_delta_rs(tmp_path: Path) -> None:
    made = Made(tmp_path, TABLE.schema, ["p"], {"delta.enableChangeDataFeed": "true"})
    assert made.protocol.min_writer_version == 4
    first = made.write(TABLE)
    old = next(add for add in first.adds if add["partitionValues"] == {"p": "a b"})
    after = pa.table({"n": [1, 9], "p": ["a b", "a b"], "x": [1.5, None]})
    new = write_files(made.store, made.target, after, "w")
    with ChangeWriter(made.store, change_target(made.target), "w") as writer:
        writer.write_changes(TABLE.slice(1, 1).to_batches()[0], "update_preimage")
        writer.write_changes(after.slice(1, 1).to_batches()[0], "update_postimage")
        written = writer.finish()
    (body,) = written.adds
    assert body["path"].startswith("_change_data/cdc-00000-w-c000")
    assert body["dataChange"] is False
    assert written.num_rows == 2
    made.commit([{"remove": remove_body(old, 5)}, *({"add": a} for a in new.adds), {"cdc": body}])
    table = DeltaTable(str(tmp_path))
    changes = pa.table(table.load_cdf(starting_version=1)).to_pylist()
    found = sorted((row["n"], row["p"], row["x"], row["_change_type"]) for row in changes)
    assert found == [(2, "a b", None, "update_preimage"), (9, "a b", None, "update_postimage")]
    assert sorted(table.to_pyarrow_table().column("n").to_pylist()) == [1, 3, 9]


@pytest.mark.parametrize("mode", ["name", "id"])
def test_change_files_have_physical_names(tmp_path: Path, mode: str) -> None:
    import pyarrow.parquet as pq

    made = Made(tmp_path, TABLE.schema, ["p"], {"delta.columnMapping.mode": mode})
    with ChangeWriter(made.store, change_target(made.target), "w") as writer:
        writer.write_changes(TABLE.slice(2).to_batches()[0], "delete")
        (body,) = writer.finish().adds
    names = made.target.physical_names
    assert body["partitionValues"] == {names["p"]: "c"}
    (file,) = tmp_path.rglob("cdc-*.parquet")
    assert pq.read_schema(file).names == [names["n"], names["x"], "_change_type"]


def test_change_files_go_when_their_write_fails(tmp_path: Path) -> None:
    made = Made(tmp_path, TABLE.schema)
    with ChangeWriter(made.store, change_target(made.target), "w", target_file_size=1) as writer:
        writer.write_changes(TABLE.to_batches()[0], "insert")
    assert not list(tmp_path.rglob("*.parquet"))


def test_pairs_are_known_in_whichever_files_they_are(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    made = Made(tmp_path, pa.schema([("n", pa.int64()), ("p", pa.string())]), ["p"])
    count, step = 60_000, 20_000
    with ChangeWriter(
        made.store, change_target(made.target), "w", paired=True, target_file_size=1 << 16
    ) as writer:
        for start in range(0, count, step):
            numbers = pa.array(range(start, start + step))
            for kind, names in (("update_preimage", "ab"), ("update_postimage", "bc")):
                folders = pa.array([names[n % 2] for n in range(step)])
                rows = pa.record_batch({"n": numbers, "p": folders})
                writer.write_changes(rows, kind)  # type: ignore[arg-type]
        written = writer.finish()
    assert len(written.adds) > 3
    seen: dict[str, list[int]] = {"update_preimage": [], "update_postimage": []}
    for body in written.adds:
        found = pq.ParquetFile(tmp_path / body["path"]).read()
        pairs = written.pairs[body["path"]].tolist()
        assert pairs == found["n"].to_pylist()
        for kind, pair in zip(found["_change_type"].to_pylist(), pairs, strict=True):
            seen[kind].append(pair)
    assert all(sorted(each) == list(range(count)) for each in seen.values())
