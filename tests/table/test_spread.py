"""DELETE, UPDATE and OPTIMIZE by the workers of a Dask cluster: the same as in one process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.table.operations.delete import remove_matching
from deltalakedb.table.operations.parts import portable
from deltalakedb.table.operations.rewrite import RewriteOptions
from deltalakedb.table.operations.spread import _done
from deltalakedb.table.table import Table
from tests.cli.commands import process
from tests.servers.dask import DaskServer
from tests.table.changed import CHANGES, VECTORS, changes_of, commit_of, rows_of, seen_by_delta_rs

if TYPE_CHECKING:
    from distributed import Client

FILES, ROWS = 6, 50


@pytest.fixture
def client(dask_server: DaskServer) -> Iterator[Client]:
    from distributed import Client

    with Client(dask_server.address, set_as_default=False) as found:
        yield found


def made(
    url: str, place: Path, properties: dict[str, str], partition_by: str | None = None
) -> Table:
    uri = f"deltasql://{url}?table={place.name}"
    for n in range(FILES):
        rows = pa.table(
            {
                "id": range(n * ROWS, (n + 1) * ROWS),
                "v": [f"v{i % 7}" for i in range(ROWS)],
                "p": [f"p{n % 2}"] * ROWS,
            }
        )
        more: dict[str, Any] = {"mode": "append"}
        if n == 0:
            more = {"configuration": properties, "location": str(place)}
        dl.write_deltalake(uri, rows, partition_by=partition_by, **more)
    return dl.connect_to_table(uri)


@pytest.mark.parametrize(
    "properties",
    [
        pytest.param({}, marks=pytest.mark.system),
        pytest.param(VECTORS, marks=pytest.mark.system),
        VECTORS | CHANGES,
    ],
)
def test_the_same_as_in_one_process(
    client: Client, sqlite_url: str, tmp_path: Path, properties: dict[str, str]
) -> None:
    here, there = (made(sqlite_url, tmp_path / n, properties, "p") for n in ("here", "there"))
    condition = "v = 'v3' OR (p = 'p1' AND id > 100)"
    told = []
    for table, on in ((here, None), (there, client)):
        told.append(
            (
                table.delete("p = 'p0' AND id < 60", client=on),
                table.delete("v = 'v2'", client=on),
                table.update({"v": "concat(v, '!')"}, predicate=condition, client=on),
            )
        )
    # Each part writes files of its own.
    numbers = ("num_deleted_rows", "num_updated_rows", "version")
    for mine, its in zip(*told, strict=True):
        assert [mine.get(n) for n in numbers] == [its.get(n) for n in numbers]
    assert rows_of(here) == rows_of(there) == seen_by_delta_rs(tmp_path / "there")
    for version in range(FILES, FILES + 3):
        assert changes_of(tmp_path / "there", version) == changes_of(tmp_path / "here", version)
    here.close()
    there.close()


@pytest.mark.parametrize("properties", [VECTORS | CHANGES, {}])
def test_merge_the_same_as_in_one_process(
    client: Client, sqlite_url: str, tmp_path: Path, properties: dict[str, str]
) -> None:
    here, there = (made(sqlite_url, tmp_path / n, properties, "p") for n in ("here", "there"))
    ids = [*range(3, 300, 7), 1000, 1001, None]
    source = pa.table({"id": ids, "w": [f"w{n}" for n in ids], "p": ["p1"] * len(ids)})
    told = []
    for table, on in ((here, None), (there, client)):
        done = (
            table.merge(source, "t.id = s.id", "s", "t", merge_schema=True, client=on)
            .when_matched_delete("s.id > 250")
            .when_matched_update({"v": "concat(s.w, t.v)", "w": "s.w"})
            .when_not_matched_insert_all("s.id IS NOT NULL")
            .when_not_matched_by_source_update({"v": "'old'"}, predicate="t.id < 20")
            .execute()
        )
        told.append({n: v for n, v in done.items() if "_rows_" in n and "copied" not in n})
    assert told[0] == told[1]
    assert told[1]["num_target_rows_inserted"] == 2
    assert rows_of(here) == rows_of(there) == seen_by_delta_rs(tmp_path / "there")
    assert changes_of(tmp_path / "there", FILES) == changes_of(tmp_path / "here", FILES)
    assert not [*(tmp_path / "there").glob("_merge*")]
    twice = pa.table({"id": [5, 5], "v": ["a", "b"]})
    merger = there.merge(twice, "target.id = source.id", client=client)
    before = set((tmp_path / "there").rglob("part-*"))
    with pytest.raises(DeltaLakeError, match="several source rows change"):
        merger.when_matched_update({"v": "source.v"}).execute()
    assert set((tmp_path / "there").rglob("part-*")) == before
    here.close()
    there.close()


def test_within_a_transaction(client: Client, sqlite_url: str, tmp_path: Path) -> None:
    """Each operation sees what those before have done, wherever that was."""
    here, there = (made(sqlite_url, tmp_path / n, VECTORS, "p") for n in ("here", "there"))
    source = pa.table({"id": [7, 41, 900], "v": ["a", "b", "c"], "p": ["p0"] * 3})
    told = []
    for name, on in (("here", None), ("there", client)):
        with dl.begin(sqlite_url, client=on) as tx:
            tx.append(name, pa.table({"id": [900], "v": ["v3"], "p": ["p0"]}))
            counts = [
                tx.delete(name, "v = 'v3' AND id < 200"),
                tx.update(name, {"v": "concat(v, '!')"}, predicate="id >= 20 AND id < 60"),
                tx.merge(name, source, "target.id = source.id")
                .when_matched_update_all()
                .when_not_matched_insert_all()
                .execute(),
            ]
            assert tx.snapshot(name).count_rows("v = 'v3'") > 0
        told.append([{n: v for n, v in each.items() if "_rows" in n} for each in counts])
        assert tx.result is not None
        assert tx.result.versions == {name: FILES}
    assert told[0] == told[1]
    for table, place in ((here, "here"), (there, "there")):
        table.refresh()
        assert rows_of(table) == seen_by_delta_rs(tmp_path / place)
        table.close()
    assert rows_of(here) == rows_of(there)
    assert dl.diff_table("there", database=sqlite_url).parity


def test_a_part_that_runs_again_leaves_nothing(sqlite_url: str, tmp_path: Path) -> None:
    """A worker that was thought to be lost may do a part that another does, too."""
    uri = f"deltasql://{sqlite_url}?table=t"
    rows = pa.table({"id": pa.array(range(900), pa.int64())})
    dl.write_deltalake(uri, rows, location=str(tmp_path / "t"), configuration=VECTORS)
    table = dl.connect_to_table(uri)
    base, files = table._changed(lambda catalog, base: (base, base.planned(catalog, None)))
    predicate = base.parsed("id % 3 <> 0")
    work = partial(remove_matching, predicate)
    wrote = [_done(portable(base), files, RewriteOptions(), work, "once") for _ in range(2)]
    assert [len(part.names) for part in wrote] == [1, 1]
    assert len([*(tmp_path / "t").glob("*.bin")]) == 1
    assert wrote[0].adds.equals(wrote[1].adds)
    table.close()


def test_a_part_that_fails_leaves_nothing(client: Client, sqlite_url: str, tmp_path: Path) -> None:
    table = made(sqlite_url, tmp_path / "t", {})
    table.alter.add_constraint({"small": "id < 1000"})
    before = set((tmp_path / "t").glob("*.parquet"))
    with pytest.raises(DeltaLakeError) as refused:
        table.update({"id": "CASE WHEN id = 170 THEN 2000 ELSE id END"}, client=client)
    assert refused.value.kind is DeltaLakeErrorKind.CONSTRAINT_VIOLATION
    assert set((tmp_path / "t").glob("*.parquet")) == before
    assert table.refresh().version == FILES
    table.close()


def test_bins_are_written_by_workers_and_committed_each(
    client: Client, sqlite_url: str, tmp_path: Path
) -> None:
    place = tmp_path / "t"
    table = made(sqlite_url, place, VECTORS, "p")
    table.delete("id < 10")
    rows = rows_of(table)
    first = table.version
    done = table.optimize.compact(client=client)
    assert (done["numFilesAdded"], done["numFilesRemoved"]) == (2, FILES)
    assert done["versions"] == [first + 1, first + 2]
    for version in done["versions"]:
        [add] = commit_of(place, version)["add"]
        assert add["dataChange"] is False
        assert json.loads(add["stats"])["numRecords"] in (140, 150)
    assert rows_of(table) == rows == seen_by_delta_rs(place)
    assert table.optimize.compact(client=client)["numFilesAdded"] == 0
    ordered = table.optimize.z_order(["id", "v"], client=client)
    assert (ordered["numFilesAdded"], len(ordered["versions"])) == (2, 2)
    assert rows_of(table) == rows
    table.close()


def test_a_bin_whose_file_another_changes_is_written_again(
    client: Client, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deltalakedb.table.operations import optimize

    table = made(sqlite_url, tmp_path / "t", VECTORS)
    real, deleted = optimize._commit, []

    def commit(*arguments: Any) -> None:
        # After the workers have written.
        other = dl.connect_to_table(table.uri)
        deleted.append(other.delete("id = 7")["num_deleted_rows"])
        other.close()
        real(*arguments)

    monkeypatch.setattr(optimize, "_commit", commit)
    done = table.optimize.compact(client=client)
    assert (deleted, done["numFilesAdded"], done["numBinsLost"]) == ([1], 1, 0)
    assert [row["id"] for row in rows_of(table) if row["id"] < 9] == [0, 1, 2, 3, 4, 5, 6, 8]
    live = set(table.files())
    written = {f.name for f in (tmp_path / "t").glob("*.parquet")}
    # The six that were compacted, the one that is live, and not what the workers wrote first.
    assert len(written) == FILES + 1
    assert live < written
    table.close()


@pytest.mark.system
def test_commands(dask_server: DaskServer, sqlite_url: str, tmp_path: Path) -> None:
    table = made(sqlite_url, tmp_path / "t", VECTORS, "p")
    at = ("--database", sqlite_url, "--scheduler", dask_server.address)
    for run, expected in (
        (("delete", "t", *at, "--where", "v = 'v1'"), f"{FILES * 8 - FILES:,} rows deleted"),
        (("update", "t", *at, "--set", "v = 'x'", "--where", "v = 'v2'"), "42 rows updated"),
        (("optimize", "t", *at), "in 2 commits"),
    ):
        done = process(*run)
        assert (done.returncode, expected in done.stdout) == (0, True), done.stdout + done.stderr
    left = [row for row in rows_of(table) if row["v"] in ("v1", "v2", "x")]
    assert {row["v"] for row in left} == {"x"}
    assert len(left) == 42
    table.close()
