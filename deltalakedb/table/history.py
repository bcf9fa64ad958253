"""A table's history as a list that prints well."""

from __future__ import annotations

from typing import Any

import orjson

from deltalakedb.display.markup import BLUE, RED, bar, card, grid, join, muted
from deltalakedb.display.text import count_text, size_text, time_text

_HTML_ROWS = 50
_SHOWN = ("version", "time", "operation", "adds", "removes", "engine")


class History(list[dict[str, Any]]):
    """Commits, newest first; each a dictionary with the keys of `dl history --format json`."""

    def __init__(self, table: str, rows: list[dict[str, Any]]) -> None:
        super().__init__(history_entry(row) for row in rows)
        self.table = table

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                str(e["version"]),
                time_text(e["commit_time"]),
                e["operation"] or "",
                "" if e["num_adds"] is None else f"{e['num_adds']:,}",
                "" if e["num_removes"] is None else f"{e['num_removes']:,}",
                e["engine_info"] or "",
            )
            for e in self
        ]

    def __str__(self) -> str:
        rows = [_SHOWN, *self._rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_SHOWN))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )

    __repr__ = __str__

    def changes(self) -> list[tuple[str, int, int]]:
        """(what, files added, files removed) of each commit that is known, oldest first."""
        known = [e for e in reversed(self) if e["num_adds"] is not None]
        return [(_told(e), e["num_adds"], e["num_removes"] or 0) for e in known]

    def _repr_html_(self) -> str:
        widest = max(max(e["num_adds"] or 0, e["num_removes"] or 0) for e in self) if self else 1
        rows = [
            (
                *plain[:5],
                join(
                    bar((e["num_adds"] or 0) / (widest or 1), BLUE, 60),
                    bar((e["num_removes"] or 0) / (widest or 1), RED, 60),
                ),
                size_text(e["bytes_added"]),
                plain[5],
            )
            for plain, e in zip(self._rows()[:_HTML_ROWS], self, strict=False)
        ]
        more = len(self) - len(rows)
        head = (*_SHOWN[:5], "", "bytes added", _SHOWN[5])
        return card(
            self.table,
            count_text(len(self), "commit"),
            grid(head, rows, right=(0, 3, 4, 6)),
            muted(f"and {more:,} older ones") if more > 0 else "",
        )


def _told(entry: dict[str, Any]) -> str:
    changed = f"{entry['num_adds']:,} added, {entry['num_removes'] or 0:,} removed"
    when = time_text(entry["commit_time"])
    return f"version {entry['version']}: {entry['operation'] or 'commit'} {when}, {changed}"


def history_entry(row: dict[str, Any]) -> dict[str, Any]:
    """A row of `dl_versions` in its public form: JSON texts parsed, `timestamp` as delta-rs's.

    `timestamp` is commitInfo.timestamp, or the commit's time where that is missing; `commit_time`
    decides time travel; all in ms since 1970.
    """
    return {
        "version": row["version"],
        "timestamp": row["info_time"] if row["info_time"] is not None else row["commit_time"],
        "commit_time": row["commit_time"],
        "in_commit_timestamp": row["in_commit_time"],
        "file_time": row["file_time"],
        "operation": row["operation"],
        "operation_parameters": _parsed(row["operation_parameters"]),
        "operation_metrics": _parsed(row["operation_metrics"]),
        "engine_info": row["engine_info"],
        "txn_id": row["txn_id"],
        "read_version": row["read_version"],
        "isolation_level": row["isolation_level"],
        "is_blind_append": row["is_blind_append"],
        "user_metadata": row["user_metadata"],
        "num_adds": row["num_adds"],
        "num_removes": row["num_removes"],
        "bytes_added": row["bytes_added"],
        "readable": row["readable"],
    }


def _parsed(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)
