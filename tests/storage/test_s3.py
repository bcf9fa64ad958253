"""A bucket as a store, against a server that speaks S3."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.storage.open import open_store
from deltalakedb.storage.pieces import Held, StoredFile, compare
from deltalakedb.storage.s3.uploads import ONE_REQUEST
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import ObjectStore
from tests.cli.commands import python
from tests.servers.s3 import PAGE, S3Bucket

ODD_NAMES = [
    "a b", "100%25", "%41", "x#y", "q?v", "q?versionId=3", "st*r", "[x]", "p+q", "ünï✓", "a'\"b",
    "k=v%2F1/part-0.parquet", "a:b/c", "x&y=z", "semi;colon",
]  # fmt: skip


@pytest.fixture
def store(s3: S3Bucket) -> ObjectStore:
    return open_store(StoreSpec(s3.url("table"), s3.options))


def test_names_are_literal(store: ObjectStore, s3: S3Bucket) -> None:
    for name in ODD_NAMES:
        assert store.put_if_absent(name, name.encode())
        assert store.exists(name)
        assert store.read(name) == name.encode()
        assert s3.get(f"table/{name}") == name.encode()
    assert store.read_many(ODD_NAMES) == [name.encode() for name in ODD_NAMES]
    assert [info.name for info in store.list(recursive=True)] == sorted(ODD_NAMES)


def test_a_place_with_odd_characters(s3: S3Bucket) -> None:
    store = open_store(StoreSpec(s3.url("a%20b #1?"), s3.options))
    assert store.put_if_absent("x", b"1")
    assert s3.names() == ["a%20b #1?/x"]
    assert [each.name for each in store.list()] == ["x"]


def test_list(store: ObjectStore, s3: S3Bucket) -> None:
    for name in ("a/1", "a/2", "a/3", "a/20/x", "ab/1", "b", "a/"):
        s3.put(f"table/{name}", name.encode())
    s3.put("tables-neighbour", b"")

    def listed(prefix: str, start_after: str | None = None, recursive: bool = False) -> list[str]:
        return [each.name for each in store.list(prefix, start_after, recursive=recursive)]

    assert listed("") == ["b"]
    assert listed("a/") == ["a/1", "a/2", "a/3"]
    assert listed("a/2") == ["a/2"]
    assert listed("a/", "a/1") == ["a/2", "a/3"]
    assert listed("a/", "a/3") == []
    assert listed("a", recursive=True) == ["a/1", "a/2", "a/20/x", "a/3", "ab/1"]
    assert listed("", "a/20", recursive=True) == ["a/20/x", "a/3", "ab/1", "b"]
    assert listed("zzz") == []
    (info,) = store.list("b")
    assert info.size == 1
    head = s3.client.head_object(Bucket=s3.name, Key="table/b")
    assert info.modified_ms == int(head["LastModified"].timestamp() * 1000)


@pytest.mark.parametrize("first", ["0", "!", "~", "é", "a"])
def test_a_prefix_may_be_any_character(store: ObjectStore, first: str) -> None:
    names = [f"log/{first}1", "log/a.json"]
    for name in names:
        store.put_if_absent(name, b"")
    assert names[0] in [each.name for each in store.list(f"log/{first}", recursive=True)]


def test_list_of_more_than_a_page(store: ObjectStore) -> None:
    count = 2 * PAGE + 5
    for number in range(count):
        store.put(f"log/{number:020d}.json", b"x")
    store.put("log/_sidecars/x", b"x")
    names = [each.name for each in store.list("log/", f"log/{2:020d}.json")]
    assert names == [f"log/{number:020d}.json" for number in range(3, count)]
    assert len(store.list("log/")) == count
    assert [each.name for each in store.list(f"log/{150:019d}")] == []
    assert [each.name for each in store.list(f"log/{15:019d}")] == [
        f"log/{number:020d}.json" for number in range(150, 160)
    ]


def test_names_with_an_empty_segment_are_refused(store: ObjectStore) -> None:
    for attempt in (lambda: store.read("a//b"), lambda: store.put("a//b", b"")):
        with pytest.raises(DeltaLakeError, match="empty segment") as caught:
            attempt()
        assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT


def test_put_replaces_and_delete_removes(store: ObjectStore) -> None:
    store.put("a/x", b"1")
    store.put("a/x", b"2")
    assert store.read("a/x") == b"2"
    store.sync(["a/x"])
    store.delete(["a/x", "a/none"])
    assert not store.exists("a/x")


def test_open_output_writes_any_length(store: ObjectStore) -> None:
    block = bytes(range(256)) * 4096
    with store.open_output("large") as file:
        for _ in range(15):
            file.write(block)
    with store.open_output("small") as file:
        file.write(b"abc")
    assert store.read("large") == block * 15
    assert store.read("small") == b"abc"


def _break_off(file: pa.NativeFile, size: int) -> None:
    file.write(bytes(size))
    raise KeyError


@pytest.mark.parametrize("size", [3, 12 << 20])
def test_what_is_given_up_leaves_nothing(store: ObjectStore, s3: S3Bucket, size: int) -> None:
    with pytest.raises(KeyError), store.open_output("x") as file:
        _break_off(file, size)
    file = store.open_output("y")
    file.write(bytes(size))
    del file  # as by a writer that an exception let go
    assert not s3.names()
    left = s3.client.list_multipart_uploads(Bucket=s3.name).get("Uploads", [])
    assert [each["Key"] for each in left] == (["table/y"] if size > ONE_REQUEST else [])
    if left:
        begun = left[0]["Initiated"].timestamp() * 1000
        for before, count in ((begun - 60_000, 1), (begun + 60_000, 0)):
            open_store(StoreSpec(s3.url("tab"), s3.options)).remove_unfinished(int(begun + 60_000))
            store.remove_unfinished(int(before))
            uploads = s3.client.list_multipart_uploads(Bucket=s3.name).get("Uploads", [])
            assert len(uploads) == count


def test_read_range(store: ObjectStore) -> None:
    store.put_if_absent("x", b"0123456789")
    assert store.read_range("x", 2, 3) == b"234"
    assert store.read_range("x", 8, 100) == b"89"
    assert store.read_range("x", 10, 1) == b""
    assert store.read_range("x", 3, 0) == b""


def test_read_many_keeps_the_order(store: ObjectStore) -> None:
    names = [f"{number}" for number in range(40)]
    for name in names:
        store.put_if_absent(name, name.encode() * int(name))
    wanted = names[::-1] + names[5:7]
    for concurrency in (1, 7, 64):
        contents = store.read_many(wanted, concurrency)
        assert contents == [name.encode() * int(name) for name in wanted]
    assert store.read_many([]) == []


_AT_ITS_END = """
import atexit, json, sys
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
url, options = json.loads(sys.argv[1])
store = open_store(StoreSpec(url, options))
assert len(store.read_many(["0", "1", "2"])) == 3
atexit.register(lambda: print(b"".join(store.read_each(["0", "1", "2"])).decode()))
"""


def test_many_are_read_by_a_process_that_ends(store: ObjectStore, s3: S3Bucket) -> None:
    """When pools of threads take no work any more."""
    for name in "012":
        store.put(name, name.encode())
    told = json.dumps([s3.url("table"), s3.options])
    done = python("-c", _AT_ITS_END, told)
    assert (done.stdout.strip(), done.stderr) == ("012", "")


def test_missing_things_are_not_found(store: ObjectStore, s3: S3Bucket) -> None:
    store.put_if_absent("file", b"")
    nowhere = open_store(StoreSpec("s3://no-such-bucket-here/x", s3.options))
    attempts: list[tuple[Callable[[], object], str]] = [
        (lambda: store.read("none"), "table/none"),
        (lambda: store.read_range("none", 0, 1), "table/none"),
        (lambda: store.read_many(["file", "none"]), "table/none"),
        (lambda: store.open_input("none"), "table/none"),
        (lambda: store.list("none/"), "table/none"),
        (lambda: store.list("none/x", "none/a"), "table/none"),
        (lambda: open_store(StoreSpec(s3.url("none"), s3.options)).list(), "none"),
        (lambda: nowhere.list(), "bucket 'no-such-bucket-here'"),
        (lambda: nowhere.read("x"), "bucket 'no-such-bucket-here'"),
        (lambda: nowhere.put_if_absent("x", b""), "bucket 'no-such-bucket-here'"),
    ]
    for attempt, place in attempts:
        with pytest.raises(DeltaLakeError, match="does not exist") as caught:
            attempt()
        assert caught.value.kind is DeltaLakeErrorKind.NOT_FOUND
        assert place in caught.value.message
    assert not store.exists("none")
    assert open_store(StoreSpec(s3.url(), s3.options)).list("f") == []


def test_an_empty_bucket_is_there(s3: S3Bucket) -> None:
    assert open_store(StoreSpec(s3.url(), s3.options)).list() == []


def test_put_if_absent_has_one_winner(store: ObjectStore) -> None:
    barrier = threading.Barrier(8)
    won: list[int] = []

    def put(who: int) -> None:
        barrier.wait()
        if store.put_if_absent("race", bytes([who]) * 1000):
            won.append(who)

    threads = [threading.Thread(target=put, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.read("race") == bytes(won) * 1000


def test_credentials_from_the_environment(s3: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.put("table/x", b"1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.options["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.options["secret"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.options["endpoint_url"])
    monkeypatch.setenv("AWS_REGION", s3.options["region"])
    assert open_store(StoreSpec(s3.url("table"))).read("x") == b"1"


def test_no_credentials_is_an_authentication_error(
    s3: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    endpoint = {"endpoint_url": s3.options["endpoint_url"]}
    for options in (endpoint, {**endpoint, "key": "only"}, {**endpoint, "profile": "none"}):
        with pytest.raises(DeltaLakeError, match="anon=true") as caught:
            open_store(StoreSpec(s3.url("table"), options)).list()
        assert caught.value.kind is DeltaLakeErrorKind.AUTHENTICATION_ERROR
    s3.put("x", b"1")
    assert open_store(StoreSpec(s3.url(), {**endpoint, "anon": "true"})).list()[0].name == "x"


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("AccessDenied", 403, DeltaLakeErrorKind.AUTHENTICATION_ERROR),
        ("InvalidAccessKeyId", 403, DeltaLakeErrorKind.AUTHENTICATION_ERROR),
        ("SignatureDoesNotMatch", 403, DeltaLakeErrorKind.AUTHENTICATION_ERROR),
        ("ExpiredToken", 400, DeltaLakeErrorKind.AUTHENTICATION_ERROR),
        ("PermanentRedirect", 301, DeltaLakeErrorKind.STORAGE_ERROR),
        ("NotImplemented", 501, DeltaLakeErrorKind.STORAGE_ERROR),
        ("SomethingElse", 400, DeltaLakeErrorKind.STORAGE_ERROR),
    ],
)
def test_refusals_of_the_server(code: str, status: int, kind: DeltaLakeErrorKind) -> None:
    with answering(code, status) as endpoint:
        options = {"endpoint_url": endpoint, "key": "a-key", "secret": "s3cr3t", "region": "r"}
        store = open_store(StoreSpec("s3://bucket/t", options))
        with pytest.raises(DeltaLakeError) as caught:
            store.read("x")
    assert caught.value.kind is kind
    assert caught.value.facts["code"] == code
    assert "s3://bucket/t/x" in caught.value.message
    assert "s3cr3t" not in caught.value.message


def test_an_unreachable_server_is_a_storage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    options = {"endpoint_url": "http://127.0.0.1:1", "key": "k", "secret": "s", "region": "r"}
    with pytest.raises(DeltaLakeError, match=r"cannot be reached.*AWS_ENDPOINT_URL") as caught:
        open_store(StoreSpec("s3://bucket/t", options)).list()
    assert caught.value.kind is DeltaLakeErrorKind.STORAGE_ERROR


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint_url": "http://h", "allow_http": "false"}, "not encrypted"),
        ({"endpoint_url": "ftp://h"}, "has to be http"),
        ({"endpoint_url": "https://me:hidden@h"}, "credentials go to"),
    ],
)
def test_unusable_endpoints_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(DeltaLakeError, match=message) as caught:
        open_store(StoreSpec("s3://bucket", options))
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT
    assert "hidden" not in caught.value.message


def test_an_invalid_bucket_name_is_an_invalid_argument(s3: S3Bucket) -> None:
    with pytest.raises(DeltaLakeError, match="not a valid S3 address") as caught:
        open_store(StoreSpec("s3://Not_a bucket!/x", s3.options)).list()
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT


def parquet(rows: int) -> bytes:
    buffer = io.BytesIO()
    table = pa.table({"a": range(rows), "text": [f"{number}" * 20 for number in range(rows)]})
    pq.write_table(table, buffer, row_group_size=1000, compression="none")
    return buffer.getvalue()


def test_open_input_reads_ranges(store: ObjectStore) -> None:
    data = parquet(5000)
    assert len(data) > 200_000
    store.put_if_absent("part #1?.parquet", data)
    store.put_if_absent("empty", b"")
    with store.open_input("part #1?.parquet") as file:
        assert file.size() == len(data)
        file.seek(100)
        assert file.read(50) == data[100:150]
        file.seek(len(data) - 70_000)
        assert file.read() == data[-70_000:]
    for pre_buffer in (True, False):
        with store.open_input("part #1?.parquet") as file:
            column = pq.ParquetFile(file, pre_buffer=pre_buffer).read(["a"])["a"]
            assert column.to_pylist() == list(range(5000))
    with store.open_input("empty") as file:
        assert file.size() == 0
        assert file.read() == b""


def test_arrow_filesystem(store: ObjectStore, s3: S3Bucket) -> None:
    store.put_if_absent("k=a%2Fb c/part #1?.parquet", parquet(10))
    store.put_if_absent("k=d/part.parquet", parquet(5))
    filesystem, root = store.arrow_filesystem()
    pickled = pickle.dumps(filesystem)
    assert s3.options["secret"].encode() not in pickled
    again = pickle.loads(pickled)
    assert again == filesystem
    one = ds.dataset([f"{root}/k=a%2Fb c/part #1?.parquet"], filesystem=again)
    assert one.to_table(filter=ds.field("a") > 7)["a"].to_pylist() == [8, 9]
    assert ds.dataset(root, filesystem=filesystem, format="parquet").count_rows() == 15
    kinds = [info.type for info in filesystem.get_file_info([f"{root}/k=d", f"{root}/none"])]
    assert kinds == [pa.fs.FileType.Directory, pa.fs.FileType.NotFound]
    with pytest.raises(FileNotFoundError):
        filesystem.get_file_info(pa.fs.FileSelector(f"{root}/none"))
    with filesystem.open_output_stream(f"{root}/written") as stream:
        stream.write(b"abc")
    assert store.read("written") == b"abc"


def test_resolve(store: ObjectStore, s3: S3Bucket) -> None:
    assert store.resolve("k=1/part%2F") == (store, "k=1/part%2F")
    assert store.resolve(s3.url("table/in%20side")) == (store, "in%20side")
    other, name = store.resolve("s3a://elsewhere/a/b?c")
    assert (other.spec.url, name) == ("s3://elsewhere", "a/b?c")
    assert other.spec.options == store.spec.options
    assert store.resolve("s3://elsewhere/x")[0] is other
    local, name = store.resolve("file:/tmp/x")
    assert local.describe(name) == "/tmp/x"


def test_a_store_pickles_without_its_keys(store: ObjectStore, s3: S3Bucket) -> None:
    store.put_if_absent("x", b"1")
    pickled = pickle.dumps(store)
    assert s3.options["secret"].encode() not in pickled
    assert pickle.loads(pickled).read("x") == b"1"


def test_stores_share_a_connection_when_their_settings_are_equal(
    s3: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connection(**more: str) -> object:
        store: Any = open_store(StoreSpec(s3.url(), {**s3.options, **more}))
        return store._client._s3

    first = connection()
    assert connection() is first
    assert connection(region="eu-west-1") is not first
    monkeypatch.setenv("AWS_PROFILE", "another")
    assert connection() is not first


class answering:
    """A server that answers every request with one S3 error."""

    def __init__(self, code: str, status: int) -> None:
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_pieces(store: ObjectStore) -> None:
    """What is too long to be held is put under a condition, compared, and refused, in pieces."""
    data = b"0123456789" * 300_000
    store.put("long", data)
    pieces = StoredFile(store, "long", len(data))
    assert store.put_if_absent("x", pieces)
    assert not store.put_if_absent("x", pieces)
    assert compare(store, "x", pieces) is Held.SAME
    store.put("x", data[:-1])
    assert compare(store, "x", pieces) is Held.TORN
    store.put("x", pieces)
    assert store.read("x") == data

    class Broken:
        size = 10

        def __iter__(self) -> Iterator[bytes]:
            yield b"0123"
            raise DeltaLakeError(DeltaLakeErrorKind.MIRROR_CONFLICT, "isn't what it was")

    for put in (store.put_if_absent, store.put):
        with pytest.raises(DeltaLakeError, match="isn't what it was") as caught:
            put("broken", Broken())
        assert caught.value.kind is DeltaLakeErrorKind.MIRROR_CONFLICT
    assert not store.exists("broken")


@pytest.mark.parametrize("act", ["read", "open_output"])
def test_a_fork_of_a_process_that_has_asked_is_told_so(store: ObjectStore, act: str) -> None:
    """It would wait forever for threads that only its parent has."""
    store.put("x", b"1")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        told = "an answer"
        try:
            getattr(store, act)("x")
        except DeltaLakeError as error:
            told = f"{error.kind.name}: {error}"
        finally:
            os.write(writing, told.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read().decode()
    os.waitpid(child, 0)
    assert told.startswith(f"INVALID_ARGUMENT: process {os.getpid()} has read or written S3")
    assert store.read("x") == b"1"
