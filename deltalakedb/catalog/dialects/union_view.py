"""The files of large loads where the database has no partitions: a view over their tables."""

from __future__ import annotations

from collections.abc import Sequence

from deltalakedb.catalog.records import load_files_name
from deltalakedb.catalog.tables import files


def files_select(load_id: int) -> str:
    """The files of one load, as a branch of the view.

    Its `load_id` is a constant: a condition on it leaves all other branches out unread.
    """
    others = ", ".join(c.name for c in files.columns if c.name != "load_id")
    return f"SELECT {load_id} AS load_id, {others} FROM {load_files_name(load_id)}"


def no_files_select(nowhere: str) -> str:
    """The view of no load at all; `nowhere` is the end of a SELECT that finds no row."""
    return f"SELECT {', '.join(f'NULL AS {c.name}' for c in files.columns)} {nowhere}"


def union_views(
    name: str, columns: str, selects: Sequence[str], width: int, layer: str
) -> list[tuple[str, str]]:
    """The views, as (name, SELECT), of which the last is `name`: UNION ALL of all `selects`.

    No view has more than `width` branches. Where there are more selects, they are gathered in
    layers named `<layer>0`, `<layer>1`, …; each view comes after those it needs.
    """
    views: list[tuple[str, str]] = []
    branches = list(selects)
    while len(branches) > width:
        above = []
        for start in range(0, len(branches), width):
            below = f"{layer}{len(views)}"
            views.append((below, " UNION ALL ".join(branches[start : start + width])))
            above.append(f"SELECT {columns} FROM {below}")
        branches = above
    return [*views, (name, " UNION ALL ".join(branches))]
