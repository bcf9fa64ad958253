"""Tables below a folder or a prefix are found, each once, whatever lies around them."""

from __future__ import annotations

from pathlib import Path

import pytest

from deltalakedb.error import DeltaLakeError
from deltalakedb.migrate.discovery import discover
from tests.fleet.logs import write_log
from tests.servers.s3 import S3Bucket


def below(root: Path | str, **options: str) -> list[str]:
    return [found.below for found in discover(str(root), options)]


def test_nested_tables_links_and_what_only_looks_like_one(tmp_path: Path) -> None:
    write_log(tmp_path / "root" / "sales" / "orders")
    write_log(tmp_path / "root" / "sales" / "orders" / "inside")
    # Data, hidden folders and a copy in a partition's folder are no places for tables.
    write_log(tmp_path / "root" / "sales" / "orders" / "d=1" / "copy")
    write_log(tmp_path / "root" / ".trash" / "old")
    write_log(tmp_path / "elsewhere" / "linked")
    write_log(tmp_path / "root" / "year=2024" / "t")  # outside a table a name is a name
    (tmp_path / "root" / "far").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "alias").symlink_to(tmp_path / "root" / "sales")
    (tmp_path / "root" / "sales" / "round").symlink_to(tmp_path / "root")
    # Met before the folder that it leads to, which lies deeper.
    write_log(tmp_path / "root" / "sales" / "eu" / "late")
    (tmp_path / "root" / "a").mkdir()
    (tmp_path / "root" / "a" / "late").symlink_to(tmp_path / "root" / "sales" / "eu" / "late")
    (tmp_path / "root" / "year=2024" / "again").symlink_to(tmp_path / "root" / "year=2024")
    told: list[str] = []
    found = [each.below for each in discover(str(tmp_path / "root"), {}, told.append)]
    assert found == ["sales/eu/late", "sales/orders", "sales/orders/inside", "year=2024/t"]
    # What lies outside is named, not taken in: a link is no reason to move another's tables.
    [outside] = told
    assert str(tmp_path / "root" / "far") in outside
    assert str(tmp_path / "elsewhere") in outside
    assert below(tmp_path / "root" / "far") == ["linked"]
    assert below(tmp_path / "root" / "sales" / "orders") == ["", "inside"]
    with pytest.raises(DeltaLakeError, match="there is no folder"):
        discover(str(tmp_path / "nowhere"))


def test_below_a_prefix_names_of_data_files_are_not_listed(s3: S3Bucket) -> None:
    for name in ("a/t1", "a/b/t2", "a/t1/sub/t3", "other/t4"):
        s3.put(f"{name}/_delta_log/{0:020d}.json", b"{}")
        s3.put(f"{name}/d=1/part.parquet", b"x")
    found = discover(f"s3://{s3.name}/a", s3.options)
    assert [f.below for f in found] == ["b/t2", "t1", "t1/sub/t3"]
    assert found[0].location == f"s3://{s3.name}/a/b/t2"
