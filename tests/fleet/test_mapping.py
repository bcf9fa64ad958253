"""A mapping is what a dry run writes, people edit, and a run takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from deltalakedb.error import DeltaLakeError
from deltalakedb.migrate.mapping import Entry, check_entries, read_mapping, write_mapping

ENTRIES = [
    Entry("/lake/a", "sales", "orders", "online", owner="ada"),
    Entry("/lake/b, c", "", "b\nc", "offline", skip=True),
    Entry("s3://bucket/é", "x.y", "é", "hybrid"),
]


@pytest.mark.parametrize("name", ["map.csv", "map.yaml"])
def test_what_was_written_is_read(name: str, tmp_path: Path) -> None:
    path = str(tmp_path / name)
    told = {e.location: {"files": 3, "refusal": "none, that is known"} for e in ENTRIES}
    write_mapping(path, ENTRIES, told)
    assert read_mapping(path) == ENTRIES
    # It may have been edited by now.
    with pytest.raises(DeltaLakeError, match="is there already"):
        write_mapping(path, ENTRIES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("location,nmae\n/a,b\n", r"line 2: no column 'nmae' is known; did you mean 'name'"),
        ("name\nb\n", "no column location"),
        ("location,skip\n/a,maybe\n", "line 2: skip is 'maybe'; write yes"),
        ("location,strategy\n/a,magic\n", "no strategy 'magic'; use one of offline"),
        ("location\n\n/a,b\n", "more values than columns"),
        ("location,name\n,b\n", "line 2: location is empty"),
        ("location,name,name\n/a,b,c\n", "line 1: column 'name' stands there twice"),
        ("- location: /a\n  name: b\n  name: c\n", r"line 3, .*name stands there twice"),
        ("- location: /a\n- nmae: b\n", "line 2: no column 'nmae' is known"),
        ("- location: [\n", "not valid YAML"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / ("map.yaml" if text.startswith("-") else "map.csv")
    path.write_text(text)
    with pytest.raises(DeltaLakeError, match=message):
        read_mapping(str(path))


def test_collisions_are_told_all_at_once() -> None:
    entries = [
        Entry("/a/t", "", "t"),
        Entry("/b/t", "", "t"),
        Entry("/c", "", "c"),
        Entry("/c", "", "d"),
        Entry("/d", "n", "x", skip=True),
        Entry("/e", "n", "x"),
    ]
    with pytest.raises(DeltaLakeError) as raised:
        check_entries(entries, {})
    text = raised.value.message
    assert "2 names can't be given" in text
    assert "t would be both /a/t and /b/t" in text
    assert "/c stands there twice" in text
    check_entries(entries[4:], {})
