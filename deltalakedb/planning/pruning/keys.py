"""Conditions on the pruning keys (`log.order`): what SQL and numpy compare as plain integers.

Slot i of a file holds `lo` and `hi` of the table's i-th skipping column. A condition is necessary:
files that fail it hold no selected row, files that pass may hold none.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from deltalakedb.log.statistics.order import NEG_INF, POS_INF, bounds_for, key_of
from deltalakedb.log.statistics.skipping import SkippingColumn
from deltalakedb.planning.pruning.normal_form import is_nan_test, necessary
from deltalakedb.predicate.like import literal_prefix
from deltalakedb.predicate.tree import (
    And,
    Column,
    Comparison,
    Expr,
    In,
    Like,
    Literal,
    Or,
    StartsWith,
)
from deltalakedb.record import record

_INTEGERS = frozenset({"byte", "short", "integer", "long"})
_MAX_SPANS = 16
_MAX_ALTERNATIVES = 100
"""Of OR. Databases limit how deep and how long a condition may be; SQLite's depth is 1000."""


@record(frozen=True, slots=True)
class SlotBound:
    """`lo<slot> <= lo_max AND hi<slot> >= hi_min`; None leaves that side open."""

    slot: int
    lo_max: int | None
    hi_min: int | None


@record(frozen=True, slots=True)
class KeyAnd:
    """Every file passes when empty."""

    children: tuple[KeyExpr, ...]


@record(frozen=True, slots=True)
class KeyOr:
    """No file passes when empty."""

    children: tuple[KeyExpr, ...]


KeyExpr = SlotBound | KeyAnd | KeyOr

NOTHING = KeyOr(())


def key_condition(expr: Expr, skipping_columns: Sequence[SkippingColumn]) -> KeyExpr | None:
    """The condition on the slots of `skipping_columns`; None when the predicate asks nothing of
    them.

    A list of values becomes at most 16 bounds, cut where the gaps between its keys are widest.
    """
    slots = {column.path: (slot, column.type) for slot, column in enumerate(skipping_columns)}
    return _condition(necessary(expr), slots)


def evaluate_keys(
    condition: KeyExpr,
    lo: Sequence[npt.NDArray[np.int64]],
    hi: Sequence[npt.NDArray[np.int64]],
) -> npt.NDArray[np.bool_]:
    """Which files pass; `lo[slot]` and `hi[slot]` hold one key per file, all equally long.

    Only slots that the condition names are looked at. NOTHING names none, so its answer is a single
    False that broadcasts.
    """
    match condition:
        case SlotBound(slot, lo_max, hi_min):
            if lo_max is None:
                assert hi_min is not None
                return hi[slot] >= hi_min
            below = lo[slot] <= lo_max
            return below if hi_min is None else below & (hi[slot] >= hi_min)
        case KeyAnd(children):
            found = evaluate_keys(children[0], lo, hi)
            for child in children[1:]:
                found = found & evaluate_keys(child, lo, hi)
            return found
        case KeyOr(children):
            found = evaluate_keys(children[0], lo, hi) if children else np.zeros((), np.bool_)
            for child in children[1:]:
                found = found | evaluate_keys(child, lo, hi)
            return found


_Span = tuple[int, int]
"""`hi_min` and `lo_max` of a bound, open sides infinite."""
_Slots = dict[tuple[str, ...], tuple[int, str]]


def slots_used(condition: KeyExpr) -> set[int]:
    """The slots that a condition looks at."""
    if isinstance(condition, SlotBound):
        return {condition.slot}
    assert isinstance(condition, KeyAnd | KeyOr)
    return {slot for child in condition.children for slot in slots_used(child)}


def _condition(expr: Expr, slots: _Slots) -> KeyExpr | None:
    match expr:
        case Literal(value):
            return None if value else NOTHING
        case And(children):
            known = [c for c in (_condition(child, slots) for child in children) if c is not None]
            return _all_of(known)
        case Or(children):
            alternatives = [_condition(child, slots) for child in children]
            return (
                _any_of([a for a in alternatives if a is not None]) if all(alternatives) else None
            )
        case Comparison(column, op, value):
            if op == "!=" or is_nan_test(expr):
                return None
            slot = _slot(column, slots)
            if slot is None:
                return None
            bound = bounds_for(op, value, slot[1])
            return _bound(slot[0], bound.lo_max, bound.hi_min)
        case In(column, values):
            slot = _slot(column, slots)
            return None if slot is None else _spans(slot, values)
        case StartsWith(column, prefix):
            return _prefix(_slot(column, slots), prefix)
        case Like(column, pattern, ignore_case):
            prefix = "" if ignore_case else literal_prefix(pattern)[0]
            return _prefix(_slot(column, slots), prefix)
        case _:
            return None


