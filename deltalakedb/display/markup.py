"""Pieces of what notebooks show: tables, facts, bars, charts. Inline styles, for light and dark."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

BLUE = "#4c78a8"
RED = "#e45756"
_LEFT = "text-align:left;vertical-align:top;padding:2px 12px 2px 4px;background:transparent"
_RIGHT = (
    "text-align:right;vertical-align:top;padding:2px 12px 2px 4px;background:transparent;"
    "font-variant-numeric:tabular-nums"
)
_MUTED = "opacity:.65;font-weight:normal"


class Html(str):
    """Text that is markup already; all other text is escaped."""


def join(*parts: str) -> Html:
    """Parts one after the other."""
    return Html("".join(text(part) for part in parts))


def text(value: str) -> Html:
    """Text escaped; markup as it is."""
    return value if isinstance(value, Html) else Html(html.escape(value))


def muted(value: str) -> Html:
    """Text of less weight."""
    return Html(f"<span style='{_MUTED}'>{text(value)}</span>")


def code(value: str) -> Html:
    """Text in a fixed width."""
    return Html(f"<code>{text(value)}</code>")


def card(title: str, subtitle: str, *parts: str) -> Html:
    """A block under a heading; empty parts are left out."""
    heading = f"<div style='font-size:110%'><b>{text(title)}</b> {muted(subtitle)}</div>"
    body = "".join(f"<div style='margin-top:6px'>{text(part)}</div>" for part in parts if part)
    return Html(f"<div style='line-height:1.4'>{heading}{body}</div>")


def facts(rows: Iterable[tuple[str, str]]) -> Html:
    """Names and values, one a line."""
    lines = "".join(
        f"<tr style='background:transparent'><td style='{_LEFT}'>{muted(name)}</td>"
        f"<td style='{_LEFT}'>{text(value)}</td></tr>"
        for name, value in rows
    )
    return Html(f"<table style='border:0;margin:0'><tbody>{lines}</tbody></table>")


def grid(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> Html:
    """A table; the columns numbered in `right` are numbers."""
    styles = [_RIGHT if place in right else _LEFT for place in range(len(head))]
    titles = "".join(
        f"<th style='{style}'>{muted(name)}</th>" for name, style in zip(head, styles, strict=True)
    )
    lines = "".join(
        "<tr style='background:transparent'>"
        + "".join(
            f"<td style='{style}'>{text(cell)}</td>"
            for cell, style in zip(row, styles, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return Html(
        f"<table style='border:0;margin:0'><thead><tr>{titles}</tr></thead>"
        f"<tbody>{lines}</tbody></table>"
    )


def lines(values: Iterable[str], *, heading: str) -> Html:
    """Texts one below the other, under a small heading."""
    return join(muted(heading), *(Html(f"<div>{code(value)}</div>") for value in values))


def folded(summary: str, part: str) -> Html:
    """Something to be opened by a click."""
    return Html(f"<details><summary>{text(summary)}</summary>{text(part)}</details>")


def bar(share: float, color: str = BLUE, width: int = 140) -> Html:
    """A horizontal bar, `width` pixels at a share of 1; nothing for 0."""
    if share <= 0:
        return Html("")
    pixels = max(2, round(width * min(share, 1.0)))
    return Html(
        f"<span style='display:inline-block;background:{color};height:10px;width:{pixels}px;"
        "border-radius:1px'></span>"
    )


def change_chart(changes: Sequence[tuple[str, int, int]], *, height: int = 64) -> Html:
    """(what, added, removed) as bars up and down from a line, each with a tooltip."""
    if not changes:
        return Html("")
    step = max(3, min(18, 480 // len(changes)))
    most_up = max(added for _, added, _ in changes)
    most_down = max(removed for _, _, removed in changes)
    scale = (height - 4) / ((most_up + most_down) or 1)
    line = round(most_up * scale) + 2
    pieces = []
    for place, (what, added, removed) in enumerate(changes):
        up, down = (max(1, round(n * scale)) if n else 0 for n in (added, removed))
        left, wide = place * step, step - 1
        pieces.append(
            f"<g><title>{text(what)}</title>"
            f"<rect x='{left}' y='{line - up}' width='{wide}' height='{up}' fill='{BLUE}'/>"
            f"<rect x='{left}' y='{line}' width='{wide}' height='{down}' fill='{RED}'/></g>"
        )
    width = step * len(changes)
    return Html(
        f"<svg width='{width}' height='{height}' role='img' style='display:block'>"
        f"{''.join(pieces)}<line x1='0' x2='{width}' y1='{line}' y2='{line}' "
        "stroke='currentColor' stroke-opacity='.4'/></svg>"
    )
