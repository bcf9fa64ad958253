"""Where two sides differ: files by their hashes, everything else by its value. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from deltalakedb.catalog.records import TableState
from deltalakedb.parity.facts import FILE_RECORD, Records

Kind = str
"""`metadata`, `property`, `protocol`, `txn`, `domain` or `totals`."""


@dataclass(frozen=True)
class Difference:
    """One thing, besides files and commits, that the sides say differently.

    `name` within its `kind`; `catalog` and `log` are JSON values, None where a side has nothing.
    """

    kind: Kind
    name: str
    catalog: Any
    log: Any

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, "catalog": self.catalog, "log": self.log}


@dataclass
class FileDrift:
    """Files that differ: how many, and records (FILE_RECORD) of the first `room` of each kind.

    `missing_in_catalog` and `different` are the log's records, `missing_in_log` the catalog's.
    A file that the catalog lists twice is different.
    """

    room: int
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("missing_in_catalog", "missing_in_log", "different"), 0
        )
    )
    first: dict[str, Records] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def records(self, kind: str) -> Records:
        return self.first.get(kind, np.empty(0, dtype=FILE_RECORD))

    def note(self, kind: str, found: Records) -> None:
        self.counts[kind] += len(found)
        before = self.records(kind)
        self.first[kind] = np.concatenate([before, found[: self.room - len(before)]])


def compare_files(log: Records, catalog: Records, drift: FileDrift) -> None:
    """Add to `drift` what differs between the live files (FILE_RECORD) of one bucket."""
    log, catalog = _ordered(log), _ordered(catalog)
    if len(log) == len(catalog) and _same_keys(log, catalog).all():
        # The usual case; a repeated key can't hide in it, as the log's side has none.
        drift.note("different", log[_differs(log, catalog)])
        return
    both = np.concatenate([log, catalog])
    ours = np.arange(len(both)) < len(log)
    order = np.lexsort((~ours, both["key2"], both["key"]))
    both, ours = both[order], ours[order]
    starts = np.ones(len(both), dtype=bool)
    starts[1:] = ~_same_keys(both[1:], both[:-1])
    group = np.cumsum(starts) - 1
    count = int(group[-1]) + 1 if len(group) else 0
    in_log = np.bincount(group[ours], minlength=count)
    in_catalog = np.bincount(group[~ours], minlength=count)
    first = np.flatnonzero(starts)
    drift.note("missing_in_catalog", both[first[in_catalog == 0]])
    drift.note("missing_in_log", both[first[in_log == 0]])
    drift.note("different", both[first[(in_log > 0) & (in_catalog > 1)]])
    pairs = first[(in_log == 1) & (in_catalog == 1)]
    drift.note("different", both[pairs[_differs(both[pairs], both[pairs + 1])]])


def _ordered(records: Records) -> Records:
    records = records[np.argsort(records["key"], kind="stable")]
    key = records["key"]
    if (key[1:] == key[:-1]).any():
        records = records[np.lexsort((records["key2"], key))]
    return records


def _same_keys(a: Records, b: Records) -> npt.NDArray[np.bool_]:
    return np.asarray((a["key"] == b["key"]) & (a["key2"] == b["key2"]))


def _differs(log: Records, catalog: Records) -> npt.NDArray[np.bool_]:
    # A checkpoint may leave statistics out that its commits had: no drift if the catalog has them.
    return np.asarray((log["fact"] != catalog["fact"]) | (log["stats"] & ~catalog["stats"]))


def compare_states(
    log: TableState, catalog: TableState, *, expired: bool = False
) -> list[Difference]:
    """What the sides say differently of metadata, properties, protocol, transactions, domains.

    `expired`: transactions that the log no longer has may have been dropped by its checkpoint
    (property `delta.setTransactionRetentionDuration`).
    """
    found = list(_compare_metadata(log.metadata, catalog.metadata))
    found += _compare_maps("protocol", log.protocol, catalog.protocol)
    txns = dict(catalog.txns)
    if expired:
        for app in set(txns) - set(log.txns):
            if txns[app].get("last_updated") is not None:
                del txns[app]
    found += _compare_maps("txn", log.txns, txns)
    found += _compare_maps("domain", log.domains, catalog.domains)
    return found


def _compare_metadata(log: Mapping[str, Any], catalog: Mapping[str, Any]) -> Iterator[Difference]:
    own = ("schema_string", "configuration")
    plain = [{k: v for k, v in side.items() if k not in own} for side in (log, catalog)]
    yield from _compare_maps("metadata", *plain)
    schema = first_difference(log.get("schema_string"), catalog.get("schema_string"))
    if schema is not None:
        yield schema
    yield from _compare_maps(
        "property", log.get("configuration") or {}, catalog.get("configuration") or {}
    )


def _compare_maps(
    kind: Kind, log: Mapping[str, Any], catalog: Mapping[str, Any]
) -> Iterator[Difference]:
    for name in sorted(log.keys() | catalog.keys()):
        if log.get(name) != catalog.get(name):
            yield Difference(kind, name, catalog.get(name), log.get(name))


def first_difference(log: str | None, catalog: str | None) -> Difference | None:
    """The first field that two schema strings give differently; None when they mean the same.

    Named `schema`, `schema.a.b` for a nested field, `schema.a.nullable` for one of its facts.
    """
    if log == catalog:
        return None
    try:
        parsed = [json.loads(text or "null") for text in (log, catalog)]
    except ValueError:
        return Difference("metadata", "schema", _short(catalog), _short(log))
    found = _first(parsed[0], parsed[1], "schema")
    if found is None:
        return None
    name, ours, theirs = found
    return Difference("metadata", name, _short(theirs), _short(ours))


def _first(log: Any, catalog: Any, name: str) -> tuple[str, Any, Any] | None:
    """(name, log's value, catalog's value) of the first place where two schemas differ."""
    if log == catalog:
        return None
    if isinstance(log, dict) and isinstance(catalog, dict):
        for key in [*log, *(k for k in catalog if k not in log)]:
            below = name if key in ("fields", "type", "elementType") else f"{name}.{key}"
            if key not in log or key not in catalog:
                return below, log.get(key), catalog.get(key)
            found = _first(log[key], catalog[key], below)
            if found is not None:
                return found
        return None
    if isinstance(log, list) and isinstance(catalog, list):
        for number in range(max(len(log), len(catalog))):
            ours, theirs = _at(log, number), _at(catalog, number)
            label = f"{name}.{_label(ours, theirs, number)}"
            found = _first(ours, theirs, label)
            if found is not None:
                return found
    return name, log, catalog


def _at(items: list[Any], number: int) -> Any:
    return items[number] if number < len(items) else None


def _label(log: Any, catalog: Any, number: int) -> str:
    for item in (log, catalog):
        if isinstance(item, dict) and "name" in item:
            return str(item["name"])
    return str(number)


_LONGEST = 300


def _short(value: Any) -> Any:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) <= _LONGEST:
        return value
    return text[:_LONGEST] + "…"
