"""Addresses of tables, databases and locations, and what may be shown of them."""

from __future__ import annotations

import os
import pickle
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import create_engine, make_url, text

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.redact import redact
from deltalakedb.uri import normalise_location, parse_database, parse_table_uri

PG = "postgresql+psycopg2://user:pass@localhost:5432/db"


@pytest.mark.parametrize(
    ("uri", "database", "namespace", "table"),
    [
        ("postgresql://user:pass@localhost:5432/db.migrated_table", PG, None, "migrated_table"),
        ("postgres://user:pass@localhost:5432/db.ns.sales", PG, "ns", "sales"),
        ("pg://localhost/db.sales", "postgresql+psycopg2://localhost/db", None, "sales"),
        ("postgresql+psycopg2://user:pass@localhost:5432/db?table=sales", PG, None, "sales"),
        ("pg://user:pass@localhost:5432/db?table=ns.sales", PG, "ns", "sales"),
        (
            "pg://h/my.database?sslmode=require&table=a.b&application_name=x.y",
            "postgresql+psycopg2://h/my.database?sslmode=require&application_name=x.y",
            "a",
            "b",
        ),
        (
            "postgresql://u@/db.sales?host=/tmp/pg.sock",
            "postgresql+psycopg2://u@/db?host=/tmp/pg.sock",
            None,
            "sales",
        ),
        ("mysql://u:p@h:3306/db.t", "mysql+pymysql://u:p@h:3306/db", None, "t"),
        ("mariadb://u:p@h/db.t", "mariadb+pymysql://u:p@h/db", None, "t"),
        ("pg://[::1]:5432/db.t", "postgresql+psycopg2://[::1]:5432/db", None, "t"),
        ("pg://h/db?table=n%2Es.t%20%3F", "postgresql+psycopg2://h/db", "n.s", "t ?"),
        ("pg://h/db?table=größe", "postgresql+psycopg2://h/db", None, "größe"),
        ("sqlite:////abs/meta.sqlite?table=ns.t", "sqlite:////abs/meta.sqlite", "ns", "t"),
        ("sqlite:////abs/meta.sqlite.sales", "sqlite:////abs/meta.sqlite", None, "sales"),
        ("sqlite:////abs/meta.db.ns.sales", "sqlite:////abs/meta.db", "ns", "sales"),
        ("sqlite:////abs/a.db.sqlite.db", "sqlite:////abs/a.db.sqlite", None, "db"),
        ("sqlite:////abs.dir/meta.sales", "sqlite:////abs.dir/meta", None, "sales"),
        ("sqlite:////a/m.sqlite?timeout=5&table=t", "sqlite:////a/m.sqlite?timeout=5", None, "t"),
    ],
)
def test_table_uris(uri: str, database: str, namespace: str | None, table: str) -> None:
    parsed = parse_table_uri("deltasql://" + uri)
    shown = parsed.database.reveal()
    assert (shown, parsed.namespace, parsed.table) == (database, namespace, table)
    assert parse_table_uri(parsed.reveal()) == parsed
    make_url(parsed.database.reveal())


