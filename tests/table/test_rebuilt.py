"""What is held from before a table was imported anew goes on working."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from deltalakedb.catalog.dialects.reader import Reader
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.config import CacheConfig
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.snapshot.snapshot import Snapshot
from tests.cli.commands import dl_lines
from tests.table.opening import NAME, GrowingTable, add, asked, first_actions, remove


@pytest.fixture
def made(tmp_path: Path, catalog_url: str) -> GrowingTable:
    table = GrowingTable(tmp_path, catalog_url)
    table.commit(*first_actions(), add("a"), {"txn": {"appId": "etl", "version": 7}})
    table.commit(add("b", "2024-05-02"), add("c", "2024-05-02", least=100))
    table.commit(remove("a"))
    table.imported()
    return table


QUESTIONS: dict[str, Callable[[Snapshot], Any]] = {
    "files": lambda s: sorted(f.path for f in s.files),
    "plan": lambda s: s.plan().sort_by("path").to_pylist(),
    "matching": lambda s: s.plan("id > 50 AND day = DATE '2024-05-02'")["path"].to_pylist(),
    "explain": lambda s: s.explain("id > 50").planned_files,
    "pages": lambda s: sorted(p for b in s.file_pages(1) for p in b["path"].to_pylist()),
    "summary": lambda s: sorted(map(repr, s.partition_summary())),
    "transactions": lambda s: s.transactions,
    "totals": lambda s: (s.num_files, s.total_bytes),
}


@pytest.mark.parametrize("cached", [False, True])
def test_a_held_snapshot_answers_as_before(
    made: GrowingTable, cached: bool, tmp_path: Path
) -> None:
    cache = CacheConfig(directory=str(tmp_path / "lists")) if cached else False
    tables = {(name, v): made.open(cache=cache) for name in QUESTIONS for v in (1, 2)}
    asked_before = {(name, v): tables[name, v].snapshot(v) for name, v in tables}
    answers = {(n, v): QUESTIONS[n](asked_before[n, v]) for n, v in tables}
    not_asked_before = {(n, v): tables[n, v].snapshot(v) for n, v in tables}
    made.imported(rebuild=True)
    for name, version in tables:
        for held in (asked_before, not_asked_before):
            found = QUESTIONS[name](held[name, version])
            assert found == answers[name, version], (name, version)


def test_a_snapshot_of_the_head_answers_as_before_after_many_rewrites(made: GrowingTable) -> None:
    held = made.open().snapshot()
    answers = {name: question(held) for name, question in QUESTIONS.items()}
    last = ["b", "c"]
    for number in range(40):
        new = [f"{name}{number}" for name in "bc"]
        made.commit(
            *(remove(name, "2024-05-02") for name in last),
            *(add(name, "2024-05-02") for name in new),
        )
        last = new
        if number == 20:
            made.imported()
    made.commit(
        *(remove(name, "2024-05-02") for name in last)
    )  # A partition that has no file any more.
    made.imported()
    assert made.open().snapshot().num_files == 0
    for snapshot in (held, made.open().snapshot(held.version)):
        assert {name: question(snapshot) for name, question in QUESTIONS.items()} == answers


def test_a_stream_that_has_begun_ends_well(made: GrowingTable) -> None:
    files = iter(made.open().snapshot(1).files)
    first = next(files)
    made.imported(rebuild=True)
    assert len({first.path, *(f.path for f in files)}) == 3


def test_pages_go_on_where_they_were(made: GrowingTable) -> None:
    pages = iter(made.open().snapshot(1).file_pages(1))
    seen = next(pages)["path"].to_pylist()
    made.imported(rebuild=True)
    seen += [path for page in pages for path in page["path"].to_pylist()]
    assert len(seen) == len(set(seen)) == 3


def test_the_new_load_is_remembered(made: GrowingTable) -> None:
    table = made.open()
    held = table.snapshot(1)
    made.imported(rebuild=True)
    held.plan()
    with asked(table) as statements:
        held.plan("id > 50")
    assert len(statements) == 1


def test_a_held_table_has_its_history(made: GrowingTable) -> None:
    table = made.open()
    made.imported(rebuild=True)
    assert [entry["version"] for entry in table.history()] == [2, 1, 0]
    assert table.files() == made.open().files()


def rebuilt_before(made: GrowingTable, reader: Reader, question: str) -> Callable[[], bool]:
    """Have the table imported anew before the reader asks `question` next; tells if it has."""
    rows, done = reader.rows, []

    def swapped(sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        if question in sql and not done:
            done.append(sql)
            made.imported(rebuild=True)
        return rows(sql, params)

    reader.__dict__["rows"] = swapped
    return lambda: bool(done)


def test_an_answer_of_two_questions_is_of_one_load(made: GrowingTable) -> None:
    """History that is gone looks like no history; so do transactions."""
    table = made.open()
    snapshot = table.snapshot()
    swapped = rebuilt_before(made, table._catalog.reader, "FROM dl_versions")
    assert [entry["version"] for entry in table.history()] == [2, 1, 0]
    assert swapped()
    swapped = rebuilt_before(made, table._catalog.reader, "FROM dl_txns")
    assert list(snapshot.transactions) == ["etl"]
    assert swapped()


@pytest.mark.parametrize(
    ("command", "question"), [("history", "FROM dl_versions"), ("show", "FROM dl_txns")]
)
def test_a_command_answers_of_one_load(
    made: GrowingTable, monkeypatch: pytest.MonkeyPatch, command: str, question: str
) -> None:
    expected = dl_lines(command, NAME, "--database", made.database)
    opened: list[Callable[[], bool]] = []
    original = LightCatalog.__init__

    def opens(self: LightCatalog, database: str) -> None:
        original(self, database)
        opened.append(rebuilt_before(made, self.reader, question))

    monkeypatch.setattr(LightCatalog, "__init__", opens)
    assert dl_lines(command, NAME, "--database", made.database) == expected
    assert any(swapped() for swapped in opened)


def test_another_log_is_no_later_load_of_the_same(made: GrowingTable) -> None:
    held = made.open().snapshot()
    made.rewrite(1, add("b", "2024-05-02"))
    made.imported(rebuild=True)
    with pytest.raises(DeltaLakeError, match="version 2 is another one") as caught:
        held.plan()
    assert caught.value.kind is DeltaLakeErrorKind.LOG_DISAGREES
    assert len(made.open().snapshot().files) == 1


def test_a_load_that_reaches_less_far_back_says_so(made: GrowingTable, tmp_path: Path) -> None:
    from deltalake import DeltaTable

    DeltaTable(made.folder).create_checkpoint()
    held = made.open().snapshot(1)
    made.imported(rebuild=True, mode="fast")
    with pytest.raises(DeltaLakeError, match="older than what was imported") as caught:
        held.plan()
    assert caught.value.kind is DeltaLakeErrorKind.VERSION_NOT_FOUND


def test_what_is_wrong_otherwise_is_told_as_it_is(made: GrowingTable) -> None:
    held = made.open().snapshot()
    with asked(made.open()) as statements, pytest.raises(DeltaLakeError) as caught:
        held.plan("nothing > 5")
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_PREDICATE
    assert statements == []
