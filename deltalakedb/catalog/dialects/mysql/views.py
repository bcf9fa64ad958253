"""`dl_files` and `dl_live_files` on MySQL and MariaDB: views over the tables of live loads.

DDL ends a transaction there, so the swap can't carry it. The views hold a load's table before it
is live, under a condition that the swap makes true: `dl_heads.live_load` says so. A table comes
into the views only when it is loaded and indexed, because DDL waits for transactions that have
read it, through a view too. All changes are made under a lock of the server, GET_LOCK.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from typing import Any

import pymysql

from deltalakedb.catalog.dialects.mysql.error import LOCK_WAIT_TIMEOUT, number_and_text
from deltalakedb.catalog.dialects.union_view import (
    files_select,
    union_views,
)
from deltalakedb.catalog.records import HEAP, load_files_name
from deltalakedb.catalog.views import COLUMNS, LIVE_FILES_COLUMNS, live_files_select

_WIDTH = 20
"""Branches in a view: MySQL's manual allows 61 tables, and a branch has up to three."""
_LAYER = "_layer_"


def attachable_loads(cursor: Any) -> set[int]:
    """Loads that are live, and those of running imports that are complete."""
    cursor.execute("SELECT live_load FROM dl_heads")
    loads = {load for (load,) in cursor.fetchall()} & existing_loads(cursor)
    cursor.execute("SELECT run_key FROM dl_import_runs WHERE status = 'running'")
    return loads | {run for (run,) in cursor.fetchall() if is_complete(cursor, run)}


def existing_loads(cursor: Any) -> set[int]:
    """Loads that have a files table."""
    cursor.execute(
        "SELECT table_name FROM information_schema.tables "
        "WHERE table_schema = DATABASE() AND table_name REGEXP '^dl_files_l[0-9]+$'"
    )
    return {int(name.removeprefix("dl_files_l")) for (name,) in cursor.fetchall()}


def is_complete(cursor: Any, load_id: int) -> bool:
    """Whether a load's table has its indexes, which are built when all rows are in."""
    cursor.execute(
        "SELECT count(*) FROM information_schema.statistics "
        f"WHERE table_schema = DATABASE() AND table_name = '{load_files_name(load_id)}'"
    )
    [(count,)] = cursor.fetchall()
    return bool(count)


def replace_views(cursor: Any, loads: Collection[int]) -> None:
    """Make the views show `loads`, as far as they are live."""
    # New names for the layers, so that a reader never sees two generations mixed.
    generation = secrets.token_hex(4)
    for statement in view_statements(loads, generation):
        cursor.execute(statement)
    _drop_layers(cursor, generation)


def view_statements(loads: Collection[int], generation: str = "0") -> list[str]:
    """The views of files anew; `generation` is part of the names of their layers."""
    ids = sorted(loads)
    return [
        f"CREATE OR REPLACE VIEW {view} AS {select}"
        for name, columns, selects in (
            ("dl_files", COLUMNS, _files(ids)),
            ("dl_live_files", ", ".join(LIVE_FILES_COLUMNS), _live_files(ids)),
        )
        for view, select in union_views(
            name, columns, selects, _WIDTH, f"{name}{_LAYER}{generation}_"
        )
    ]


def _files(ids: list[int]) -> list[str]:
    live = "WHERE EXISTS (SELECT 1 FROM dl_heads h WHERE h.live_load = {})"
    return [
        f"SELECT {COLUMNS} FROM {HEAP}",
        *(f"{files_select(i)} {live.format(i)}" for i in ids),
    ]


def _live_files(ids: list[int]) -> list[str]:
    # Not over dl_files: the server would gather all files of all tables before it joins.
    return [
        live_files_select(HEAP),
        *(f"{live_files_select(load_files_name(i))} AND h.live_load = {i}" for i in ids),
    ]


def _drop_layers(cursor: Any, generation: str) -> None:
    cursor.execute(
        "SELECT table_name FROM information_schema.views WHERE table_schema = DATABASE() "
        f"AND table_name REGEXP '^dl_(live_)?files{_LAYER}'"
    )
    for (name,) in cursor.fetchall():
        if generation not in name:
            try:
                cursor.execute(f"DROP VIEW IF EXISTS {name}")
            except pymysql.MySQLError as error:
                # Somebody still reads it; it goes with the next change.
                if number_and_text(error)[0] != LOCK_WAIT_TIMEOUT:
                    raise
