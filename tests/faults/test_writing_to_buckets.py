"""Writes to a bucket whose server loses answers, refuses, and lets credentials expire."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import deltalake
import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.migrate.safety import probe
from deltalakedb.storage.open import open_store
from deltalakedb.storage.pieces import Held, compare
from deltalakedb.storage.s3.store import S3Store
from deltalakedb.storage.spec import StoreSpec
from tests.cli.commands import DL
from tests.faults.lossy import LossyProxy
from tests.servers.s3 import PAGE, REGION, S3Bucket

FATES = ("answer", "request", "throttled", "contended", "broken", "late")
ROWS = 1_000
NO_HOOKS = SimpleNamespace(create_checkpoint=False, cleanup_expired_logs=False)


@contextmanager
def proxied(s3: S3Bucket, fate: Callable[[str, str], str]) -> Iterator[LossyProxy]:
    proxy = LossyProxy(s3.endpoint_url, fate)
    try:
        yield proxy
    finally:
        proxy.close()


class Once:
    """The next request that writes an object of a kind meets the fate that is set for it."""

    def __init__(self) -> None:
        self.fates: dict[str, str] = {}

    def __call__(self, method: str, path: str) -> str:
        name = path.partition("?")[0]
        found = [kind for kind in self.fates if name.endswith(kind)]
        return self.fates.pop(found[0]) if found and method == "PUT" else ""


def theirs(s3: S3Bucket, name: str) -> Counter[int]:
    """The rows that delta-rs reads."""
    options = {
        "AWS_ENDPOINT_URL": s3.endpoint_url,
        "AWS_ACCESS_KEY_ID": s3.options["key"],
        "AWS_SECRET_ACCESS_KEY": s3.options["secret"],
        "AWS_REGION": REGION,
        "AWS_ALLOW_HTTP": "true",
    }
    table = deltalake.DeltaTable(s3.url(name), storage_options=options)
    found = deltalake.QueryBuilder().register("t", table).execute("SELECT x FROM t")
    return Counter(pa.table(found).column("x").to_pylist())


def test_a_name_is_taken_once_whatever_becomes_of_requests(s3: S3Bucket) -> None:
    once = Once()
    with proxied(s3, once) as proxy:
        options = {**s3.options, "endpoint_url": proxy.endpoint_url}
        store = open_store(StoreSpec(s3.url("t"), options))
        for fate in FATES:
            once.fates[""] = fate
            is_new = store.put_if_absent(fate, b"ours")
            # Our own, whose answer was lost, is told from another's by its bytes.
            assert is_new or (fate == "answer" and compare(store, fate, b"ours") is Held.SAME)
            once.fates[""] = fate
            assert not store.put_if_absent(fate, b"theirs")
            assert store.read(fate) == b"ours"
        once.fates[""] = "answer"
        probe(store)
        assert len(proxy.lost) == 2 * len(FATES) + 1
        assert s3.names() == [f"t/{each}" for each in sorted(FATES)]


def test_a_name_that_stays_contended_is_not_said_to_be_taken(s3: S3Bucket) -> None:
    with proxied(s3, lambda method, _: "contended" if method == "PUT" else "") as proxy:
        options = {**s3.options, "endpoint_url": proxy.endpoint_url}
        store = open_store(StoreSpec(s3.url("t"), options))
        with pytest.raises(DeltaLakeError, match="ConditionalRequestConflict"):
            store.put_if_absent("x", b"ours")
        s3.put("t/x", b"theirs")
        assert not store.put_if_absent("x", b"ours")


def test_answers_that_break_off_are_asked_for_again(s3: S3Bucket) -> None:
    for number in range(3):
        s3.put(f"t/{number}", b"1")
    cut = [True]
    with proxied(s3, lambda method, _: "half" if method == "GET" and cut.pop() else "") as proxy:
        options = {**s3.options, "endpoint_url": proxy.endpoint_url}
        store = open_store(StoreSpec(s3.url("t"), options))
        cut[:] = [False, True]
        assert len(store.list()) == 3
        cut[:] = [False, True]
        assert store.read("0") == b"1"
        assert len(proxy.lost) == 2


def test_a_long_listing_goes_on_where_it_broke_off(s3: S3Bucket) -> None:
    names = [f"f/{number:04}" for number in range(PAGE + 5)]
    direct = open_store(StoreSpec(s3.url("t"), s3.options))
    for name in names:
        direct.put(name, b"1")
    asked: list[str] = []

    def fate(_method: str, path: str) -> str:
        asked.append(path)
        return "half" if len(asked) in (2, 4) else ""

    with proxied(s3, fate) as proxy:
        options = {**s3.options, "endpoint_url": proxy.endpoint_url}
        store = open_store(StoreSpec(s3.url("t"), options))
        found = store.list("f/", recursive=True)
    assert [each.name for each in found] == names
    assert proxy.lost


def test_what_is_left_behind_is_no_error_of_the_write(s3: S3Bucket, sqlite_url: str) -> None:
    """A file that nothing names and that can't be removed hides neither success nor a conflict."""
    with proxied(s3, lambda _, path: "denied" if "?delete" in path else "") as proxy:
        table = dl.create_table(
            f"deltasql://{sqlite_url}?table=t",
            pa.schema([("x", pa.int64())]),
            location=s3.url("t"),
            storage_options={**s3.options, "endpoint_url": proxy.endpoint_url},
        )
        table.append(pa.table({"x": [1]}))
        with pytest.raises(DeltaLakeError) as caught:
            table.append(pa.table({"x": [2]}), if_version=0)
        assert caught.value.kind is DeltaLakeErrorKind.CONCURRENCY_ERROR
        assert ("denied", "POST") in {each[:2] for each in proxy.lost}
        done = [table.append(pa.table({"x": [3]}), token="of-one-write") for _ in range(2)]
        assert [each.version for each in done] == [2, 2]
        assert theirs(s3, "t") == Counter([1, 3])
        table.close()


