"""What `grants` prints is run, then each role does what it may, and is told what it may not."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import deltalake
import psycopg2
import pyarrow as pa
import pytest
import sqlalchemy as sa

import deltalakedb
from deltalakedb.catalog.roles import ROLES
from deltalakedb.catalog.upgrade import upgrade_catalog
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing import load
from deltalakedb.importing.run import import_table
from tests.catalog.revisions import filled
from tests.cli.commands import dl
from tests.migrate.catalogs import everything, write_log
from tests.replay.generated import add, table_commit
from tests.servers.mariadb import MariaDbServer
from tests.servers.postgres import PostgresServer

LOG = [table_commit(), [add("a"), add("b")], [add("c")]]


@dataclass
class Server:
    """A database of its own on a server, and its users."""

    server: PostgresServer | MariaDbServer
    database: str
    users: list[str] = field(default_factory=list)

    @property
    def is_postgres(self) -> bool:
        return isinstance(self.server, PostgresServer)

    def url(self, user: str | None = None) -> str:
        url = sa.make_url(self.server.url(self.database))
        if user is not None:
            url = url.set(username=user, password="of-them")
        return url.render_as_string(hide_password=False)

    def user(self, what: str) -> str:
        """A new user without any right."""
        name = f"{what}_{secrets.token_hex(4)}"
        self.users.append(name)
        if self.is_postgres:
            self.server.sql(f"CREATE ROLE \"{name}\" LOGIN CREATEROLE PASSWORD 'of-them'")
        else:
            self.server.sql(f"CREATE USER '{name}'@'%' IDENTIFIED BY 'of-them'")
        return name

    def run(self, text: str, user: str | None = None) -> None:
        """Run what was printed, as it is, as `user` or as the administrator."""
        if self.is_postgres:
            with closing(psycopg2.connect(self.url(user))) as connection, connection:
                connection.cursor().execute(text)
            return
        for statement in text.split(";\n"):
            if statement.strip():
                self.server.sql(statement, database=self.database)

    def close(self) -> None:
        self.server.drop_database(self.database)
        if self.is_postgres:
            for what in ("owners", "writers"):
                self.server.sql(f"DROP ROLE IF EXISTS dl_{what}_{self.database}_public")
        for user in self.users:
            account = f'"{user}"' if self.is_postgres else f"'{user}'@'%'"
            self.server.sql(f"DROP {'ROLE' if self.is_postgres else 'USER'} {account}")


@pytest.fixture(
    params=[
        "postgres_server",
        "mariadb_server",
        pytest.param("mysql_server", marks=pytest.mark.system),
    ]
)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    running = request.getfixturevalue(request.param)
    made = Server(running, running.create_database())
    yield made
    made.close()


@pytest.fixture
def owner(server: Server) -> str:
    """The user who may make the catalog, by what `grants` prints for an empty database."""
    name = server.user("owner")
    server.run(deltalakedb.grants(server.url(), "owner", to=name))
    return name


def import_(folder: Path, database: str, **options: object) -> str:
    return import_table(str(folder), database=database, **options).status  # type: ignore[arg-type]


def denied(role: str, name: str, act: Callable[[], object]) -> None:
    """The act is refused, with the way to the role that may do it."""
    with pytest.raises(DeltaLakeError) as caught:
        act()
    assert caught.value.kind is DeltaLakeErrorKind.AUTHENTICATION_ERROR, caught.value
    assert f"dl grants --role {role} --to {name}" in str(caught.value)


def reads(database: str, name: str) -> list[int]:
    """How many files each version has, by planning and by history."""
    table = deltalakedb.connect_to_table(f"deltasql://{database}?table={name}")
    versions = sorted(commit["version"] for commit in table.history())
    return [table.snapshot(v).plan().num_rows for v in versions]


def test_each_role_does_what_it_may(
    server: Server, owner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heap, large = tmp_path / "heap", tmp_path / "large"
    for folder in (heap, large):
        write_log(folder, LOG[:2])
    import_(heap, server.url(owner), mode="full-history")
    monkeypatch.setattr(load, "HEAP_ROWS", -1)
    import_(large, server.url(owner), mode="full-history")
    reader, writer, other = (server.user(what) for what in ("reader", "writer", "other"))
    for role, name in (("reader", reader), ("writer", writer), ("owner", other)):
        text = dl("grants", "--role", role, "--to", name, "--database", server.url(owner)).stdout
        server.run(text, owner)
    reading, writing = server.url(reader), server.url(writer)
    for name in ("heap", "large"):
        assert reads(reading, name) == [0, 2]
    denied("writer", reader, lambda: import_(large, reading, rebuild=True))
    denied("owner", reader, lambda: deltalakedb.drop_table("large", database=reading))

    # The writer imports anew, catches up, brings a table, commits; the reader goes on.
    assert import_(large, writing, rebuild=True) == "imported"
    assert reads(reading, "large") == [0, 2]
    write_log(large, LOG)
    assert import_(large, writing) == "caught_up"
    monkeypatch.undo()
    assert import_(heap, writing, rebuild=True) == "imported"
    uri = f"deltasql://{writing}?table=made"
    rows = pa.table({"id": [1, 2]})
    made = deltalakedb.create_table(uri, rows.schema, location=str(tmp_path / "made"))
    made.append(rows)
    for name, files in (("large", [0, 2, 3]), ("heap", [0, 2]), ("made", [0, 1])):
        assert reads(reading, name) == files
    append = deltalakedb.connect_to_table(f"deltasql://{reading}?table=made").append
    denied("writer", reader, lambda: append(rows))
    denied("owner", writer, lambda: deltalakedb.drop_table("heap", database=writing))
    assert reads(reading, "heap") == [0, 2]

    # An upgrade that is pending is the owners' own.
    server.run("INSERT INTO dl_settings VALUES ('upgrade.loads_since', '0002')", owner)
    denied("owner", writer, lambda: upgrade_catalog(writing))
    owning = server.url(other)
    assert upgrade_catalog(owning).pending
    monkeypatch.setattr(load, "HEAP_ROWS", -1)
    for database in (owning, server.url(owner)):
        assert import_(large, database, rebuild=True) == "imported"
        assert reads(reading, "large") == [0, 2, 3]
    deltalakedb.drop_table("large", database=owning)
    deltalakedb.drop_table("heap", database=server.url(owner))
    assert reads(reading, "made") == [0, 1]


_THOROUGH = [
    "postgres_server",
    pytest.param("mariadb_server", marks=pytest.mark.system),
    pytest.param("mysql_server", marks=pytest.mark.system),
]


@pytest.mark.parametrize("server", _THOROUGH, indirect=True)
def test_a_reader_is_refused_whatever_writes_and_a_writer_moves_tables(
    server: Server, owner: str, tmp_path: Path
) -> None:
    """And each is told which role it takes; nothing of what is refused leaves a trace."""
    place = str(tmp_path / "moved")
    rows, others = pa.table({"id": [1, 2]}), pa.table({"id": [3]})
    deltalake.write_deltalake(place, rows)
    uri = f"deltasql://{server.url(owner)}?table=made"
    deltalakedb.create_table(uri, rows.schema, location=str(tmp_path / "made")).append(rows)
    reader, writer = (server.user(what) for what in ("reader", "writer"))
    for role, name in (("reader", reader), ("writer", writer)):
        text = dl("grants", "--role", role, "--to", name, "--database", server.url(owner)).stdout
        server.run(text, owner)
    reading, writing = server.url(reader), server.url(writer)
    table = deltalakedb.connect_to_table(f"deltasql://{reading}?table=made")

    def begin() -> None:
        with deltalakedb.begin(reading) as transaction:
            transaction.write("made", rows)

    moving = deltalakedb.DeltaTableMigrator(place, reading)
    for refused in (
        lambda: table.overwrite(rows),
        lambda: table.delete("id = 1"),
        lambda: table.update({"id": "id + 1"}),
        lambda: (
            table.merge(others, "target.id = source.id", "source", "target")
            .when_not_matched_insert_all()
            .execute()
        ),
        lambda: table.alter.set_table_properties({"a": "b"}),
        lambda: table.restore(0),
        begin,
        lambda: deltalakedb.create_table(
            f"deltasql://{reading}?table=other", rows.schema, location=str(tmp_path / "other")
        ),
        lambda: deltalakedb.rename_table("made", "other", database=reading),
        lambda: moving.cutover("made"),
        lambda: moving.rollback("made"),
    ):
        denied("writer", reader, refused)
    failed = moving.migrate_table("moved")
    assert not failed.success
    assert f"`dl grants --role writer --to {reader}`" in str(failed.error_message)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made", "moved"]
    assert (table.refresh() or table).version == 1
    assert deltalake.DeltaTable(place).version() == 0

    moving = deltalakedb.DeltaTableMigrator(place, writing)
    assert moving.migrate_table("moved").success
    assert moving.cutover().migration.state == "sql"
    deltalakedb.connect_to_table(f"deltasql://{writing}?table=moved").append(rows)
    moving.rollback()
    deltalake.write_deltalake(place, rows, mode="append")
    denied("owner", writer, lambda: deltalakedb.drop_table("moved", database=writing))
    assert reads(reading, "made") == [0, 1]


def test_who_may_not_add_a_large_load_is_told_before_it_is_loaded(
    server: Server, owner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log(tmp_path / "t", LOG)
    monkeypatch.setattr(load, "HEAP_ROWS", -1)
    import_(tmp_path / "t", server.url(owner))
    second = server.user("second")
    if server.is_postgres:
        server.run(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {second}")
        server.run(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {second}")
        server.run(f"GRANT ALL ON SCHEMA public TO {second}")
    else:
        rights = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX"
        server.run(f"GRANT {rights} ON `{server.database}`.* TO '{second}'@'%'")
    before = everything(server.url())
    table, database = tmp_path / "t", server.url(second)
    denied("writer", second, lambda: import_(table, database, rebuild=True))
    after = everything(server.url())
    assert [run["status"] for run in after.pop("dl_import_runs")] == ["succeeded", "failed"]
    del before["dl_import_runs"]
    assert after == before
    # Where large loads share the heap it needs no more than that.
    monkeypatch.undo()
    assert import_(tmp_path / "t", server.url(second), rebuild=True) == "imported"


def test_grants_outlive_an_upgrade(postgres_server: PostgresServer) -> None:
    server = Server(postgres_server, postgres_server.create_database())
    try:
        owner, other, reader, narrow = map(server.user, ("owner", "other", "reader", "narrow"))
        server.run(deltalakedb.grants(server.url(), "owner", to=owner))
        filled.make(server.url(owner), "0001")
        server.run(f"GRANT {owner} TO {other}")
        server.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}")
        server.run(f"GRANT SELECT ON dl_tables, dl_files TO {narrow}")
        upgrade_catalog(server.url(other))
        for name in filled.TABLES:
            assert reads(server.url(reader), name)
        may = "SELECT relname FROM pg_class WHERE relname ~ '^dl_' AND relkind IN ('r', 'p', 'v')"
        seen = f"{may} AND has_table_privilege('{{}}', oid, 'SELECT')"
        every = {name for (name,) in postgres_server.sql(may, database=server.database)}
        found = [
            {name for (name,) in postgres_server.sql(seen.format(user), database=server.database)}
            for user in (reader, narrow, owner)
        ]
        assert found == [every, {"dl_tables", "dl_files", "dl_files_large"}, every]
    finally:
        server.close()


def test_where_public_is_closed_the_catalog_has_a_schema_of_its_own(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    server = Server(postgres_server, postgres_server.create_database())
    write_log(tmp_path / "t", LOG)
    try:
        maker, reader = server.user("Maker"), server.user("reader")
        server.run(f'GRANT ALL PRIVILEGES ON DATABASE {server.database} TO "{maker}"')
        assert import_(tmp_path / "t", server.url(maker), mode="full-history") == "imported"
        assert reads(server.url(maker), "t") == [0, 2, 3]
        server.run(deltalakedb.grants(server.url(maker), "reader", to=reader))
        assert reads(server.url(reader), "t") == [0, 2, 3]
        schemas = "SELECT DISTINCT schemaname FROM pg_tables WHERE tablename ~ '^dl_'"
        assert postgres_server.sql(schemas, database=server.database) == [(maker,)]
    finally:
        server.close()


def test_what_sqlite_says(tmp_path: Path) -> None:
    write_log(tmp_path / "t", LOG)
    database = str(tmp_path / "catalog.sqlite")
    with pytest.raises(DeltaLakeError) as caught:
        deltalakedb.grants(database, "reader")
    assert caught.value.kind is DeltaLakeErrorKind.NOT_FOUND
    import_(tmp_path / "t", database)
    for role in ROLES:
        said = deltalakedb.grants(database, role, to="somebody").splitlines()
        assert all(line.startswith("-- ") for line in said)
        assert database in said[1]


def test_other_roles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DeltaLakeError) as caught:
        deltalakedb.grants(str(tmp_path / "none"), "king")  # type: ignore[arg-type]
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT
