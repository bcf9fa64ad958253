"""The report of a night: one HTML file that needs nothing else, whatever it is opened with."""

from __future__ import annotations

import base64
import hashlib
import os
import shlex
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files as resources
from typing import TYPE_CHECKING, Any

from deltalakedb import __version__
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.config import SqlConfig
from deltalakedb.display.text import size_text
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.redact import redact
from deltalakedb.sweep.findings import KINDS
from deltalakedb.sweep.history import History, history, quiet
from deltalakedb.sweep.night import TableNight
from deltalakedb.sweep.run import SweepReport

if TYPE_CHECKING:
    from jinja2 import Template

SHOWN = 100
"""Tables that are told in detail; the JSON beside has them all."""
STALE_HOURS = 26
_SLOWEST = 10
_MARKS = {"verified": "✓", "drift": "✗", "failed": "!", "lag": "…", "stale": "?"}
_CODES = {0: "verified", 1: "failed", 2: "drift", 3: "lag"}
_WORDS = {
    "verified": "proven",
    "drift": "drift",
    "failed": "failed",
    "lag": "lag",
    "stale": "not seen",
}


def page(report: SweepReport, past: History, made: Mapping[str, str]) -> str:
    """The HTML; `made`: how, for its end (options, exclusions), by name."""
    style, script = _part("report.css"), _part("report.js")
    rows = report.tables
    urgent = [t for s in ("drift", "failed") for t in rows if t.status == s]
    lagging = sorted(report.of("lag"), key=lambda t: -t.lag_seconds)
    return _template().render(
        style=style,
        script=script,
        policy=(
            f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
            "base-uri 'none'; form-action 'none'"
        ),
        report=report,
        when=_moment(report.began),
        took=_duration(report.seconds),
        counts=[(_MARKS[s], s, _WORDS[s], n) for s, n in report.counts.items()],
        urgent=[_urgent(t) for t in urgent[:SHOWN]],
        more_urgent=max(len(urgent) - SHOWN, 0),
        lagging=[(t, _duration(t.lag_seconds), _command(t)) for t in lagging[:SHOWN]],
        more_lagging=max(len(lagging) - SHOWN, 0),
        changed=list(_changed(rows, past))[:SHOWN],
        stale=_stale(rows, report.began),
        slowest=[
            (t, _duration(t.seconds))
            for t in sorted(rows, key=lambda t: -t.seconds)[:_SLOWEST]
            if t.seconds >= 0.001
        ],
        drifted=bars(past.drifted, "tables with drift"),
        worst_lag=bars(past.worst_lag, "seconds of the worst lag"),
        tables=[_line(t, past) for t in rows],
        not_seen=_not_seen(rows),
        total_files=f"{sum(t.row.num_files for t in rows):,}",
        total_bytes=size_text(sum(t.row.total_bytes for t in rows)),
        made={**made, "version": __version__},
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"mark": _MARKS, "word": _WORDS}
    return environment.from_string(_part("report.html.j2"))


def _part(name: str) -> str:
    return resources("deltalakedb.sweep").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _urgent(table: TableNight) -> dict[str, Any]:
    name = table.row.full_name
    found = [(f.kind, KINDS[f.kind], redact(f.text)) for f in table.findings]
    if table.error:
        found.append(("failed", "the look itself failed", redact(table.error)))
    return {"table": table, "name": name, "found": found, "command": _command(table)}


def _command(table: TableNight) -> str:
    name = table.row.full_name
    if table.findings:
        return table.findings[0].command(name)
    return f"dl sweep {shlex.quote(name)}"


def _changed(rows: Iterable[TableNight], past: History) -> Iterable[dict[str, str]]:
    for table in rows:
        known = past.tables.get(table.row.table_id)
        before = "new" if known is None or known.last is None else _CODES.get(known.last, "failed")
        if table.status not in (before, "stale") and not (
            before == "new" and table.status == "verified"
        ):
            yield {
                "name": table.row.full_name,
                "id": table.row.table_id,
                "before": before,
                "now": table.status,
            }


