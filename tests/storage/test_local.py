"""Files below a directory as a store."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.storage.open import open_store
from deltalakedb.storage.pieces import Held, StoredFile, compare
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import ObjectStore

ODD_NAMES = [
    "a b", "100%25", "%41", "x#y", "q?v", "q?versionId=3", "st*r", "[x]", "p+q", "ünï✓", "a'\"b",
    "k=v%2F1/part-0.parquet", "a:b/c", "x\\y", "new\nline", ".hidden", "~tilde",
]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(StoreSpec(str(tmp_path)))


def test_names_are_literal(store: ObjectStore, tmp_path: Path) -> None:
    for name in ODD_NAMES:
        assert store.put_if_absent(name, name.encode())
        assert store.exists(name)
        assert store.read(name) == name.encode()
        assert (tmp_path / name).read_bytes() == name.encode()
    assert store.read_many(ODD_NAMES) == [name.encode() for name in ODD_NAMES]
    assert [info.name for info in store.list(recursive=True)] == sorted(ODD_NAMES)


def test_a_plain_path_is_literal_and_a_file_url_is_decoded_once(tmp_path: Path) -> None:
    (tmp_path / "a%20b").mkdir()
    (tmp_path / "a b").mkdir()
    (tmp_path / "a%20b" / "literal").touch()
    (tmp_path / "a b" / "decoded").touch()
    literal = open_store(StoreSpec(f"{tmp_path}/a%20b")).list()
    decoded = open_store(StoreSpec(f"file://{tmp_path}/a%20b")).list()
    encoded = open_store(StoreSpec(f"file://{tmp_path}/a%2520b")).list()
    assert [each.name for each in literal] == ["literal"]
    assert [each.name for each in decoded] == ["decoded"]
    assert [each.name for each in encoded] == ["literal"]


def test_list_one_level_sorted_with_sizes_and_times(store: ObjectStore, tmp_path: Path) -> None:
    for name in ("_delta_log/2.json", "_delta_log/1.json", "_delta_log/_sidecars/s", "data"):
        store.put_if_absent(name, name.encode())
    os.utime(tmp_path / "_delta_log/1.json", ns=(0, 1_700_000_000_123_999_999))
    listed = store.list("_delta_log/")
    assert [each.name for each in listed] == ["_delta_log/1.json", "_delta_log/2.json"]
    assert listed[0].size == len("_delta_log/1.json")
    assert listed[0].modified_ms == 1_700_000_000_123
    assert [each.name for each in store.list()] == ["data"]


def test_list_prefix_start_after_and_recursive(store: ObjectStore) -> None:
    names = ["a/1", "a/2", "a/3", "a/20/x", "ab/1", "b"]
    for name in names:
        store.put_if_absent(name, b"")

    def listed(prefix: str, start_after: str | None = None, recursive: bool = False) -> list[str]:
        return [each.name for each in store.list(prefix, start_after, recursive=recursive)]

    assert listed("a/2") == ["a/2"]
    assert listed("a/", "a/1") == ["a/2", "a/3"]
    assert listed("a/", "a/3") == []
    assert listed("a/2", recursive=True) == ["a/2", "a/20/x"]
    assert listed("a", recursive=True) == ["a/1", "a/2", "a/20/x", "a/3", "ab/1"]
    assert listed("", "a/20", recursive=True) == ["a/20/x", "a/3", "ab/1", "b"]
    assert listed("zzz") == []


def test_links(store: ObjectStore, tmp_path: Path) -> None:
    store.put_if_absent("real/file", b"12345")
    (tmp_path / "link").symlink_to("real/file")
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert [(each.name, each.size) for each in store.list(recursive=True)] == [
        ("link", 5),
        ("real/file", 5),
    ]


def test_read_range(store: ObjectStore) -> None:
    store.put_if_absent("x", b"0123456789")
    assert store.read_range("x", 2, 3) == b"234"
    assert store.read_range("x", 8, 100) == b"89"
    assert store.read_range("x", 10, 1) == b""
    assert store.read_range("x", 3, 0) == b""


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 1_000_003])
def test_read_whole_of_any_size(store: ObjectStore, size: int) -> None:
    data = os.urandom(size)
    store.put_if_absent("x", data)
    assert store.read("x") == data
    assert store.read_many(["x", "x"]) == [data, data]


def test_missing_things_are_not_found(store: ObjectStore, tmp_path: Path) -> None:
    store.put_if_absent("file", b"")
    attempts: list[Callable[[], object]] = [
        lambda: store.read("none"),
        lambda: store.read("file/below"),
        lambda: store.read_range("none", 0, 1),
        lambda: store.read_many(["file", "none"]),
        lambda: store.open_input("none"),
        lambda: store.list("none/"),
        lambda: open_store(StoreSpec(str(tmp_path / "none"))).list(),
    ]
    for attempt in attempts:
        with pytest.raises(DeltaLakeError, match="does not exist") as caught:
            attempt()
        assert caught.value.kind is DeltaLakeErrorKind.NOT_FOUND
        assert str(tmp_path) in caught.value.message
    assert not store.exists("none")
    assert not store.exists("file/below")
    (tmp_path / "directory").mkdir()
    assert not store.exists("directory")


def test_a_directory_read_as_a_file_is_a_storage_error(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(DeltaLakeError, match="it is a directory") as caught:
        store.read("directory")
    assert caught.value.kind is DeltaLakeErrorKind.STORAGE_ERROR


def test_denied_access_is_an_authentication_error(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "x").write_bytes(b"")
    # In a process that gives up being root, who may read everything.
    script = (
        "import os, sys\n"
        "from deltalakedb.storage.spec import StoreSpec\n"
        "from deltalakedb.storage.open import open_store\n"
        "from deltalakedb.error import DeltaLakeError\n"
        "store = open_store(StoreSpec(sys.argv[1]))\n"
        "os.chmod(sys.argv[1], 0)\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "for attempt in (lambda: store.list(), lambda: store.read('x')):\n"
        "    try: attempt()\n"
        "    except DeltaLakeError as error: print(error.kind.name)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "closed")], capture_output=True, text=True
    )
    os.chmod(tmp_path / "closed", 0o755)
    assert result.stdout.split() == ["AUTHENTICATION_ERROR"] * 2, result.stderr


def test_put_if_absent_keeps_the_first(store: ObjectStore, tmp_path: Path) -> None:
    assert store.put_if_absent("deep/er/x", b"first")
    assert not store.put_if_absent("deep/er/x", b"second")
    assert store.read("deep/er/x") == b"first"
    assert os.listdir(tmp_path / "deep/er") == ["x"]


def test_put_if_absent_has_one_winner_and_is_never_seen_in_part(store: ObjectStore) -> None:
    size = 2_000_000
    rounds = 5
    for number in range(rounds):
        name = f"x{number}"
        barrier = threading.Barrier(5)
        won: list[int] = []
        seen: list[bytes] = []

        def put(
            who: int, name: str = name, barrier: threading.Barrier = barrier, won: list[int] = won
        ) -> None:
            barrier.wait()
            if store.put_if_absent(name, bytes([who]) * size):
                won.append(who)

        def watch(
            name: str = name, barrier: threading.Barrier = barrier, seen: list[bytes] = seen
        ) -> None:
            barrier.wait()
            while not store.exists(name):
                assert name not in [each.name for each in store.list() if each.size != size]
            seen.append(store.read(name))

        threads = [threading.Thread(target=put, args=(who,)) for who in range(4)]
        threads.append(threading.Thread(target=watch))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert seen == [bytes(won) * size]
    assert [each.name for each in store.list()] == [f"x{number}" for number in range(rounds)]


def test_a_writer_killed_before_the_end_leaves_nothing_to_see(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "os.link = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from deltalakedb.storage.spec import StoreSpec\n"
        "from deltalakedb.storage.open import open_store\n"
        "open_store(StoreSpec(sys.argv[1])).put_if_absent('x', b'data')\n"
    )
    result = subprocess.run([sys.executable, "-c", script, str(tmp_path)])
    assert result.returncode == -9
    store = open_store(StoreSpec(str(tmp_path)))
    assert store.list() == []
    assert not store.exists("x")
    assert store.put_if_absent("x", b"other")


def test_open_input_is_seekable(store: ObjectStore) -> None:
    store.put_if_absent("x", b"0123456789")
    with store.open_input("x") as file:
        assert file.size() == 10
        file.seek(7)
        assert file.read() == b"789"


def test_arrow_filesystem_reads_odd_names(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "k=a%2Fb c").mkdir()
    pq.write_table(pa.table({"a": [1, 2, 3]}), tmp_path / "k=a%2Fb c" / "part #1?.parquet")
    filesystem, root = store.arrow_filesystem()
    dataset = ds.dataset([f"{root}/k=a%2Fb c/part #1?.parquet"], filesystem=filesystem)
    assert dataset.to_table()["a"].to_pylist() == [1, 2, 3]


def test_resolve(store: ObjectStore, tmp_path: Path) -> None:
    assert store.resolve("a%20b/c") == (store, "a%20b/c")
    assert store.resolve("x:y/part") == (store, "x:y/part")
    for absolute in (f"{tmp_path}/in%20side", f"file:{tmp_path}/in%20side"):
        assert store.resolve(absolute) == (store, "in%20side")
    outside, name = store.resolve("file:///else where/100%25")
    assert outside.spec.url == "/"
    assert name == "else where/100%25"
    assert outside.describe(name) == "/else where/100%25"
    assert store.resolve("/other")[0] is outside
    with pytest.raises(DeltaLakeError, match="not supported") as caught:
        store.resolve("gs://bucket/x")
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT
    with pytest.raises(DeltaLakeError, match="not supported"):
        store.resolve("file://other-machine/x")


def test_the_root_directory_is_a_store(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    root = open_store(StoreSpec("/"))
    name = str(tmp_path / "x").lstrip("/")
    assert root.read(name) == b"1"
    assert root.arrow_filesystem()[1] == ""
    assert [each.name for each in root.list(name)] == [name]


def test_a_store_pickles_as_its_spec(store: ObjectStore) -> None:
    store.put_if_absent("x", b"1")
    copy = pickle.loads(pickle.dumps(store))
    assert copy.spec == store.spec
    assert copy.read("x") == b"1"


def test_nothing_heavy_is_imported_for_local_files() -> None:
    script = (
        "import sys\n"
        "from deltalakedb.storage.spec import StoreSpec\n"
        "from deltalakedb.storage.open import open_store\n"
        "open_store(StoreSpec('/')).list()\n"
        "print(sorted({'pyarrow', 'fsspec', 's3fs', 'numpy', 'sqlalchemy'} & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr


def test_many_small_files_cost_little_more_than_their_system_calls(
    store: ObjectStore, tmp_path: Path
) -> None:
    names = [f"{number:020d}.json" for number in range(2000)]
    for name in names:
        (tmp_path / name).write_bytes(b"x" * 700)

    def seconds(work: object) -> float:
        assert callable(work)
        times = []
        for _ in range(3):
            start = time.process_time()
            work()
            times.append(time.process_time() - start)
        return min(times)

    listing = seconds(store.list)
    bare_listing = seconds(lambda: [entry.stat() for entry in os.scandir(tmp_path)])
    reading = seconds(lambda: store.read_many(names))
    bare_reading = seconds(lambda: [(tmp_path / name).read_bytes() for name in names])
    assert listing < 4 * bare_listing + 0.05
    assert reading < 1.5 * bare_reading + 0.05


def test_put_replaces_delete_removes_and_sync_takes_them(store: ObjectStore) -> None:
    store.put("new/x", b"1")
    store.put("new/x", b"22")
    with store.open_output("new/deep/y") as file:
        file.write(b"abc")
    store.sync(["new/x", "new/deep/y"])
    assert [(each.name, each.size) for each in store.list(recursive=True)] == [
        ("new/deep/y", 3),
        ("new/x", 2),
    ]
    store.delete(["new/x", "new/none"])
    assert not store.exists("new/x")
    with pytest.raises(DeltaLakeError) as caught:
        store.sync(["new/x"])
    assert caught.value.kind is DeltaLakeErrorKind.NOT_FOUND


def _break_off(file: pa.NativeFile, size: int) -> None:
    file.write(bytes(size))
    raise KeyError


def test_what_is_given_up_leaves_nothing(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(KeyError), store.open_output("x", whole=True) as file:
        _break_off(file, 3)
    file = store.open_output("x", whole=True)
    file.write(b"abc")
    del file  # as by a writer that an exception let go
    assert not [each for each in tmp_path.rglob("*") if each.is_file()]


def test_pieces(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too long to be held is put, and compared, some bytes at a time."""
    monkeypatch.setattr("deltalakedb.storage.pieces.PIECE_BYTES", 4)
    store.put("long", b"0123456789")
    assert store.put_if_absent("log/x", StoredFile(store, "long", 10))
    assert not store.put_if_absent("log/x", StoredFile(store, "long", 10))
    assert store.read("log/x") == b"0123456789"
    pieces = StoredFile(store, "long", 10)
    for there, held in [
        (b"0123456789", Held.SAME),
        (b"012345", Held.TORN),
        (b"", Held.TORN),
        (b"01234567890", Held.OTHER),
        (b"0123x", Held.OTHER),
    ]:
        store.put("there", there)
        assert compare(store, "there", pieces) is held
        assert compare(store, "there", b"0123456789") is held
    store.put("there", pieces)
    assert store.read("there") == b"0123456789"


def test_pieces_that_end_early_leave_nothing(store: ObjectStore, tmp_path: Path) -> None:
    class Broken:
        size = 10

        def __iter__(self) -> Iterator[bytes]:
            yield b"0123"
            raise DeltaLakeError(DeltaLakeErrorKind.MIRROR_CONFLICT, "isn't what it was")

    for put in (store.put_if_absent, store.put):
        with pytest.raises(DeltaLakeError, match="isn't what it was"):
            put("x", Broken())
    assert os.listdir(tmp_path) == []
