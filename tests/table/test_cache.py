"""The local cache of file lists: right, whole, bounded, shared between processes."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.config import CacheConfig, ConfigFactory
from deltalakedb.planning import cache_file, cached_rows
from deltalakedb.planning.cache import CacheStats, FileCache
from deltalakedb.table.table import Table
from tests.table.opening import (
    GrowingTable,
    add,
    asked,
    first_actions,
    open_table,
    remove,
    table_uri,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "lists"


def lists(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*/*.arrow"))


def in_order(plan: pa.Table) -> list[dict[str, Any]]:
    return sorted(plan.to_pylist(), key=lambda row: (row["path"], row["dv_id"] or ""))


@pytest.fixture
def plain(shared: str) -> list[dict[str, Any]]:
    """The file list without a cache."""
    return in_order(open_table(shared).snapshot().plan())


def test_a_list_is_asked_for_once(shared: str, folder: Path, plain: Any) -> None:
    table = open_table(shared, cache=CacheConfig(directory=str(folder)))
    assert table.get_cache_stats().hit_ratio == 1.0
    assert in_order(table.snapshot().plan()) == plain
    [path] = lists(folder)
    stats = table.get_cache_stats()
    assert (stats.hits, stats.misses, stats.entries) == (0, 1, 1)
    assert stats.bytes == path.stat().st_size
    with asked(table) as statements:
        snapshot = table.snapshot()
        assert in_order(snapshot.plan()) == plain
        assert sorted(f.size for f in snapshot.files) == sorted(row["size"] for row in plain)
        snapshot.plan("region = 'us' AND qty > 50")
    assert len(statements) == 1
    assert table.get_cache_stats().hits == 3
    assert table.get_cache_stats().hit_ratio == 0.75


def test_another_process_finds_what_one_has_left(shared: str, folder: Path, plain: Any) -> None:
    open_table(shared, cache=CacheConfig(directory=str(folder))).snapshot().plan()
    script = f"""
import deltalakedb as dl
table = dl.connect_to_table({table_uri(shared)!r}, cache=dl.CacheConfig(directory={str(folder)!r}))
print(table.snapshot().plan().num_rows, table.get_cache_stats())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.startswith(f"{len(plain)} CacheStats(hits=1, misses=0, entries=1"), done


def test_what_a_configuration_says_is_done(
    shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "chosen"
    monkeypatch.setenv("DL_CACHE_DIR", str(folder))
    off = ConfigFactory.create_cache_config({"enable_caching": False, "cache_size": 5})
    table = dl.connect_to_table(table_uri(shared), cache=off)
    table.snapshot().plan()
    assert not folder.exists()
    assert table.get_cache_stats() == CacheStats()
    two = ConfigFactory.create_cache_config({"enable_caching": True, "cache_size": 2})
    table = dl.connect_to_table(table_uri(shared), dl.SqlConfig(shared), cache=two)
    for version in (18, 19, 20):
        table.snapshot(version).plan()
    assert len(lists(folder)) == table.get_cache_stats().entries == 2
    assert dl.connect_to_table(table_uri(shared)).get_cache_stats().entries == 2


# From version to version


@pytest.fixture
def grown(tmp_path: Path, catalog_url: str) -> GrowingTable:
    made = GrowingTable(tmp_path, catalog_url)
    made.commit(*first_actions(), *(add(f"f{n}", least=10 * n) for n in range(40)))
    made.imported()
    return made


def test_a_list_advances_by_what_changed(grown: GrowingTable, folder: Path) -> None:
    table = grown.open(cache=CacheConfig(directory=str(folder)))
    assert table.snapshot().plan().num_rows == 40
    grown.commit(remove("f3"), add("g1", "2024-06-01"), add("g2", "2024-06-01"))
    grown.commit(remove("g2", "2024-06-01"), remove("f4"))
    # Gone and there again, as another life of the same file.
    grown.commit(remove("f5"))
    grown.commit(add("f5", size=7), add("f6", size=8))
    grown.imported()
    snapshot = table.snapshot()
    with asked(table) as statements:
        found = in_order(snapshot.plan())
    assert found == in_order(grown.open().snapshot().plan())
    assert len(found) == 39
    [added] = statements.streams
    assert "added_version > 0" in added
    # The older list stays that of its version.
    assert in_order(table.snapshot(0).plan()) == in_order(grown.open().snapshot(0).plan())
    # A version between is made of the newest that is older.
    with asked(table) as statements:
        middle = in_order(table.snapshot(2).plan())
    assert middle == in_order(grown.open().snapshot(2).plan())
    assert "added_version > 0" in statements.streams[0]


def test_a_list_that_has_little_left_is_read_anew(
    grown: GrowingTable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached_rows, "ADVANCED_BY", 3)
    table = grown.open(cache=CacheConfig(directory=str(folder)))
    table.snapshot().plan()
    grown.commit(*(remove(f"f{n}") for n in range(4)))
    grown.imported()
    with asked(table) as statements:
        found = in_order(table.snapshot().plan())
    assert found == in_order(grown.open().snapshot().plan())
    [stream] = statements.streams
    assert "added_version >" not in stream


def test_a_rebuilt_table_has_lists_of_its_own(grown: GrowingTable, folder: Path) -> None:
    table = grown.open(cache=CacheConfig(directory=str(folder)))
    table.snapshot().plan()
    grown.rewrite(0, *first_actions(), add("other"))
    grown.imported(rebuild=True)
    assert table.snapshot().plan()["path"].to_pylist() == ["day=2024-05-01/other.parquet"]


# What is damaged, interrupted, in the way


def _truncate(path: Path) -> None:
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _flip(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 255]))


