"""What notebooks show: escaped, sized for people, quick for any table."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from deltalakedb.display.markup import bar, change_chart, facts, grid
from deltalakedb.display.text import count_text, size_text
from tests.table.opening import GrowingTable, add, asked, first_actions, open_table, remove


class Balanced(HTMLParser):
    """Checks that what is opened is closed, and gathers the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def text_of(html: str) -> str:
    parser = Balanced()
    parser.feed(html)
    assert parser.open == []
    return " ".join(text.strip() for text in parser.texts if text.strip())


def test_a_tables_card(shared: str) -> None:
    table = open_table(shared)
    with asked(table) as statements:
        text = text_of(table._repr_html_())
    assert len(statements) == 2, "the commits of the chart, the partitions"
    assert text.startswith("sales version 20 files 270 files, 882.1 kB, 3.3 kB on average")
    assert "partitioned by date, region readable since the first version" in text
    assert "10 columns name type id long ts timestamp" in text
    assert "date date partition" in text
    assert "30 partitions, the largest 10 files bytes" in text
    assert "removed (down) by the last 21 commits" in text


def test_a_snapshots_card(shared: str) -> None:
    text = text_of(open_table(shared).snapshot(7)._repr_html_())
    assert text.startswith("sales version 7 files ")
    assert "protocol reader 1, writer 2" in text
    assert re.search(r"size of a file files bytes below 100 kB \d+ ", text)


def test_a_plans_card(shared: str) -> None:
    explained = open_table(shared).snapshot().explain("region < 'eu' AND qty > 50")
    text = text_of(explained._repr_html_())
    assert "region < 'eu' AND qty > 50" in text
    assert "&lt; &#x27;eu&#x27;" in explained._repr_html_()
    assert re.search(r"all files 270 partitions \d+ [\d.]+ ms 6 of 30 partitions keys \d+", text)


def test_a_historys_card(shared: str) -> None:
    history = open_table(shared).history()
    text = text_of(history._repr_html_())
    assert text.startswith("sales 21 commits version time operation adds removes bytes added")
    assert "20 2024-01-06 23:30:25 OPTIMIZE 1 6" in text
    changes = history.changes()
    assert changes[0][0].startswith("version 0: CREATE TABLE")
    assert [added for _, added, _ in changes] == [e["num_adds"] for e in reversed(history)]


def test_a_list_of_files(shared: str) -> None:
    text = text_of(open_table(shared).snapshot().files._repr_html_())
    assert text.startswith("270 files 882.1 kB path size rows date=")
    assert text.endswith("and 260 more")


def test_names_are_only_text(tmp_path: Path, catalog_url: str) -> None:
    evil = "<img src=x onerror=alert(1)>'\""
    made = GrowingTable(tmp_path, catalog_url)
    protocol, metadata = first_actions()
    metadata["metaData"]["schemaString"] = (
        '{"type":"struct","fields":[{"name":"<b>id</b>","type":"long","nullable":false,'
        '"metadata":{}},{"name":"day","type":"string","nullable":true,"metadata":{}},'
        '{"name":"deep","type":{"type":"array","elementType":{"type":"struct","fields":[]},'
        '"containsNull":true},"nullable":true,"metadata":{}}]}'
    )
    file = add("a")
    file["add"]["partitionValues"] = {"day": evil}
    made.commit(protocol, metadata, {"commitInfo": {"operation": evil, "engineInfo": evil}}, file)
    made.imported()
    table = made.open()
    snapshot = table.snapshot()
    for html in (
        table._repr_html_(),
        snapshot._repr_html_(),
        snapshot.files._repr_html_(),
        table.history()._repr_html_(),
        snapshot.explain([("day", "=", evil)])._repr_html_(),
    ):
        assert "<img" not in html
        assert "<b>id</b>" not in html
        text_of(html)
    shown = text_of(snapshot._repr_html_())
    assert "<b>id</b> long not null" in shown
    assert "array<struct<>>" in shown
    assert f"day={evil}" in shown


def test_an_empty_table_has_a_card(tmp_path: Path, sqlite_url: str) -> None:
    made = GrowingTable(tmp_path, sqlite_url)
    made.commit(*first_actions(), add("a"))
    made.commit(remove("a"))
    made.imported()
    table = made.open()
    snapshot = table.snapshot()
    assert "files 0 files, 0 B" in text_of(table._repr_html_())
    assert "files 0 files, 0 B" in text_of(snapshot._repr_html_())
    assert text_of(snapshot.files._repr_html_()).startswith("0 files 0 B")
    assert "all files 0" in text_of(snapshot.explain("id = 5")._repr_html_())
    assert text_of(table.history(0)._repr_html_()).startswith("sales 0 commits")


def test_files_are_classed_by_size(tmp_path: Path, catalog_url: str) -> None:
    made = GrowingTable(tmp_path, catalog_url)
    made.commit(*first_actions(), *(add(f"f{size}", size=size) for size in (0, 9, 10, 99, 100, 7)))
    made.imported()
    snapshot = made.open().snapshot()
    assert snapshot.size_classes([10, 100]) == [(3, 16), (2, 109), (1, 100)]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_500_000_000, "1.5 GB"),
        (5 * 10**15, "5.0 PB"),
        (5 * 10**18, "5.0 EB"),
    ],
)
def test_sizes_are_for_people(size: int, text: str) -> None:
    assert size_text(size) == text


def test_pieces() -> None:
    assert (count_text(1, "file"), count_text(2000, "file")) == ("1 file", "2,000 files")
    assert bar(0) == ""
    assert "width:140px" in bar(3.0)
    assert "width:2px" in bar(0.0001)
    assert change_chart([]) == ""
    assert change_chart([("nothing", 0, 0)]).count("<rect") == 2
    assert text_of(grid(("a", "b"), [("1<2", "x")], right=(0,))) == "a b 1<2 x"
    assert text_of(facts([("a&b", "<i>")])) == "a&b <i>"