def _all_of(parts: list[KeyExpr]) -> KeyExpr | None:
    """AND; bounds on one slot that exclude nothing more than others do are merged."""
    if NOTHING in parts:
        return NOTHING
    merged: dict[int, SlotBound] = {}
    others: list[KeyExpr] = []
    for part in parts:
        if isinstance(part, SlotBound):
            merged[part.slot] = _both(merged.get(part.slot), part)
        else:
            others.append(part)
    children = [*merged.values(), *others]
    if not children:
        return None
    return children[0] if len(children) == 1 else KeyAnd(tuple(children))


def _both(left: SlotBound | None, right: SlotBound) -> SlotBound:
    if left is None:
        return right
    lows = [b.lo_max for b in (left, right) if b.lo_max is not None]
    highs = [b.hi_min for b in (left, right) if b.hi_min is not None]
    return SlotBound(right.slot, min(lows, default=None), max(highs, default=None))


def _any_of(parts: list[KeyExpr]) -> KeyExpr | None:
    kept = list(dict.fromkeys(part for part in parts if part != NOTHING))
    if len(kept) > _MAX_ALTERNATIVES:
        return _few_of(kept)
    return kept[0] if len(kept) == 1 else KeyOr(tuple(kept))


def _few_of(parts: list[KeyExpr]) -> KeyExpr | None:
    """What many alternatives have in common: a few spans for each slot that all of them bound."""
    each = [_hulls(part) for part in parts]
    common = set.intersection(*(set(hulls) for hulls in each))
    found = [_few_spans(slot, [hulls[slot] for hulls in each]) for slot in sorted(common)]
    return _all_of([spans for spans in found if spans is not None])


def _hulls(expr: KeyExpr) -> dict[int, _Span]:
    """For each slot that it bounds a span that it implies."""
    match expr:
        case SlotBound(slot, lo_max, hi_min):
            low = NEG_INF if hi_min is None else hi_min
            return {slot: (low, POS_INF if lo_max is None else lo_max)}
        case KeyAnd(children):
            return {slot: span for child in children for slot, span in _hulls(child).items()}
        case KeyOr(children):
            each = [_hulls(child) for child in children]
            common = set.intersection(*(set(hulls) for hulls in each))
            return {slot: _hull([hulls[slot] for hulls in each]) for slot in common}


def _hull(spans: Sequence[_Span]) -> _Span:
    return min(low for low, _ in spans), max(high for _, high in spans)


def _slot(column: Column, slots: _Slots) -> tuple[int, str] | None:
    """The column's slot, if its keys are of its present type (all integers share their keys)."""
    found = slots.get(column.physical)
    if column.was_float and column.type == "double":
        return None  # its keys were made of texts of 32-bit numbers, see `bounds.order_of`
    if found is None or (found[1] != column.type and not {found[1], column.type} <= _INTEGERS):
        return None
    return found


def _bound(slot: int, lo_max: int | None, hi_min: int | None) -> SlotBound | None:
    return None if lo_max is None and hi_min is None else SlotBound(slot, lo_max, hi_min)


def _spans(slot: tuple[int, str], values: Sequence[object]) -> KeyExpr | None:
    index, type = slot
    spans: list[_Span] = []
    for value in values:
        bound = bounds_for("=", value, type)
        if bound.lo_max is None or bound.hi_min is None:
            return None
        # lo <= lo_max and hi >= hi_min: the span of keys is [hi_min, lo_max].
        spans.append((bound.hi_min, bound.lo_max))
    return _few_spans(index, spans)


def _few_spans(slot: int, spans: list[_Span]) -> KeyExpr | None:
    spans = sorted(spans)
    if len(spans) > _MAX_SPANS:
        widest = sorted(range(1, len(spans)), key=lambda i: spans[i - 1][1] - spans[i][0])
        cuts = [0, *sorted(widest[: _MAX_SPANS - 1]), len(spans)]
        spans = [_hull(spans[start:end]) for start, end in pairwise(cuts)]
    bounds = [
        _bound(slot, None if high == POS_INF else high, None if low == NEG_INF else low)
        for low, high in spans
    ]
    return None if None in bounds else _any_of([bound for bound in bounds if bound is not None])


def _prefix(slot: tuple[int, str] | None, prefix: str) -> KeyExpr | None:
    if slot is None or not prefix or slot[1] != "string":
        return None
    last = key_of(prefix, "string", upper=True)
    first = key_of(prefix, "string", upper=False)
    return SlotBound(
        slot[0], None if last == POS_INF else last, None if first == NEG_INF else first
    )