@pytest.mark.parametrize(
    "rounds", [range(1), pytest.param(range(1, len(FATES)), marks=pytest.mark.system)]
)
def test_each_kind_of_object_is_written_whatever_becomes_of_its_put(
    s3: S3Bucket, sqlite_url: str, rounds: range
) -> None:
    """Data, commit, vector, checkpoint, checksum and hint: the table is whole for both sides."""
    kinds = (".snappy.parquet", ".json", ".bin", ".checkpoint.parquet", ".crc", "_last_checkpoint")
    once = Once()
    with proxied(s3, once) as proxy:
        table = dl.create_table(
            f"deltasql://{sqlite_url}?table=t",
            pa.schema([("x", pa.int64())]),
            location=s3.url("b"),
            properties={"delta.enableDeletionVectors": "true"},
            storage_options={**s3.options, "endpoint_url": proxy.endpoint_url},
        )
        for number in rounds:
            met = {kind: FATES[(at + number) % len(FATES)] for at, kind in enumerate(kinds)}
            once.fates = dict(met)
            # As many as make a vector that isn't kept in the commit.
            rows = pa.table({"x": range(ROWS * number, ROWS * (number + 1))})
            table.append(rows, post_commithook_properties=NO_HOOKS)
            gone = f"x >= {ROWS * number} AND x % 2 = 1"
            table.delete(gone, post_commithook_properties=NO_HOOKS)
            table.create_checkpoint()
            assert not once.fates
        expected = Counter(range(ROWS * rounds[0], ROWS * (rounds[-1] + 1), 2))
        assert theirs(s3, "b") == expected
        assert Counter(table.to_pyarrow_table().column("x").to_pylist()) == expected
        table.close()


def test_credentials_that_expire_between_commit_and_log(
    s3: S3Bucket, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit stands, and new credentials bring it into the log; before one, nothing does."""
    for name in ("KEY", "SECRET"):
        where = {"KEY": "AWS_ACCESS_KEY_ID", "SECRET": "AWS_SECRET_ACCESS_KEY"}[name]
        monkeypatch.setenv(where, s3.options[name.lower()])
    monkeypatch.setenv("AWS_SESSION_TOKEN", "one")
    monkeypatch.setenv("AWS_REGION", REGION)

    def fate(method: str, path: str) -> str:
        if method == "PUT" and path.endswith(f"{1:020d}.json"):
            proxy.expired.add("one")
        return ""

    with proxied(s3, fate) as proxy:
        options = {"endpoint_url": proxy.endpoint_url}
        uri = f"deltasql://{sqlite_url}?table=t"
        schema = pa.schema([("x", pa.int64())])
        table = dl.create_table(uri, schema, location=s3.url("t"), storage_options=options)
        with pytest.warns(RuntimeWarning, match="dl mirror drain"):
            done = table.append(pa.table({"x": [1]}))
        assert (done.version, done.published) == (1, False)
        with pytest.raises(DeltaLakeError, match="ExpiredToken") as caught:
            table.append(pa.table({"x": [2]}))
        assert caught.value.kind is DeltaLakeErrorKind.AUTHENTICATION_ERROR
        assert caught.value.outcome == "failed"
        # As a process that is started with new ones.
        drained = subprocess.run(
            [DL, "mirror", "drain", "t", "--database", sqlite_url],
            env={**os.environ, "AWS_SESSION_TOKEN": "two", "AWS_ENDPOINT_URL": proxy.endpoint_url},
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert drained.returncode == 0, drained.stderr
        assert theirs(s3, "t") == Counter([1])
        # This process asks for them again by itself.
        monkeypatch.setenv("AWS_SESSION_TOKEN", "two")
        assert table.append(pa.table({"x": [3]})).published
        assert theirs(s3, "t") == Counter([1, 3])
        table.close()


def test_a_table_whose_first_version_got_no_answer_may_be_there(
    s3: S3Bucket, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = S3Store.put_if_absent

    def unanswered(store: S3Store, name: str, data: bytes) -> bool:
        put(store, name, data)
        raise DeltaLakeError(DeltaLakeErrorKind.STORAGE_ERROR, "no answer")

    monkeypatch.setattr(S3Store, "put_if_absent", unanswered)
    uri = f"deltasql://{sqlite_url}?table=t"
    schema = pa.schema([("x", pa.int64())])
    place = {"location": s3.url("t"), "storage_options": s3.options, "authority": "log"}
    with pytest.raises(DeltaLakeError, match="import the table, else make it again") as caught:
        dl.create_table(uri, schema, **place)
    assert caught.value.kind is DeltaLakeErrorKind.COMMIT_UNKNOWN
    assert caught.value.outcome == "unknown"
    monkeypatch.undo()
    assert theirs(s3, "t") == Counter()
    with pytest.raises(DeltaLakeError, match="import it"):
        dl.create_table(uri, schema, **place)