def _of_another_boot(path: Path) -> None:
    path.rename(path.with_name(path.name.replace(cache_file.boot_id(), "0")))


def _of_another_make(path: Path) -> None:
    """As a program that keeps other columns would leave it."""
    entry = cache_file.CacheFile.at(path)
    assert entry is not None
    entry.remove()
    other = pa.table({"path": ["a"], "size": [1]})
    batches = iter(other.to_batches())
    cache_file.write_list(path.parent, entry.load, entry.version, batches, other.schema)


@pytest.mark.parametrize(
    "damage",
    [
        _truncate,
        _flip,
        _of_another_boot,
        _of_another_make,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(os.urandom(path.stat().st_size)),
    ],
)
@pytest.mark.parametrize("fresh", [True, False])
def test_a_damaged_list_is_dropped_and_made_again(
    shared: str, folder: Path, plain: Any, damage: Callable[[Path], None], fresh: bool
) -> None:
    config = CacheConfig(directory=str(folder))
    table = open_table(shared, cache=config)
    table.snapshot().plan()
    [path] = lists(folder)
    damage(path)
    if fresh:
        table = open_table(shared, cache=config)
    assert in_order(table.snapshot().plan()) == plain
    [again] = lists(folder)
    assert again != path
    assert open_table(shared, cache=config).snapshot().plan().num_rows == len(plain)
    assert [p for p in folder.rglob("*") if p.is_file() and p.stem != again.stem] == []


_KILLED = """
import os, signal, sys
import deltalakedb as dl
from deltalakedb.planning.cache import FileCache

bounded = FileCache._bounded

def killed(self, batches, row):
    yield from bounded(self, batches, row)
    os.kill(os.getpid(), signal.SIGKILL)

FileCache._bounded = killed
dl.connect_to_table(sys.argv[1], cache=dl.CacheConfig(directory=sys.argv[2])).snapshot().plan()
"""


