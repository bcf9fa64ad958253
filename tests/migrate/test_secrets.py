"""Nothing that an import prints, sends, logs, records or raises shows a password or a key."""

from __future__ import annotations

import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import cloudpickle
import pytest
from distributed.protocol import serialize

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing import tasks
from deltalakedb.importing.request import import_request
from deltalakedb.importing.run import import_table
from deltalakedb.importing.tasks import LoadSpec, ParseSpec
from deltalakedb.log.ranges import RangeSpec
from deltalakedb.secret import Secret
from deltalakedb.storage.spec import StoreSpec
from tests.migrate.catalogs import engine, runs, write_log
from tests.replay.generated import Log, add, table_commit
from tests.servers.postgres import PostgresServer
from tests.servers.s3 import S3Bucket

if TYPE_CHECKING:
    from distributed import Client

PASSWORD = "pa:ss/w@rd#of%41-nobody"
KEY, SECRET = "AKIA-KEY-OF-NOBODY", "s3cr3t/key+of=nobody"
HIDDEN = sorted(
    {form(s) for s in (PASSWORD, KEY, SECRET) for form in (str, quote, quote_plus)}
    | {quote(PASSWORD, safe="")}
)
LOG: Log = [table_commit(), *([add(f"f{v}")] for v in range(6))]


def assert_hidden(*shown: object) -> None:
    for one in shown:
        text = one.decode("latin-1") if isinstance(one, bytes) else str(one)
        for secret in HIDDEN:
            assert secret not in text, f"{secret} is in {text[:2000]}"


def url_of(place: str, user: str = "nobody") -> str:
    return f"postgresql://{user}:{quote(PASSWORD, safe='')}@{place}"


def store_spec() -> StoreSpec:
    return StoreSpec("s3://bucket/table/_delta_log", {"key": KEY, "secret": SECRET})


def specs() -> list[Any]:
    parse = ParseSpec("r.0", store_spec(), RangeSpec(0, 0, 0, 9), 1, None)
    database = Secret(url_of("host:5432/db"))
    load = LoadSpec(
        parse=parse,
        digest="d",
        load_id=1,
        skipping=(),
        run_key=1,
        cap=None,
        commit_times=(),
        readable=(),
        database=database,
    )
    request = import_request(
        "s3://bucket/table/_delta_log",
        table_location=None,
        mode="fast",
        table_id=None,
        table_name=None,
        rebuild=False,
        storage_options={"key": KEY, "secret": SECRET},
        spill_root=None,
    )
    return [parse, load, request, store_spec(), database]


@pytest.mark.parametrize("spec", specs(), ids=lambda spec: type(spec).__name__)
def test_specs_neither_show_nor_carry_secrets(spec: Any) -> None:
    assert_hidden(repr(spec), str(spec), f"{spec}", [spec], {"spec": spec})
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert_hidden(pickle.dumps(spec, protocol))
    assert_hidden(cloudpickle.dumps(spec))
    header, frames = serialize(spec)
    assert_hidden(header, *(bytes(frame) for frame in frames))
    assert_hidden(repr(pickle.loads(pickle.dumps(spec))))


def told(error: BaseException) -> list[Any]:
    """All that an error tells whoever prints, logs, pickles or follows it."""
    found: list[Any] = [str(error), repr(error), error.args, getattr(error, "facts", "")]
    found += traceback.format_exception(error)
    found += getattr(error, "__notes__", [])
    found.append(pickle.dumps(error))
    for other in (error.__cause__, error.__context__):
        if other is not None:
            found += told(other)
    return found


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What was logged by anybody, with the stack traces.

    At DEBUG botocore logs whole requests, and with them the id of the key (not the key itself).
    """
    caplog.set_level(logging.INFO)
    return lambda: "\n".join(f"{r.getMessage()} {r.exc_text}" for r in caplog.records)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_log(tmp_path / "orders", LOG)
    return tmp_path / "orders"


def failure(table: str | Path, database: str, **options: Any) -> DeltaLakeError:
    with pytest.raises(DeltaLakeError) as caught:
        import_table(str(table), database=database, mode="full-history", **options)
    return caught.value


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("127.0.0.1:{port}/postgres", DeltaLakeErrorKind.AUTHENTICATION_ERROR),
        ("127.0.0.1:1/postgres", DeltaLakeErrorKind.DATABASE_ERROR),
        ("nowhere.invalid/postgres", DeltaLakeErrorKind.DATABASE_ERROR),
        ("127.0.0.1:port/postgres", None),
        ("[::1/postgres", None),
    ],
    ids=["wrong password", "wrong port", "wrong host", "no port", "no host"],
)
def test_a_database_that_cant_be_reached(
    table: Path,
    postgres_server: PostgresServer,
    logged: Callable[[], str],
    capfd: pytest.CaptureFixture[str],
    place: str,
    kind: DeltaLakeErrorKind | None,
) -> None:
    error = failure(table, url_of(place.format(port=postgres_server.port)))
    assert kind is None or error.kind is kind
    assert_hidden(*told(error), logged(), *capfd.readouterr())


@pytest.fixture
def login(postgres_server: PostgresServer, pg_database: str) -> Iterator[Callable[[], str]]:
    """The URL of a new role that owns the database's schema; called again, its password changes."""
    database = pg_database.rpartition("/")[2]

    def sql(statement: str) -> None:
        postgres_server.sql(statement, database=database)

    sql(f"CREATE ROLE nobody_{database} LOGIN PASSWORD '{PASSWORD}'")
    sql(f"GRANT ALL ON SCHEMA public TO nobody_{database}")
    called: list[bool] = []

    def url() -> str:
        if called:
            sql(f"ALTER ROLE nobody_{database} PASSWORD 'another'")
        called.append(True)
        return url_of(f"127.0.0.1:{postgres_server.port}/{database}", f"nobody_{database}")

    yield url
    sql(f"DROP OWNED BY nobody_{database} CASCADE")
    sql(f"DROP ROLE nobody_{database}")


