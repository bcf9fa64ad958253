"""The figures of catalogs that hold many tables: imports one after the other, views, upgrades."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import sqlalchemy

import deltalakedb
from benchmarks.generate import Variant, generate
from benchmarks.many_loads import copy_table, fill_old_catalog
from benchmarks.report import Entry, Figure, Kind
from benchmarks.synthetic import Shape
from benchmarks.workbench import Workbench
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.upgrade import pending_upgrade, upgrade_catalog

SECTION = "Many tables"
_FEW, _IN_TURN = 10, 40
_COMMITS, _ADDS = 10, 2
_ASKED = 21
_LIVE_FILES = "SELECT count(*) FROM dl_live_files WHERE namespace = '' AND table_name = '{}'"


def fleet(bench: Workbench) -> Iterator[Entry]:
    """1,000 tables of 10 commits, imported one after the other into PostgreSQL.

    The last ones are imported in turn with those of a catalog that has ten: what else the machine
    does is the same for both.
    """
    tables = bench.count(1_000)
    many, few = (_Fleet(bench, name) for name in ("many", "few"))
    for _ in range(tables - _IN_TURN):
        many.add()
    for _ in range(_FEW):
        few.add()
    late, early = zip(*[(many.add(), few.add()) for _ in range(_IN_TURN)], strict=True)
    for each in (many, few):
        bench.postgresql.drop(each.database)
    yield Figure(
        SECTION,
        f"import of a 10-commit table as the {tables:,}th, PostgreSQL, CPU of client and server",
        Kind.COST,
        1.3,
        statistics.mean(late),
        statistics.mean(early),
        f"as the {_FEW}th",
    )


class _Fleet:
    """A catalog in PostgreSQL that gets one small table after the other."""

    def __init__(self, bench: Workbench, name: str) -> None:
        self._bench = bench
        self._folder = bench.folder / f"fleet-{name}"
        self._count = 0
        self.database = bench.postgresql.new_database()

    def add(self) -> float:
        """One more table; the CPU seconds that its import took here and on the server."""
        table = self._folder / f"t{self._count:05d}"
        self._count += 1
        generate(table, Shape(_COMMITS * _ADDS, days=1, seed=self._count), Variant(_ADDS))
        server = self._bench.postgresql
        before = time.process_time() + server.cpu_seconds()
        deltalakedb.import_table(str(table), database=self.database)
        return time.process_time() + server.cpu_seconds() - before


def views(bench: Workbench) -> Iterator[Entry]:
    """One table of 5,000 through `dl_live_files`, on every database."""
    count = bench.count(5_000)
    table = bench.folder / "one of many"
    generate(table, Shape(_COMMITS * _ADDS, days=1), Variant(_ADDS))
    for name, database in _databases(bench):
        bench.say(f"{count:,} tables in {name}")
        deltalakedb.import_table(str(table), database=database, table_name="one")
        names = copy_table(database, "one", count - 1)
        with Catalog(database) as catalog, catalog.read() as connection:
            connection.exec_driver_sql("ANALYZE" if name != "MariaDB" else "ANALYZE TABLE dl_heads")
            asked = []
            for place in range(_ASKED):
                question = _LIVE_FILES.format(names[place * (len(names) // _ASKED)])
                started = time.perf_counter()
                found = connection.execute(sqlalchemy.text(question)).scalar()
                asked.append(time.perf_counter() - started)
                if found != _COMMITS * _ADDS:
                    raise RuntimeError(f"{found} files through dl_live_files of {name}")
        yield Figure(
            SECTION,
            f"a table's live files through `dl_live_files`, {count:,} tables in {name}",
            Kind.LIMIT,
            10,
            1000 * statistics.median(asked),
            unit="ms",
        )


def upgrades(bench: Workbench) -> Iterator[Entry]:
    """A catalog of the first schema with 2,500 tables of their own, upgraded everywhere."""
    count = bench.count(2_500)
    for name, database in _databases(bench):
        bench.say(f"{count:,} loads of schema 0001 in {name}")
        fill_old_catalog(database, count)
        started = time.perf_counter()
        upgrade_catalog(database)
        seconds = time.perf_counter() - started
        if pending_upgrade(database).pending:
            raise RuntimeError(f"{name}: the upgrade is not complete")
        yield Figure(
            SECTION,
            f"upgrade of a catalog of {count:,} loads, {name}, a load",
            Kind.LIMIT,
            40,
            1000 * seconds / count,
            unit="ms",
        )


def _databases(bench: Workbench) -> Iterator[tuple[str, str]]:
    """Name and URL of an empty database of each kind, which is there until the next."""
    with ExitStack() as stack:
        for name, server in (("PostgreSQL", bench.postgresql), ("MariaDB", bench.mariadb)):
            database = server.new_database()
            stack.callback(server.drop, database)
            yield name, database
    path = Path(bench.folder) / "many.sqlite"
    path.unlink(missing_ok=True)
    yield "SQLite", str(path)


PARTS: dict[str, Callable[[Workbench], Iterator[Entry]]] = {"fleet": fleet, "views": views}

ON_DEMAND: dict[str, Callable[[Workbench], Iterator[Entry]]] = {"upgrades": upgrades}
"""Parts that a plain run leaves out for the time that filling takes."""