def test_a_killed_writer_leaves_nothing_that_counts(shared: str, folder: Path, plain: Any) -> None:
    command = [sys.executable, "-c", _KILLED, table_uri(shared), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    [left] = [path for path in folder.rglob("*") if path.is_file()]
    assert left.stat().st_size > 0
    assert lists(folder) == []
    table = open_table(shared, cache=CacheConfig(directory=str(folder)))
    assert table.get_cache_stats().entries == 0
    assert in_order(table.snapshot().plan()) == plain
    assert not left.exists()


def test_a_living_writer_is_left_alone(shared: str, folder: Path) -> None:
    config = CacheConfig(directory=str(folder))
    table = open_table(shared, cache=config)
    snapshot = table.snapshot(19)
    snapshot.plan()
    parent = lists(folder)[0].parent
    schema = pa.schema([("path", pa.string())])
    seen: list[Path] = []

    def slow() -> Iterator[pa.RecordBatch]:
        table.snapshot(20).plan()  # which sweeps
        seen.extend(path for path in parent.iterdir() if path.name.startswith(".writing"))
        yield pa.record_batch({"path": ["a"]})

    made = cache_file.write_list(parent, 99, 1, slow(), schema)
    assert len(seen) == 1
    found = made.map(schema)
    assert found is not None
    assert found.num_rows == 1


def _list(uri: str, folder: str, start: Any, answer: Any) -> None:
    table = dl.connect_to_table(uri, cache=CacheConfig(directory=folder))
    start.wait(60)
    answer.put(sum(f.size for f in table.snapshot().files))


def test_two_processes_may_list_at_once(shared: str, folder: Path, plain: Any) -> None:
    context = multiprocessing.get_context("fork")
    start, answer = context.Event(), context.SimpleQueue()
    arguments = (table_uri(shared), str(folder), start, answer)
    children = [context.Process(target=_list, args=arguments) for _ in range(2)]
    for child in children:
        child.start()
    start.set()
    expected = sum(row["size"] for row in plain)
    assert [answer.get() for _ in children] == [expected, expected]
    for child in children:
        child.join(120)
        assert child.exitcode == 0
    assert 1 <= len(lists(folder)) <= 2
    assert not list(folder.rglob(".writing*"))


def test_threads_make_one_list(shared: str, folder: Path, plain: Any) -> None:
    table = open_table(shared, cache=CacheConfig(directory=str(folder)))
    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda: counts.append(table.snapshot().plan().num_rows))
        for _ in range(4)
    ]
    with asked(table) as statements:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert counts == [len(plain)] * 4
    assert len(statements.streams) == 1


@pytest.mark.parametrize("place", ["a-file", "/proc/nowhere", "/dev/null/lists"])
def test_where_nothing_can_be_written_all_works_without(
    shared: str, tmp_path: Path, plain: Any, place: str
) -> None:
    (tmp_path / "a-file").write_text("")
    directory = place if place.startswith("/") else str(tmp_path / place)
    table = open_table(shared, cache=CacheConfig(directory=directory))
    for _ in range(2):
        assert in_order(table.snapshot().plan()) == plain
    stats = table.get_cache_stats()
    assert (stats.hits, stats.misses, stats.entries, stats.bytes) == (0, 2, 0, 0)


def test_a_full_disk_is_no_reason_to_fail(shared: str, folder: Path, plain: Any) -> None:
    # Beyond this size the kernel refuses to let this process write, as a full disk would.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    table = open_table(shared, cache=CacheConfig(directory=str(folder)))
    snapshot = table.snapshot()
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        assert in_order(snapshot.plan()) == plain
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert [path for path in folder.rglob("*") if path.is_file()] == []


# Bounds


def versions_kept(folder: Path) -> list[int]:
    found = (cache_file.CacheFile.at(path) for path in lists(folder))
    return sorted(entry.version for entry in found if entry is not None)


def use(table: Table, *versions: int) -> None:
    for version in versions:
        table.snapshot(version).plan()
        time.sleep(0.02)  # a tick of the file system's clock


@pytest.mark.parametrize(
    ("policy", "kept"),
    [("lru", [3, 4]), ("lfu", [2, 4]), ("fifo", [3, 4])],
)
def test_the_policy_chooses_who_leaves(
    shared: str, folder: Path, policy: str, kept: list[int]
) -> None:
    config = CacheConfig(max_size=2, eviction_policy=policy, directory=str(folder))  # type: ignore[arg-type]
    table = open_table(shared, cache=config)
    use(table, 2, 3, 2, 2, 3)
    assert versions_kept(folder) == [2, 3]
    use(table, 4)
    assert versions_kept(folder) == kept
    if policy == "lru":
        use(table, 3, 5)
        assert versions_kept(folder) == [3, 5]
    if policy == "fifo":
        use(table, 3, 5)
        assert versions_kept(folder) == [4, 5]


def test_old_lists_are_not_used(shared: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = CacheConfig(ttl_seconds=600, directory=str(folder))
    table = open_table(shared, cache=config)
    use(table, 20, 20)
    assert table.get_cache_stats().hits == 1
    [first] = lists(folder)
    made = cache_file.CacheFile.made.fget
    aged = property(lambda entry: made(entry) - (601 if entry.path == first else 0))
    monkeypatch.setattr(cache_file.CacheFile, "made", aged)
    use(table, 20)
    assert table.get_cache_stats().misses == 2
    [second] = lists(folder)
    assert first != second


def test_bytes_are_bounded(shared: str, folder: Path) -> None:
    table = open_table(shared, cache=CacheConfig(directory=str(folder)))
    use(table, 20)
    size = table.get_cache_stats().bytes
    table = open_table(shared, cache=CacheConfig(max_bytes=2 * size, directory=str(folder)))
    use(table, 18, 19, 17)
    assert versions_kept(folder) == [17, 19]
    assert table.get_cache_stats().bytes <= 2 * size


def test_a_list_that_would_not_fit_pushes_none_out(shared: str, folder: Path, plain: Any) -> None:
    table = open_table(shared, cache=CacheConfig(directory=str(folder)))
    use(table, 1)
    small = table.get_cache_stats().bytes
    table = open_table(shared, cache=CacheConfig(max_bytes=small * 2, directory=str(folder)))
    assert in_order(table.snapshot().plan()) == plain
    assert versions_kept(folder) == [1]
    with asked(table) as statements:
        assert in_order(table.snapshot().plan()) == plain
    assert len(statements.streams) <= 1, "it is tried once"


def test_what_is_mapped_can_be_removed_by_others(shared: str, folder: Path, plain: Any) -> None:
    config = CacheConfig(directory=str(folder))
    table = open_table(shared, cache=config)
    mapped = table.snapshot().plan()
    for path in lists(folder):
        path.unlink()
    assert in_order(mapped) == plain
    assert in_order(table.snapshot().plan()) == plain
    assert table.get_cache_stats().misses == 2


def test_only_the_user_can_look_into_it(shared: str, folder: Path) -> None:
    open_table(shared, cache=CacheConfig(directory=str(folder))).snapshot().plan()
    [path] = lists(folder)
    assert path.parent.stat().st_mode & 0o077 == 0


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "dl-cache"]


@pytest.fixture
def making() -> Callable[[], list[threading.Thread]]:
    """Threads that make lists, but those of tests before."""
    others = threads()
    return lambda: [thread for thread in threads() if thread not in others]


def test_a_large_list_is_made_in_the_background(
    shared: str, folder: Path, plain: Any, making: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FileCache, "foreground_files", 0)
    table = open_table(shared, cache=CacheConfig(directory=str(folder)))
    may_write = threading.Event()
    bounded = FileCache._bounded

    def waiting(self: FileCache, batches: Any, row: Any) -> Iterator[pa.RecordBatch]:
        for batch in bounded(self, batches, row):
            yield batch
            assert may_write.wait(60)

    monkeypatch.setattr(FileCache, "_bounded", waiting)
    assert in_order(table.snapshot().plan()) == plain
    assert sum(f.size for f in table.snapshot().files) == sum(row["size"] for row in plain)
    assert len(making()) == 1
    assert not lists(folder)
    may_write.set()
    until(lambda: lists(folder) and not making())
    with asked(table) as statements:
        assert in_order(table.snapshot().plan()) == plain
    assert len(statements) == 1
    assert not statements.streams


@pytest.mark.parametrize("shared", ["sqlite"], indirect=True)
def test_a_fork_gives_up_what_a_child_would_be_harmed_by(
    shared: str, folder: Path, plain: Any, making: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FileCache, "foreground_files", 0)
    table = open_table(shared, cache=CacheConfig(directory=str(folder)))
    begun = threading.Event()

    def endless(self: FileCache, batches: Any, row: Any) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            while True:
                begun.set()
                yield batch.slice(0, 0)

    with monkeypatch.context() as patched:
        patched.setattr(FileCache, "_bounded", endless)
        assert in_order(table.snapshot().plan()) == plain
        assert begun.wait(60)
        child = os.fork()
        if not child:
            code = 1
            try:
                found = table.snapshot().plan("region = 'us'", ["path"]).num_rows
                code = int(found != sum('"us"' in row["partition_values"] for row in plain))
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        until(lambda: not making())
    assert not [path for path in folder.rglob("*") if path.is_file()]
    assert in_order(table.snapshot().plan()) == plain
    until(lambda: lists(folder) and not making())


def test_the_interpreter_ends_when_its_list_is_made(shared: str, folder: Path) -> None:
    script = """
import sys
import deltalakedb as dl
from deltalakedb.planning.cache import FileCache
FileCache.foreground_files = 0
table = dl.connect_to_table(sys.argv[1], cache=dl.CacheConfig(directory=sys.argv[2]))
print(table.snapshot().to_arrow().num_rows)
"""
    command = [sys.executable, "-c", script, table_uri(shared), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(lists(folder)) == 1
    assert not list(folder.rglob(".writing*"))