def test_three_slashes_before_an_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the guide writes it; SQLAlchemy would take it as relative to the working directory."""
    monkeypatch.chdir(tmp_path)
    three = parse_table_uri("deltasql://sqlite:///var/lib/meta.sqlite?table=sales")
    assert three.database.reveal() == "sqlite:////var/lib/meta.sqlite"
    assert parse_database("sqlite:///meta.sqlite").reveal() == f"sqlite:///{tmp_path}/meta.sqlite"
    (tmp_path / "var/lib").mkdir(parents=True)
    assert parse_database("sqlite:///var/lib/m").reveal() == f"sqlite:///{tmp_path}/var/lib/m"


def test_an_existing_file_decides_where_its_name_ends(tmp_path: Path) -> None:
    address = f"deltasql://sqlite:///{tmp_path}/meta.sqlite.db.t"
    assert parse_table_uri(address).database.name.endswith("/meta.sqlite.db")
    (tmp_path / "meta.sqlite").touch()
    parsed = parse_table_uri(address)
    assert parsed.database.name.endswith("/meta.sqlite")
    assert (parsed.namespace, parsed.table) == ("db", "t")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "postgresql://u:hidden@h/db.t",
        "deltasql://",
        "deltasql:///path",
        "deltasql://postgresql://u:hidden@h/db",
        "deltasql://postgresql://u:hidden@h/db.a.b.c",
        "deltasql://postgresql://u:hidden@h/db.",
        "deltasql://postgresql://u:hidden@h/db..t",
        "deltasql://postgresql://u:hidden@h/?table=t",
        "deltasql://postgresql://u:hidden@h?table=t",
        "deltasql://postgresql://u:hidden@h/db?table=",
        "deltasql://postgresql://u:hidden@h/db?table=a&table=b",
        "deltasql://postgresql://u:hidden@h:port/db.t",
        "deltasql://oracle://u:hidden@h/db.t",
        "deltasql://sqlite://host/meta.sqlite?table=t",
        "deltasql://sqlite:////abs/meta.sqlite",
        "deltasql://sqlite:////abs/a.b.db",
        "deltasql://sqlite:////abs/meta",
    ],
)
def test_bad_table_uris_tell_the_form_and_no_password(uri: str) -> None:
    with pytest.raises(DeltaLakeError, match="Write ") as caught:
        parse_table_uri(uri)
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT
    assert "hidden" not in caught.value.message


def test_databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    for given_text, url in {
        "/var/lib/meta.sqlite": "sqlite:////var/lib/meta.sqlite",
        "meta.sqlite": f"sqlite:///{tmp_path}/meta.sqlite",
        "../x/./meta": f"sqlite:///{tmp_path.parent}/x/meta",
        "~/meta.sqlite": "sqlite:////home/me/meta.sqlite",
        "a:b/meta": f"sqlite:///{tmp_path}/a:b/meta",
        "file:///var/a%20b": "sqlite:////var/a b",
        ":memory:": "sqlite://",
        "sqlite://": "sqlite://",
        "sqlite:///:memory:": "sqlite://",
        "sqlite+pysqlite:////a": "sqlite:////a",
        "POSTGRES://h/db": "postgresql+psycopg2://h/db",
        "pg://u:p@h1:1,h2:2/db?target_session_attrs=read-write": (
            "postgresql+psycopg2://u:p@h1:1,h2:2/db?target_session_attrs=read-write"
        ),
        "pg://h1,[::1]:2,h3/db": "postgresql+psycopg2://h1,[::1]:2,h3/db",
        "pg:///db?user=u&password=p%40&host=/run": "postgresql+psycopg2://u:p%40@/db?host=/run",
        "mysql://h/db?charset=utf8mb4": "mysql+pymysql://h/db?charset=utf8mb4",
    }.items():
        assert parse_database(given_text).reveal() == url
        assert parse_database(url) == parse_database(given_text)


@pytest.mark.parametrize(
    "name", ["a b", "100%25.sqlite", "x?y", "x#y", "a@b:c", "ü", "a+b", "a&b=c"]
)
def test_sqlite_files_with_odd_names_are_opened_literally(tmp_path: Path, name: str) -> None:
    engine = create_engine(parse_database(str(tmp_path / name)).reveal())
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (x)"))
    engine.dispose()
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize(
    "database",
    [
        "",
        "s3://bucket/x",
        "deltasql://postgresql://u:hidden@h/db",
        "postgresql://u:hidden@h",
        "postgresql://u:hidden@h/",
        "postgresql:/u:hidden@h/db",
        "postgresql+asyncpg://u:hidden@h/db",
        "postgresql+psycopg://u:hidden@h/db",
        "postgresql+pg8000://u:hidden@h/db",
        "mysql+mysqldb://u:hidden@h/db",
        "mysql://u:hidden@h1,h2/db",
        "postgresql://u:hidden@h/db?ssl_mode=require",
        "postgresql://u:hidden@h/db?client_encoding=latin1",
        "mysql://u:hidden@h/db?sslmode=require",
        "sqlite:////x?mode=ro",
        "sqlite:///file:/a?uri=true&mode=ro",
        "sqlite+aiosqlite:////x",
        "sqlite://relative.db",
        "bad\0name",
    ],
)
def test_bad_databases_are_refused(database: str) -> None:
    with pytest.raises(DeltaLakeError) as caught:
        parse_database(database)
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT
    assert "hidden" not in caught.value.message


PASSWORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(PASSWORDS, PASSWORDS)
@example("user", "p@ss:w/o?r#d%")
def test_encoded_passwords_survive(user: str, password: str) -> None:
    from urllib.parse import quote

    address = f"deltasql://pg://{quote(user, safe='')}:{quote(password, safe='')}@h:1/db.t"
    url = make_url(parse_table_uri(address).database.reveal())
    assert (url.username, url.password, url.host, url.port) == (user, password, "h", 1)
    assert make_url(parse_database(url.render_as_string(hide_password=False)).reveal()) == url


RAW = string.ascii_letters + string.digits + "@:#!$&'()*+,;=[]{}|^~ \"<>\\`ü"


@given(st.text(RAW, min_size=1))
def test_raw_passwords_survive_but_for_slash_question_mark_and_percent(password: str) -> None:
    parsed = parse_table_uri(f"deltasql://pg://user:{password}@host:5432/db.t?sslmode=require")
    url = make_url(parsed.database.reveal())
    assert (url.username, url.password, url.host, url.database) == ("user", password, "host", "db")
    assert parsed.table == "t"
    with pytest.raises(DeltaLakeError) as caught:
        parse_table_uri(f"deltasql://pg://user:{password}@host:5432/db.t.t.t.t")
    assert "deltasql://pg://user:***@host:5432/db.t.t.t.t" in caught.value.message


@given(st.from_regex(r"[a-z]{3}[/?][a-zA-Z0-9/?.:]*", fullmatch=True))
def test_a_raw_slash_or_question_mark_in_a_password_is_understood(password: str) -> None:
    url = make_url(
        parse_table_uri(f"deltasql://pg://user:{password}@host:5432/db.t").database.reveal()
    )
    assert (url.username, url.password, url.host) == ("user", password, "host")


@given(st.from_regex(r"[a-z]{3}@[a-z]+[/?][a-zA-Z0-9/?.:]*", fullmatch=True))
def test_so_it_is_behind_a_raw_at_sign(password: str) -> None:
    address = f"pg://user:{password}@host:5432/db"
    url = make_url(parse_table_uri(f"deltasql://{address}.t").database.reveal())
    assert (url.username, url.password, url.host) == ("user", password, "host")
    assert redact(f"no answer from {address}: refused") == (
        "no answer from pg://user:***@host:5432/db: refused"
    )


def test_a_table_uri_shows_and_pickles_no_password() -> None:
    parsed = parse_table_uri("deltasql://pg://user:hid%40den@h/db?table=ns.t")
    shown = "deltasql://postgresql+psycopg2://user:***@h/db?table=ns.t"
    assert repr(parsed) == str(parsed) == shown
    assert parsed.name == "ns.t"
    pickled = pickle.dumps(parsed)
    assert b"hid" not in pickled
    assert pickle.loads(pickled) == parsed
    assert "hid%40den" in parsed.reveal()


@pytest.mark.parametrize(
    ("plain", "shown"),
    [
        ("pg://u:hidden@h1:1,h2:2/db", "pg://u:***@h1:1,h2:2/db"),
        ("pg://h1:1,h2:2/db?x=a@b", "pg://h1:1,h2:2/db?x=a@b"),
        ("postgresql://user:hidden@host/db", "postgresql://user:***@host/db"),
        ("deltasql://pg://user:hidden@host/db.t", "deltasql://pg://user:***@host/db.t"),
        ("pg://user:hid@den:x@host/db?x=a@b", "pg://user:***@host/db?x=a@b"),
        ("pg://user:hid/den@host/db", "pg://user:***@host/db"),
        ("pg://user:hid@den/x?y@host:1/db", "pg://user:***@host:1/db"),
        ("pg://user:hidden@h/db?x=a@b/c", "pg://user:***@h/db?x=a@b/c"),
        ("pg://user:hid?d=en#@host/db", "pg://user:***@host/db"),
        ("pg://u:hidden@h/a,pg://u:hidden@h/b", "pg://u:***@h/a,pg://u:***@h/b"),
        ("'pg://u:hidden@h/a' failed for pg://h/b", "'pg://u:***@h/a' failed for pg://h/b"),
        ("at pg://user:hid den@h/db: no", "at pg://user:***@h/db: no"),
        ("at pg://h:x and a", "at pg://h:x and a"),
        ("pg://user@host/db", "pg://user@host/db"),
        ("https://hidden@host/x", "https://***@host/x"),
        ("http://localhost:9000/b/part@1.parquet", "http://localhost:9000/b/part@1.parquet"),
        ("http://[::1]:9000/b/part@1.parquet", "http://[::1]:9000/b/part@1.parquet"),
        ("pg://h/db?user=u&password=hidden&sslmode=x", "pg://h/db?user=u&password=***&sslmode=x"),
        ("mysql://h/db?ssl_key=a&passwd=hidden", "mysql://h/db?ssl_key=a&passwd=***"),
        ("host=h password='hid den' user=u", "host=h password=*** user=u"),
        ("AWS_SECRET_ACCESS_KEY=hidden x", "AWS_SECRET_ACCESS_KEY=*** x"),
        ("https://b/k?X-Amz-Signature=hidden&y=1", "https://b/k?X-Amz-Signature=***&y=1"),
        ("{'secret': 'hidden', 'a': 1}", "{'secret': ***, 'a': 1}"),
        ('{"aws_session_token": "hidden"}', '{"aws_session_token": ***}'),
        ("s3://bucket/key@x/a:b", "s3://bucket/key@x/a:b"),
        ("no such table: sales", "no such table: sales"),
        ("the password: see the manual", "the password: see the manual"),
        ("", ""),
    ],
)
def test_redact(plain: str, shown: str) -> None:
    assert redact(plain) == shown
    assert redact(shown) == shown


@given(PASSWORDS)
def test_redact_hides_any_encoded_password(password: str) -> None:
    from urllib.parse import quote

    encoded = quote(password, safe="")
    url = f"postgresql://user:{encoded}@host:5432/db?x=1"
    assert redact(f"cannot connect to {url}.") == (
        "cannot connect to postgresql://user:***@host:5432/db?x=1."
    )


def test_locations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    for given_text, location in {
        "/a/b": "/a/b",
        "/a/b/": "/a/b",
        "//a//b/./c/..": "/a/b",
        "/": "/",
        "x": f"{tmp_path}/x",
        "./x/../y/": f"{tmp_path}/y",
        "/a%20b": "/a%20b",
        "/a b#c?d": "/a b#c?d",
        "file:///a%20b/": "/a b",
        "file:///a%2520b": "/a%20b",
        "file:/a%23b": "/a#b",
        "file://localhost/a": "/a",
        "FILE:///a": "/a",
        "file:///": "/",
        "s3://bucket/a/b/": "s3://bucket/a/b",
        "s3a://bucket/a%20b": "s3://bucket/a%20b",
        "S3N://bucket/": "s3://bucket",
        "s3://bucket/a//b": "s3://bucket/a//b",
        "abfss://c@account/x/": "abfss://c@account/x",
        "a:b/c": f"{tmp_path}/a:b/c",
        "~/tables/x": "/home/me/tables/x",
        "./~/x": f"{tmp_path}/~/x",
        "~x": f"{tmp_path}/~x",
    }.items():
        assert normalise_location(given_text) == location
        assert normalise_location(location) == location


@pytest.mark.parametrize("location", ["", "file://server/share", "a\0b"])
def test_bad_locations_are_refused(location: str) -> None:
    with pytest.raises(DeltaLakeError) as caught:
        normalise_location(location)
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT


def test_paths_are_places_and_other_things_are_refused(tmp_path: Path) -> None:
    assert normalise_location(tmp_path) == str(tmp_path)
    assert parse_database(tmp_path / "a.sqlite") == parse_database(str(tmp_path / "a.sqlite"))
    parsers: list[Callable[[Any], object]] = [normalise_location, parse_database, parse_table_uri]
    for parse in parsers:
        for thing in (None, 5, b"x"):
            with pytest.raises(DeltaLakeError, match="give a text") as caught:
                parse(thing)
            assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT
