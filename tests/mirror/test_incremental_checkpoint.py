"""V2 checkpoints upon earlier ones: sidecars named again, and what they say stays true."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import time
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import deltalakedb as dl
from deltalakedb.log import checkpoint_writer
from deltalakedb.log.paths import CheckpointFile, parse_log_name
from deltalakedb.log.reader import sidecars_named
from deltalakedb.mirror import publish, tend

SCHEMA = pa.schema([("p", pa.int64()), ("x", pa.int64())])


@pytest.fixture
def small_sidecars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_writer, "_LEAST_SIDECAR_ROWS", 4)
    # No checkpoints but those that a test asks for: what is upon what is to be known.
    monkeypatch.setattr(tend, "_is_due", lambda *_: False)


def made(url: str, place: Path, **properties: str) -> dl.Table:
    return dl.create_table(
        f"deltasql://{url}?table=t",
        SCHEMA,
        location=str(place),
        partition_by="p",
        properties={"delta.checkpointPolicy": "v2", **properties},
    )


def sidecars(table: dl.Table, place: Path) -> list[str]:
    name = table.create_checkpoint()
    assert name is not None
    return sidecars_named(publish.log_of(table._head.row, None), name)


def agrees(table: dl.Table, place: Path) -> None:
    """The checkpoint alone, without the commits before it, is the table."""
    log = place / "_delta_log"
    version = table.version
    kept = {f.name: f.read_bytes() for f in log.glob("*.json")}
    for name in kept:
        if int(name[:20]) < version:
            (log / name).unlink()
    try:
        seen = deltalake.DeltaTable(str(place))
        expected = {(f.path, f.size) for f in table.snapshot().files}
        actions = pa.table(seen.get_add_actions())
        pairs = zip(
            actions.column("path").to_pylist(),
            actions.column("size_bytes").to_pylist(),
            strict=True,
        )
        assert sorted(pairs) == sorted(expected)
    finally:
        for name, body in kept.items():
            (log / name).write_bytes(body)


def rows(*pairs: tuple[int, int]) -> pa.Table:
    return pa.table({"p": [p for p, _ in pairs], "x": [x for _, x in pairs]}, schema=SCHEMA)


def test_what_has_not_changed_is_named_again(
    catalog_url: str, tmp_path: Path, small_sidecars: None
) -> None:
    place = tmp_path / "t"
    table = made(catalog_url, place)
    table.append(rows(*((p, p) for p in range(20))))
    first = set(sidecars(table, place))
    assert len(first) == 5
    table.delete("p = 3")
    table.append(rows((3, 33), (21, 0)))
    second = sidecars(table, place)
    assert len(set(second) & first) == 4
    agrees(table, place)
    # The removed file came into no new sidecar as a live one, but as a remove.
    found = pa.concat_tables(
        pq.read_table(place / "_delta_log" / "_sidecars" / name, columns=["add", "remove"])
        for name in second
    )
    assert len(found.column("add").drop_null()) == 21
    assert len(found.column("remove").drop_null()) == 1
    dl.import_table(log_dir=str(place), database=str(tmp_path / "b.sqlite"), table_name="t")
    assert dl.diff_table("t", database=catalog_url).parity


def test_changes_of_every_kind(sqlite_url: str, tmp_path: Path, small_sidecars: None) -> None:
    """A random history with vectors and files that come back, held to the log itself."""
    place = tmp_path / "t"
    table = made(sqlite_url, place, **{"delta.enableDeletionVectors": "true"})
    table.append(rows(*((p, x) for p in range(12) for x in range(3))))
    table.create_checkpoint()
    chance = random.Random(7)
    for _ in range(12):
        for _ in range(chance.randrange(1, 4)):
            p = chance.randrange(12)
            what = chance.randrange(4)
            if what == 0:
                table.append(rows((p, chance.randrange(3)), (p + 12, 1)))
            elif what == 1:
                table.delete(f"p = {p} AND x = {chance.randrange(3)}")
            elif what == 2:
                table.update(updates={"x": "x + 1"}, predicate=f"p = {p}")
            else:
                table.restore(chance.randrange(max(table.version - 4, 1), table.version + 1))
        names = sidecars(table, place)
        assert removes(place, names) == expected_removes(table)
        agrees(table, place)


def removes(place: Path, names: list[str]) -> list[tuple[str, Any]]:
    found = []
    for name in names:
        part = pq.read_table(place / "_delta_log" / "_sidecars" / name, columns=["remove"])
        for each in part.column("remove").drop_null().to_pylist():
            found.append((each["path"], (each["deletionVector"] or {}).get("pathOrInlineDv")))
    return sorted(found, key=str)


def expected_removes(table: dl.Table) -> list[tuple[str, Any]]:
    """By the log itself: what was removed last, and not added since."""
    state: dict[tuple[str, Any], bool] = {}
    log = Path(table.location) / "_delta_log"
    for name in sorted(log.glob("*.json")):
        if isinstance(parse_log_name(name.name), CheckpointFile):
            continue
        for line in name.read_text().splitlines():
            for kind, body in json.loads(line).items():
                if kind in ("add", "remove"):
                    vector = (body.get("deletionVector") or {}).get("pathOrInlineDv")
                    state[body["path"], vector] = kind == "remove"
    return sorted((key for key, removed in state.items() if removed), key=str)


def test_a_lost_sidecar_is_not_built_upon(
    sqlite_url: str, tmp_path: Path, small_sidecars: None
) -> None:
    place = tmp_path / "t"
    table = made(sqlite_url, place)
    table.append(rows(*((p, p) for p in range(20))))
    first = sidecars(table, place)
    (place / "_delta_log" / "_sidecars" / first[2]).unlink()
    table.append(rows((1, 1)))
    assert not set(sidecars(table, place)) & set(first)
    agrees(table, place)


def test_cleaning_spares_what_is_named_again(
    sqlite_url: str, tmp_path: Path, small_sidecars: None
) -> None:
    place = tmp_path / "t"
    table = made(
        sqlite_url,
        place,
        **{"delta.logRetentionDuration": "interval 1 days", "delta.checkpointInterval": "1000"},
    )
    table.append(rows(*((p, p) for p in range(20))))
    first = sidecars(table, place)
    table.delete("p = 3")
    second = sidecars(table, place)
    table.delete("p = 10")
    third = sidecars(table, place)
    log = place / "_delta_log"
    old = time.time() - 5 * 86_400
    for file in log.rglob("*"):
        if file.is_file():
            os.utime(file, (old, old))
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as database:
        database.execute("UPDATE dl_versions SET commit_time = commit_time - 5 * 86400000")
    gone = table.cleanup_metadata()
    assert f"{2:020d}.json" in gone
    standing = {file.name for file in (log / "_sidecars").iterdir()}
    assert standing == set(third)
    assert set(first) & standing
    assert (set(first) | set(second)) - standing
    agrees(table, place)
