"""What the parts of a run share: generated tables, servers, and catalogs already imported."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy

from benchmarks import delta_rs, floor, servers
from benchmarks.generate import Variant, generate, read_facts
from benchmarks.measure import Probe
from benchmarks.ours_import import Imported, import_table
from benchmarks.questions import Questions, of
from benchmarks.synthetic import Shape
from deltalakedb.catalog.records import load_files_name
from deltalakedb.uri import parse_database

TABLE_NAME = "bench"


@dataclass(frozen=True)
class Catalogued:
    """A table imported into a database of its own."""

    database: str
    imported: Imported


class Workbench:
    """Makes what a part asks for once, and removes it at the end unless a folder is kept."""

    def __init__(self, scale: float, keep: Path | None, say: Callable[[str], None]) -> None:
        self.scale = scale
        self.say = say
        self._stack = ExitStack()
        if keep is None:
            self.folder = Path(
                self._stack.enter_context(tempfile.TemporaryDirectory(prefix="dl-bench-"))
            )
        else:
            keep.mkdir(parents=True, exist_ok=True)
            self.folder = keep
        self._servers: dict[str, servers.Server] = {}
        self._catalogs: dict[tuple[str, str], Catalogued] = {}
        self._questions: dict[str, Questions] = {}
        self._delta_rs: dict[tuple[str, ...], Probe] = {}
        self._rows: Path | None = None

    def close(self) -> None:
        """Stop servers and remove what is not kept."""
        self._stack.close()

    def __enter__(self) -> Workbench:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def facts(self) -> dict[str, str]:
        """Versions of the servers that ran."""
        return {server.name: server.version for server in self._servers.values()}

    @property
    def postgresql(self) -> servers.Server:
        return self._server("postgresql", servers.postgresql)

    @property
    def mariadb(self) -> servers.Server:
        return self._server("mariadb", servers.mariadb)

    def _server(
        self, name: str, start: Callable[[], AbstractContextManager[servers.Server]]
    ) -> servers.Server:
        if name not in self._servers:
            self._servers[name] = self._stack.enter_context(start())
        return self._servers[name]

    def count(self, number: int) -> int:
        """`number` at this run's scale."""
        return max(1000, round(number * self.scale))

    def full(self) -> Path:
        """1M adds in commits of 500, a tenth removed by compaction, a checkpoint at the head."""
        return self._full(1_000_000, 365)

    def full_small(self) -> Path:
        """The same with a tenth of the files in a tenth of the days: as many files a partition."""
        return self._full(100_000, 36)

    def full_large(self) -> Path:
        """The same with 5M adds."""
        return self._full(5_000_000, 365)

    def _full(self, adds: int, days: int) -> Path:
        count = self.count(adds)
        shape = Shape(count, count // 10, max(1, round(days * min(1.0, self.scale * 4))))
        return self._table(f"full-{count}", shape, Variant(500, checkpoint=True))

    def tiny(self, adds: int = 100_000) -> Path:
        """So many commits of one add and nothing else."""
        count = self.count(adds)
        return self._table(f"tiny-{count}", Shape(count, 0, 365), Variant(1, commit_info=False))

    def fresh(self, live: int = 1_000_000) -> Path:
        """A fresh checkpoint of live files on a cleaned log, with 5 small commits after it."""
        count = self.count(live)
        variant = Variant(100, checkpoint=True, only_checkpoint=True, after=5)
        return self._table(f"fresh-{count}", Shape(count, 0, 365), variant)

    def _table(self, name: str, shape: Shape, variant: Variant) -> Path:
        path = self.folder / name
        if (path / "_generator.json").exists():
            return path
        self.say(f"generating {name}")
        generate(path, shape, variant)
        return path

    def copy(self, table: Path) -> Path:
        """A copy by hard links, for a part that appends commits."""
        target = self.folder / f"{table.name}-copy"
        if target.exists():
            shutil.rmtree(target)
        # os.link follows the log's own habit: commits are written once and never changed.
        shutil.copytree(table, target, copy_function=_link)
        return target

    def questions(self, table: Path) -> Questions:
        """The questions to ask about a table, with the right answers."""
        if table.name not in self._questions:
            self._questions[table.name] = of(table)
        return self._questions[table.name]

    def catalogued(
        self, server: servers.Server, table: Path, *, mode: str = "full-history"
    ) -> Catalogued:
        """The table in a database of `server`, imported by two workers once."""
        key = (server.name, table.name)
        if key not in self._catalogs:
            self._catalogs[key] = self.import_into(server.new_database(), table, mode=mode)
        return self._catalogs[key]

    def catalogued_sqlite(self, table: Path, *, mode: str = "full-history") -> Catalogued:
        """The same in a SQLite file."""
        key = ("sqlite", table.name)
        if key not in self._catalogs:
            path = self.folder / f"{table.name}.sqlite"
            for suffix in ("", "-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)
            self._catalogs[key] = self.import_into(str(path), table, mode=mode)
        return self._catalogs[key]

    def delta_rs(self, operation: str, *arguments: str, repeat: int = 1) -> Probe:
        """What delta-rs takes for an operation of `benchmarks.delta_rs`, measured once a run."""
        key = (operation, *arguments)
        if key not in self._delta_rs:
            self.say(f"delta-rs: {operation}")
            self._delta_rs[key] = delta_rs.run(operation, *arguments, repeat=repeat)
        return self._delta_rs[key]

    def import_into(
        self, database: str, table: Path, *, mode: str = "full-history", workers: int = 2
    ) -> Catalogued:
        """Import and check the number of live files."""
        self.say(f"importing {table.name}, {mode}, {workers} workers")
        imported = import_table(table, database, name=TABLE_NAME, mode=mode, workers=workers)
        live = read_facts(table)["live"]
        if imported.live_files != live:
            raise RuntimeError(f"{table.name}: {imported.live_files} live files, not {live}")
        return Catalogued(database, imported)

    def rows(self) -> Path:
        """The rows of `full` as an import into PostgreSQL wrote them, in an Arrow file."""
        if self._rows is None:
            source = self.catalogued(self.postgresql, self.full())
            name = files_table(source.database)
            target = self.folder / "rows.arrow"
            self.say("saving the rows for the floors")
            floor.save_rows(source.database, f"SELECT * FROM {name}", target)
            self._rows = target
            self._stack.callback(target.unlink, missing_ok=True)
        return self._rows


def files_table(database: str) -> str:
    """The physical table of the files of the one table in a catalog."""
    engine = sqlalchemy.create_engine(parse_database(database).reveal())
    try:
        with engine.connect() as connection:
            query = sqlalchemy.text("SELECT live_load FROM dl_heads")
            load_id = connection.execute(query).scalar_one()
    finally:
        engine.dispose()
    return load_files_name(load_id)


def _link(source: str, target: str) -> str:
    Path(target).hardlink_to(source)
    return target