def _stale(rows: Iterable[TableNight], now: int) -> dict[str, Any]:
    """Tables whose proof is too old, the oldest first, and how many there are."""
    old = [
        (0 if t.proof is None else t.proof.seen_at, t)
        for t in rows
        if t.proof is None or now - t.proof.seen_at > STALE_HOURS * 3_600_000
    ]
    old.sort(key=lambda each: (each[0], each[1].row.full_name))
    return {
        "count": len(old),
        "first": [(t, _moment(at) if at else "never") for at, t in old[:SHOWN]],
    }


def _line(table: TableNight, past: History) -> dict[str, Any]:
    known = past.tables.get(table.row.table_id)
    spark = ""
    if known is not None and not (quiet(known.lag) and quiet(known.drift)):
        spark = sparkline(known.drift if not quiet(known.drift) else known.lag)
    proof = table.proof
    return {
        "id": table.row.table_id,
        "name": table.row.full_name,
        "status": table.status,
        "how": table.how or "",
        "version": table.row.head_version,
        "files": table.row.num_files,
        "size": table.row.total_bytes,
        "size_text": size_text(table.row.total_bytes),
        "lag": round(table.lag_seconds, 1),
        "proven": 0 if proof is None else proof.seen_at // 1000,
        "proven_text": "never" if proof is None else _moment(proof.seen_at)[5:16],
        "spark": spark,
    }


def _not_seen(rows: Sequence[TableNight]) -> list[tuple[str, int]]:
    """What this night did not look at, and of how many tables."""
    unread = sum("the content of commits that were read before" in t.not_seen for t in rows)
    left = [n for t in rows for n in t.not_seen if n.endswith("data files")]
    inside = sum(n.startswith("the content") for n in left)
    data = len(left) - inside
    stale = sum(t.status == "stale" for t in rows)
    told = [
        ("anything: the deadline came first", stale),
        ("the content of commits that were read on an earlier night", unread),
        ("some of the data files, whose turn comes within a week", data),
        ("the content of some of the data files", inside),
    ]
    return [(what, count) for what, count in told if count]


def sparkline(values: Sequence[float | int | None]) -> str:
    """Points of an SVG polyline 60 wide and 14 high; nights that weren't seen are left out."""
    top = max((v for v in values if v is not None), default=0) or 1
    step = 60 / max(len(values) - 1, 1)
    points = [
        f"{n * step:.0f},{13 - 12 * v / top:.0f}" for n, v in enumerate(values) if v is not None
    ]
    return " ".join(points)


def bars(values: Sequence[float | int | None], what: str) -> dict[str, Any]:
    """Rectangles of a chart 300 wide and 60 high: x, y, width, height, and if it was seen."""
    top = max((v for v in values if v is not None), default=0) or 1
    width = 300 / max(len(values), 1)
    drawn = []
    for n, value in enumerate(values):
        height = 0 if value is None else max(56 * value / top, 1)
        seen = value is not None
        drawn.append(
            (
                f"{n * width:.1f}",
                f"{58 - height:.1f}",
                f"{width - 2:.1f}",
                f"{height:.1f}" if seen else "1",
                seen,
            )
        )
    last = next((v for v in reversed(values) if v is not None), 0)
    return {"what": what, "bars": drawn, "top": f"{top:,.0f}", "last": f"{last:,.0f}"}


def _moment(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min"


def write_page(
    path: str, report: SweepReport, database: str | SqlConfig, made: Mapping[str, str]
) -> None:
    """Write the HTML, whole or not at all. Raises STORAGE_ERROR where the file can't be written."""
    with Catalog(database) as catalog:
        text = page(report, history(catalog, report.began), made)
    folder = os.path.dirname(os.path.abspath(path))
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=folder, delete=False) as file:
            file.write(text)
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)
    except OSError as error:
        raise DeltaLakeError(
            DeltaLakeErrorKind.STORAGE_ERROR,
            f"the report {path} can't be written: {error.strerror or error}; name another file",
        ) from None
