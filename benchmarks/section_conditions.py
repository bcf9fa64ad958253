"""Appending where something is slow or in the way: log, network, another session's snapshot."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2

import deltalakedb
from benchmarks.appender import rows_of
from benchmarks.places import PROCESSES, Places, appended, seconds_of
from benchmarks.report import Entry, Figure, Kind
from benchmarks.workbench import Workbench
from tests.writing.proxy import CountingProxy

SECTION = "Write"
TRIP_SECONDS = 0.0005
APPENDS, WARM = 30, 5
HELD = 7.5
"""As many times longer than without it a snapshot is held: a minute, where the rest takes 8 s."""
MAX_UNPUBLISHED = 200


def held_snapshot(bench: Workbench) -> Iterator[Entry]:
    """Appends while another session of PostgreSQL holds a snapshot."""
    seconds = seconds_of(bench)
    places = Places(bench)
    free = appended(bench, "ours", places.ours(1), PROCESSES, seconds)
    targets = places.ours(1)
    with _snapshot_of(places.database):
        held = appended(bench, "ours", targets, PROCESSES, HELD * seconds)
    yield Figure(
        SECTION,
        "append while another session holds a snapshot, 8 processes",
        Kind.COST,
        1.25,
        held.seconds_each,
        free.seconds_each,
        "without",
        note=f"held {held.note}; without {free.note}",
    )


def slow_trips(bench: Workbench) -> Iterator[Entry]:
    """Appends through a proxy that holds each trip up, and one that doesn't."""
    seconds = seconds_of(bench)
    taken = {}
    for name, delay in (("near", 0.0), ("far", TRIP_SECONDS)):
        with closing(CountingProxy(bench.postgresql.port)) as proxy:
            proxy.delay = delay
            places = Places(bench, port=proxy.port)
            taken[name] = appended(bench, "ours", places.ours(1), PROCESSES, seconds)
    yield Figure(
        SECTION,
        "append with 0.5 ms a trip to the database, 8 processes on one table",
        Kind.COST,
        1.25,
        taken["far"].seconds_each,
        taken["near"].seconds_each,
        "without",
        note=f"through a proxy both; {taken['far'].note}; without {taken['near'].note}",
    )


def trips(bench: Workbench) -> Iterator[Entry]:
    """Round trips to PostgreSQL between a commit's lock and its COMMIT, counted by a proxy."""
    most = 0
    with closing(CountingProxy(bench.postgresql.port)) as proxy:
        [uri] = Places(bench, port=proxy.port).ours(1)
        with closing(deltalakedb.connect_to_table(uri)) as table:
            for number in range(APPENDS):
                before = len(proxy.trips)
                table.append(rows_of(number, 10))
                if number >= WARM:
                    most = max(most, proxy.trips_in_lock(before))
    note = f"the most of {APPENDS - WARM} appends; by a proxy that counts"
    name = "round trips between lock and COMMIT"
    yield Figure(SECTION, name, Kind.LIMIT, 2, most, unit="trips", note=note)


def slow_puts(bench: Workbench) -> Iterator[Entry]:
    """Appends that don't wait for a log where each put takes 30 ms longer: how much waits."""
    places = Places(bench)
    targets = places.ours(1)
    waiting = [0]
    with _watched(places.database, waiting):
        found = appended(bench, "ours-unpublished", targets, PROCESSES, seconds_of(bench))
    where = f"30 ms a put and at most {MAX_UNPUBLISHED} unpublished versions"
    name = f"versions that wait for the log, {where}"
    limit = MAX_UNPUBLISHED + PROCESSES
    yield Figure(SECTION, name, Kind.LIMIT, limit, waiting[0], unit="versions", note=found.note)
    failed = sum(found.failures.values())
    yield Figure(SECTION, f"our failures, {where}", Kind.LIMIT, 0, failed, unit="failures")


@contextmanager
def _watched(database: str, most: list[int]) -> Iterator[None]:
    """Keep the greatest number of versions that wait for the log."""
    over = threading.Event()

    def watch() -> None:
        with closing(psycopg2.connect(database)) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            while not over.wait(0.1):
                cursor.execute(
                    "SELECT max(h.head_version - m.published_version) "
                    "FROM dl_heads h JOIN dl_mirror m ON m.table_key = h.table_key"
                )
                most[0] = max(most[0], cursor.fetchone()[0] or 0)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def _snapshot_of(database: str) -> Iterator[None]:
    connection = psycopg2.connect(database)
    try:
        cursor = connection.cursor()
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM dl_heads")
        yield
    finally:
        connection.close()


def conditions(bench: Workbench) -> Iterator[Entry]:
    """All of it."""
    for part in (held_snapshot, trips, slow_trips, slow_puts):
        bench.say(f"conditions: {part.__name__}")
        yield from part(bench)