def cluster_logs(client: Client) -> list[Any]:
    return [client.get_worker_logs(), client.get_scheduler_logs(), client.get_events()]


def test_a_password_that_stops_working_for_the_workers(
    table: Path,
    dask_client: Client,
    pg_database: str,
    login: Callable[[], str],
    logged: Callable[[], str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    def change(stage: str, done: int, *_: int) -> None:
        if (stage, done) == ("parse", 1):
            login()

    error = failure(table, login(), client=dask_client, progress=change)
    assert error.kind is DeltaLakeErrorKind.AUTHENTICATION_ERROR
    assert_hidden(*told(error), logged(), *capfd.readouterr(), *cluster_logs(dask_client))
    [run] = runs(pg_database)
    assert run["error_kind"] == "authentication_error"
    assert_hidden(run)


def test_a_worker_without_the_secret_says_so_without_showing_it(
    table: Path, dask_client: Client
) -> None:
    missing = Secret.from_reference("0123456789ABCDEF")
    empty = tasks.Prepared({}, tasks.Loaded(0, 0, 0, 0, None, None, ()))
    future = dask_client.submit(tasks.put_part, missing, 1, empty, pure=False)
    error = future.exception(timeout=240)
    assert isinstance(error, DeltaLakeError)
    assert error.kind is DeltaLakeErrorKind.AUTHENTICATION_ERROR
    assert "0123456789ABCDEF" in error.message


def options(endpoint: str) -> dict[str, str]:
    return {"endpoint_url": endpoint, "key": KEY, "secret": SECRET, "region": "r"}


def test_an_import_from_s3_on_workers(
    table: Path,
    dask_client: Client,
    login: Callable[[], str],
    s3: S3Bucket,
    logged: Callable[[], str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    location = s3.upload(table, "orders").rstrip("/")
    url = login()
    shown: list[Any] = []
    result = import_table(
        location,
        database=url,
        mode="full-history",
        storage_options=options(s3.endpoint_url),
        client=dask_client,
        progress=lambda *step: shown.append(step),
    )
    assert result.status == "imported"
    assert_hidden(result, repr(result), result.to_json(), result._repr_html_(), shown)
    commit = next(n for n in s3.names() if n.endswith("3.json"))
    s3.put(commit, b'{"add":')
    error = failure(
        location,
        url,
        storage_options=options(s3.endpoint_url),
        client=dask_client,
        rebuild=True,
    )
    assert error.kind is DeltaLakeErrorKind.CORRUPT_COMMIT
    assert_hidden(*told(error), logged(), *capfd.readouterr(), *cluster_logs(dask_client))
    with engine(url).connect() as connection:
        for name in ("dl_import_runs", "dl_tables"):
            assert_hidden(connection.exec_driver_sql(f"SELECT * FROM {name}").all())


def test_a_bucket_that_is_not_there(
    s3: S3Bucket, sqlite_url: str, logged: Callable[[], str], capfd: pytest.CaptureFixture[str]
) -> None:
    place = f"s3://not-{s3.name}/orders"
    error = failure(place, sqlite_url, storage_options=options(s3.endpoint_url))
    assert_hidden(*told(error), logged(), *capfd.readouterr())


def test_a_password_in_the_place_of_a_log(tmp_path: Path, sqlite_url: str) -> None:
    for place in (f"ftp://nobody:{PASSWORD}@host/t", f"https://nobody:{quote(PASSWORD)}@host/t"):
        assert_hidden(*told(failure(place, sqlite_url)))
