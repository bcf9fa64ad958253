"""What a predicate asks of pruning keys, as SQL too, and which index answers that."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache

from deltalakedb.log.statistics.order import NEG_INF
from deltalakedb.log.statistics.skipping import SkippingColumn
from deltalakedb.planning.pruning.keys import KeyAnd, KeyExpr, SlotBound, key_condition, slots_used
from deltalakedb.predicate.tree import Expr
from deltalakedb.record import record


@record(frozen=True)
class Slot:
    """A pruning slot of a table: which column, and what its keys are like."""

    number: int
    column: SkippingColumn
    width: int
    missing: int
    indexed: bool


@record(frozen=True)
class KeyQuestion:
    """What a predicate asks of the keys, for numpy and for SQL.

    `bounded`: an index bounds what a database looks at, that on the columns `indexed`.
    """

    condition: KeyExpr
    sql: str
    bounded: bool
    indexed: str


def key_question(predicate: Expr, slots: Sequence[Slot]) -> KeyQuestion | None:
    """What `predicate` asks of the keys of these slots; None for nothing."""
    condition = key_condition(predicate, [slot.column for slot in slots])
    if condition is None:
        return None
    sql, bounded = key_sql(condition, slots)
    used = sorted(s for s in slots_used(condition) if slots[s].indexed)
    return KeyQuestion(
        condition, sql, bounded, ", ".join(".".join(slots[s].column.path) for s in used)
    )


@lru_cache(100)
def slots_of(skipping: str) -> tuple[Slot, ...]:
    """The slots that `dl_tables.skipping` describes."""
    return tuple(
        Slot(n, SkippingColumn.from_json(d), d["width"], d["missing"], d["indexed"])
        for n, d in enumerate(json.loads(skipping))
    )


def key_sql(condition: KeyExpr, slots: Sequence[Slot]) -> tuple[str, bool]:
    """A key condition as SQL over lo and hi; and whether an index bounds what it looks at.

    Where a slot is indexed and no file is wider than `width`, `hi >= x` implies `lo >= x - width`:
    that is what makes the btree on `lo` find the few files around a point.
    """
    if isinstance(condition, SlotBound):
        slot = slots[condition.slot]
        low, high = f"lo{slot.number}", f"hi{slot.number}"
        parts = []
        if condition.lo_max is not None:
            parts.append(f"{low} <= {condition.lo_max}")
        bounded = False
        if condition.hi_min is not None:
            parts.append(f"{high} >= {condition.hi_min}")
            least = condition.hi_min - slot.width
            if slot.indexed and least > NEG_INF:
                bounded = condition.lo_max is not None
                if slot.missing:
                    parts.append(f"({low} >= {least} OR {low} = {NEG_INF})")
                else:
                    parts.append(f"{low} >= {least}")
        return " AND ".join(parts) or "1 = 1", bounded
    found = [key_sql(child, slots) for child in condition.children]
    if isinstance(condition, KeyAnd):
        return " AND ".join(text for text, _ in found), any(bounded for _, bounded in found)
    either = " OR ".join(f"({text})" for text, _ in found)
    return f"({either or '1 = 0'})", all(bounded for _, bounded in found)
