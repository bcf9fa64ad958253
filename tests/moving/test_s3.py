"""Over and back on S3, where only those who ask for it are kept from putting over a file."""

from __future__ import annotations

import io
import json

import deltalake
import pyarrow.parquet as pq
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.migrate.cut import cutover_table
from deltalakedb.migrate.move import move_table
from deltalakedb.migrate.options import MoveOptions
from deltalakedb.migrate.rollback import rollback_table, rollback_without_catalog
from deltalakedb.migrate.safety import probe
from deltalakedb.mirror.publish import commit_name
from deltalakedb.storage.local import LocalStore
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import Content
from tests.moving.test_move import rows, state
from tests.moving.test_strangers import end_probation
from tests.servers.s3 import S3Bucket


class Lake:
    """A table on S3, for delta-rs and for SQL."""

    def __init__(self, s3: S3Bucket, database: str) -> None:
        self.s3 = s3
        self.database = database
        self.place = s3.url("t")
        self.uri = f"deltasql://{database}?table=t"
        self.theirs = {
            "AWS_ENDPOINT_URL": s3.options["endpoint_url"],
            "AWS_ACCESS_KEY_ID": s3.options["key"],
            "AWS_SECRET_ACCESS_KEY": s3.options["secret"],
            "AWS_REGION": s3.options["region"],
            "AWS_ALLOW_HTTP": "true",
            "conditional_put": "etag",
        }

    def append(self, *values: int) -> None:
        """By a file-based writer."""
        deltalake.write_deltalake(
            self.place, rows(*values), mode="append", storage_options=self.theirs
        )

    def through_sql(self, *values: int) -> None:
        dl.write_deltalake(self.uri, rows(*values), mode="append", storage_options=self.s3.options)

    def move(self, **options: object) -> object:
        chosen = MoveOptions(storage_options=self.s3.options, **options)  # type: ignore[arg-type]
        return move_table(self.place, database=self.database, options=chosen)

    def check(self, *expected: int) -> None:
        """Both sides have it."""
        theirs = deltalake.DeltaTable(self.place, storage_options=self.theirs).to_pyarrow_table()
        ours = dl.connect_to_table(self.uri, storage_options=self.s3.options).to_pyarrow_table()
        for found in (theirs, ours):
            assert sorted(found.column("x").to_pylist()) == sorted(expected)
        report = dl.diff_table("t", database=self.database, storage_options=self.s3.options)
        assert report.parity

    def commit_over(self, version: int, value: int, engine: str) -> None:
        """A commit by a writer that puts without a condition."""
        data = io.BytesIO()
        pq.write_table(rows(value), data)
        self.s3.put(f"t/over-{value}.parquet", data.getvalue())
        add = {
            "path": f"over-{value}.parquet",
            "partitionValues": {},
            "size": len(data.getvalue()),
            "modificationTime": 1,
            "dataChange": True,
            "stats": json.dumps({"numRecords": 1}),
        }
        info = {"timestamp": 1_700_000_000_000, "operation": "WRITE", "engineInfo": engine}
        lines = ({"commitInfo": info}, {"add": add})
        text = "".join(json.dumps(line) + "\n" for line in lines)
        self.s3.put(f"t/_delta_log/{commit_name(version)}", text.encode())


@pytest.fixture
def lake(s3: S3Bucket, sqlite_url: str) -> Lake:
    """A table with one commit."""
    made = Lake(s3, sqlite_url)
    made.append(1)
    return made


def test_over_and_back(lake: Lake) -> None:
    lake.move()
    with pytest.raises(deltalake.exceptions.DeltaError, match="sqlAuthority"):
        lake.append(9)
    lake.through_sql(2)
    options = lake.s3.options
    rollback_table("t", database=lake.database, storage_options=options)
    lake.append(3)
    lake.through_sql(4)
    lake.check(1, 2, 3, 4)
    chosen = MoveOptions(storage_options=options)
    assert cutover_table("t", database=lake.database, options=chosen).migration.state == "sql"
    lake.through_sql(5)
    done = rollback_without_catalog(lake.place, storage_options=options)
    lake.append(6)
    back = rollback_table("t", database=lake.database, storage_options=options)
    assert back.version == done.version + 1
    assert not back.stranded
    lake.check(1, 2, 3, 4, 5, 6)
    # Nothing of the probes is left.
    assert not [name for name in lake.s3.names() if "probe" in name]


def test_a_writer_that_overwrites_the_fence(lake: Lake) -> None:
    lake.move(probation_seconds=3600)
    fence = state(lake.database).fence_version
    assert fence is not None
    lake.through_sql(2)
    lake.commit_over(fence, 3, "Apache-Spark/3.5.1")
    options = MoveOptions(storage_options=lake.s3.options)
    done = cutover_table("t", database=lake.database, options=options)
    assert done.migration.state == "probation"
    [over] = done.migration.details["overwritten"]
    assert (over["version"], over["engine"]) == (fence, "Apache-Spark/3.5.1")
    with pytest.raises(deltalake.exceptions.DeltaError, match="sqlAuthority"):
        lake.append(9)
    end_probation(lake.database)
    assert cutover_table("t", database=lake.database, options=options).migration.state == "sql"
    lake.check(1, 2, 3)


def test_engines_whose_log_stores_overwrite_are_refused_until_it_is_said(lake: Lake) -> None:
    lake.commit_over(1, 2, "Apache-Spark/3.5.1 Delta-Lake/3.2.0")
    for strategy in ("online", "hybrid"):
        with pytest.raises(DeltaLakeError, match="may overwrite the fence") as caught:
            lake.move(strategy=strategy)
        assert caught.value.facts["engines"] == ["Apache-Spark/3.5.1 Delta-Lake/3.2.0"]
    lake.append(3)
    lake.move(log_writers="conditional-put")
    lake.check(1, 2, 3)


class Careless(LocalStore):
    """A store that takes no notice of If-None-Match, as some do."""

    def put_if_absent(self, name: str, data: Content) -> bool:
        self.put(name, data)
        return True


def test_a_store_that_ignores_the_condition_is_found_out(tmp_path: object) -> None:
    store = Careless(StoreSpec(str(tmp_path)), open_store)
    with pytest.raises(DeltaLakeError, match="honours If-None-Match") as caught:
        probe(store)
    assert caught.value.kind is DeltaLakeErrorKind.UNSUPPORTED_FEATURE
    assert not store.list()
