"""Tables, snapshots and file lists in notebooks: facts, columns, partitions, sizes of files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from deltalakedb.display.markup import (
    Html,
    bar,
    card,
    change_chart,
    code,
    facts,
    folded,
    grid,
    join,
    muted,
)
from deltalakedb.display.text import count_text, size_text

if TYPE_CHECKING:
    from deltalakedb.snapshot.files import FileList
    from deltalakedb.snapshot.snapshot import Snapshot

_PARTITIONS_SHOWN = 10
_FIELDS_SHOWN = 40
_FILES_SHOWN = 10
_COUNTED_FILES = 200_000
"""Sizes are classed up to so many files: what is shown unasked has to be quick."""
_SIZE_BOUNDS = tuple(n * 1000 for n in (100, 1_000, 10_000, 32_000, 128_000, 512_000))


def snapshot_html(snapshot: Snapshot) -> str:
    """A snapshot's card: what it is, its columns, its largest partitions, its files' sizes."""
    rows = [
        *_own_facts(snapshot),
        ("protocol", _protocol(snapshot)),
        ("location", code(snapshot.location)),
    ]
    return card(
        snapshot.name,
        f"version {snapshot.version:,}",
        facts(rows),
        _columns(snapshot),
        _sizes(snapshot),
        _partitions(snapshot),
    )


def table_html(
    name: str,
    rows: Sequence[tuple[str, str]],
    snapshot: Snapshot,
    changes: Sequence[tuple[str, int, int]],
) -> str:
    """A table's card: its own facts, its newest snapshot, what its latest commits changed."""
    chart = ""
    if changes:
        caption = f"files added (up) and removed (down) by the last {len(changes)} commits"
        chart = join(muted(caption), change_chart(changes))
    return card(
        name,
        f"version {snapshot.version:,}",
        facts([*_own_facts(snapshot), *rows]),
        _columns(snapshot),
        chart,
        _partitions(snapshot),
    )


def files_html(files: FileList) -> str:
    """The first of a list of files."""
    shown = list(islice(files, _FILES_SHOWN))
    largest = max((f.size for f in shown), default=0) or 1
    rows = [
        (
            code(f.path),
            size_text(f.size),
            bar(f.size / largest, width=80),
            "" if f.num_records is None else f"{f.num_records:,}",
        )
        for f in shown
    ]
    more = len(files) - len(shown)
    return card(
        count_text(len(files), "file"),
        size_text(files.total_bytes),
        grid(("path", "size", "", "rows"), rows, right=(1, 3)),
        muted(f"and {more:,} more") if more > 0 else "",
    )


def _own_facts(snapshot: Snapshot) -> list[tuple[str, str]]:
    count, size = snapshot.num_files, snapshot.total_bytes
    mean = f", {size_text(size // count)} on average" if count else ""
    return [
        ("files", f"{count:,} files, {size_text(size)}{mean}" if count != 1 else size_text(size)),
        ("partitioned by", ", ".join(snapshot.metadata.partition_columns) or "nothing"),
    ]


def _protocol(snapshot: Snapshot) -> str:
    protocol = snapshot.protocol
    features = sorted({*(protocol.reader_features or ()), *(protocol.writer_features or ())})
    versions = f"reader {protocol.min_reader_version}, writer {protocol.min_writer_version}"
    return versions + (f": {', '.join(features)}" if features else "")


def _columns(snapshot: Snapshot) -> Html:
    found: list[dict[str, Any]] = json.loads(snapshot.metadata.schema.schema_string or "{}").get(
        "fields", []
    )
    partitioned = set(snapshot.metadata.partition_columns)
    rows: list[tuple[str, str, str]] = [
        (
            f["name"],
            code(_type_text(f["type"])),
            ", ".join(
                ["partition"] * (f["name"] in partitioned)
                + ["not null"] * (not f.get("nullable", True))
            ),
        )
        for f in found[:_FIELDS_SHOWN]
    ]
    more = len(found) - _FIELDS_SHOWN
    if more > 0:
        rows.append((f"and {more:,} more", "", ""))
    return folded(count_text(len(found), "column"), grid(("name", "type", ""), rows))


def _type_text(kind: Any) -> str:
    if isinstance(kind, str):
        return kind
    inner = {
        "array": lambda: f"array<{_type_text(kind['elementType'])}>",
        "map": lambda: f"map<{_type_text(kind['keyType'])}, {_type_text(kind['valueType'])}>",
    }.get(kind.get("type"))
    if inner is not None:
        return inner()
    return "struct<" + ", ".join(f["name"] for f in kind.get("fields", [])) + ">"


def _sizes(snapshot: Snapshot) -> str:
    """How many files are how large; nothing for tables that are too large to be looked through."""
    if not 1 < snapshot.num_files <= _COUNTED_FILES:
        return ""
    found = snapshot.size_classes(_SIZE_BOUNDS)
    used = [place for place, (count, _) in enumerate(found) if count]
    most = max(count for count, _ in found)
    rows = [
        (_class_text(place), f"{count:,}", size_text(size), bar(count / most))
        for place, (count, size) in list(enumerate(found))[used[0] : used[-1] + 1]
    ]
    return grid(("size of a file", "files", "bytes", ""), rows, right=(1, 2))


def _class_text(place: int) -> str:
    bounds = [size_text(b).replace(".0", "") for b in _SIZE_BOUNDS]
    if place == 0:
        return f"below {bounds[0]}"
    return (
        f"{bounds[place - 1]} to {bounds[place]}" if place < len(bounds) else f"from {bounds[-1]}"
    )


def _partitions(snapshot: Snapshot) -> str:
    """The partitions with the most bytes, with bars; nothing for an unpartitioned table."""
    if not snapshot.metadata.partition_columns:
        return ""
    found = snapshot.partition_summary()
    if not found:
        return ""
    found.sort(key=lambda p: -p[2])
    largest = found[0][2] or 1
    rows = [
        (_values_text(values), f"{count:,}", size_text(size), bar(size / largest))
        for values, count, size in found[:_PARTITIONS_SHOWN]
    ]
    caption = count_text(len(found), "partition")
    if len(found) > len(rows):
        caption += f", the largest {len(rows)}"
    return grid((caption, "files", "bytes", ""), rows, right=(1, 2))


def _values_text(values: dict[str, str | None]) -> str:
    return ", ".join(f"{k}={'null' if v is None else v}" for k, v in values.items())
