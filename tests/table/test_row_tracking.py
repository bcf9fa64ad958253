"""Row tracking and in-commit timestamps that come later, held to the log itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import deltalakedb as dl
from deltalakedb.scan.file import read_vector
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec

MARK = "delta.rowTracking"
NAMES = (
    "delta.rowTracking.materializedRowIdColumnName",
    "delta.rowTracking.materializedRowCommitVersionColumnName",
)


def made(url: str, place: Path, **properties: str) -> dl.Table:
    schema = pa.schema([("p", pa.int64()), ("x", pa.int64())])
    return dl.create_table(
        f"deltasql://{url}?table=t", schema, location=str(place), properties=properties
    )


def rows(*values: int, p: int = 0) -> pa.Table:
    return pa.table({"p": pa.array([p] * len(values), pa.int64()), "x": pa.array(values)})


def actions(place: Path, version: int) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for line in (place / "_delta_log" / f"{version:020d}.json").read_text().splitlines():
        for kind, body in json.loads(line).items():
            found.setdefault(kind, []).append(body)
    return found


class Tracked:
    """What a reader knows of rows, by the log and the files: x to (row id, commit version)."""

    def __init__(self, table: dl.Table) -> None:
        self._place = Path(table.location)
        files: dict[str, dict[str, Any]] = {}
        self.mark = -1
        metadata: dict[str, Any] = {}
        for version in range(table.version + 1):
            found = actions(self._place, version)
            for body in found.get("remove", ()):
                files.pop(body["path"])
            for body in found.get("add", ()):
                files[body["path"]] = body
            for body in found.get("metaData", ()):
                metadata = body
            for body in found.get("domainMetadata", ()):
                assert body["domain"] == MARK
                mark = json.loads(body["configuration"])["rowIdHighWaterMark"]
                assert mark > self.mark
                self.mark = mark
        self.ids: dict[int, tuple[int, int]] = {}
        store = open_store(StoreSpec(table.location))
        live = set(table.to_pyarrow_table().column("x").to_pylist())
        hidden = [metadata["configuration"][name] for name in NAMES]
        for path, body in files.items():
            read = pq.read_table(self._place / path).to_pydict()
            vector = body.get("deletionVector")
            gone = set() if vector is None else set(read_vector(store, vector).tolist())
            for place, x in enumerate(read["x"]):
                if place in gone:
                    continue
                own = [(read.get(name) or [None] * len(read["x"]))[place] for name in hidden]
                first, version = body["baseRowId"], body["defaultRowCommitVersion"]
                self.ids[x] = (
                    first + place if own[0] is None else own[0],
                    version if own[1] is None else own[1],
                )
        assert len({row for row, _ in self.ids.values()}) == len(self.ids)
        assert set(self.ids) == live
        assert all(row <= self.mark for row, _ in self.ids.values())


def test_rows_keep_their_ids(sqlite_url: str, tmp_path: Path) -> None:
    for number, vectors in enumerate(("true", "false")):
        place = tmp_path / vectors
        url = f"sqlite:///{tmp_path}/{number}.sqlite"
        table = made(
            url,
            place,
            **{"delta.enableRowTracking": "true", "delta.enableDeletionVectors": vectors},
        )
        table.append(rows(1, 2, 3, 4))
        table.append(rows(5, 6))
        first = Tracked(table)
        assert first.ids == {1: (0, 1), 2: (1, 1), 3: (2, 1), 4: (3, 1), 5: (4, 2), 6: (5, 2)}
        table.delete("x = 2")
        table.update(updates={"x": "30"}, predicate="x = 3")
        changed = Tracked(table)
        assert changed.ids[30] == (2, 4)
        assert {x: changed.ids[x] for x in (1, 4, 5, 6)} == {x: first.ids[x] for x in (1, 4, 5, 6)}
        table.merge(
            rows(5, 7), "t.x = s.x", source_alias="s", target_alias="t"
        ).when_matched_update({"p": "9"}).when_not_matched_insert_all().execute()
        merged = Tracked(table)
        assert merged.ids[5] == (4, 5)
        assert merged.ids[7][0] > 5
        assert merged.ids[7][1] == 5
        before = table.version
        table.optimize.compact()
        assert Tracked(table).ids == merged.ids
        table.optimize.z_order(["x"])
        assert Tracked(table).ids == merged.ids
        table.restore(2)
        again = Tracked(table)
        assert again.ids == first.ids
        assert again.mark == Tracked(table).mark
        table.restore(before)
        assert Tracked(table).ids == merged.ids


def test_a_table_with_rows_gets_ids_for_them(catalog_url: str, tmp_path: Path) -> None:
    place = tmp_path / "t"
    table = made(catalog_url, place)
    table.append(rows(1, 2))
    table.append(rows(3))
    table.alter.set_table_properties({"delta.enableRowTracking": "true"})
    found = actions(place, 3)
    assert "remove" not in found
    assert [add["dataChange"] for add in found["add"]] == [False, False]
    assert {add["defaultRowCommitVersion"] for add in found["add"]} == {3}
    assert {"rowTracking", "domainMetadata"} <= set(found["protocol"][0]["writerFeatures"])
    ids = Tracked(table).ids
    table.append(rows(4))
    assert Tracked(table).ids == ids | {4: (3, 4)}
    assert dl.diff_table("t", database=catalog_url).parity
    dl.import_table(log_dir=str(place), database=str(tmp_path / "b.sqlite"), table_name="t")
    again = dl.connect_to_table(f"deltasql://sqlite:///{tmp_path}/b.sqlite?table=t")
    assert sorted(again.to_pyarrow_table().column("x").to_pylist()) == [1, 2, 3, 4]


def test_who_loses_to_row_tracking_numbers_its_rows(sqlite_url: str, tmp_path: Path) -> None:
    place = tmp_path / "t"
    table = made(sqlite_url, place)
    table.append(rows(1))
    with dl.begin(sqlite_url) as late:
        late.append("t", rows(2))
        table.alter.add_feature("rowTracking", allow_protocol_versions_increase=True)
    [add] = actions(place, 3)["add"]
    assert (add["baseRowId"], add["defaultRowCommitVersion"]) == (0, 3)


def test_in_commit_timestamps_may_come_later(sqlite_url: str, tmp_path: Path) -> None:
    place = tmp_path / "t"
    table = made(sqlite_url, place)
    table.append(rows(1))
    table.alter.set_table_properties({"delta.enableInCommitTimestamps": "true"})
    found = actions(place, 2)
    configuration = found["metaData"][0]["configuration"]
    assert configuration["delta.inCommitTimestampEnablementVersion"] == "2"
    stamp = found["commitInfo"][0]["inCommitTimestamp"]
    assert configuration["delta.inCommitTimestampEnablementTimestamp"] == str(stamp)
    assert "inCommitTimestamp" in found["protocol"][0]["writerFeatures"]
    table.append(rows(2))
    assert actions(place, 3)["commitInfo"][0]["inCommitTimestamp"] > stamp
    table.alter.set_table_properties({"delta.enableInCommitTimestamps": "false"})
    last = actions(place, 4)
    assert "inCommitTimestamp" not in last["commitInfo"][0]
    assert not [n for n in last["metaData"][0]["configuration"] if "EnablementV" in n]
    assert dl.diff_table("t", database=sqlite_url).parity
