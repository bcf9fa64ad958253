"""Predicates asked of arrays at once say the same as Arrow's own filter."""

from __future__ import annotations

import itertools
from datetime import date

import pyarrow as pa

from deltalakedb.predicate.mask import bounds_of, is_plain, mask, may_hold
from deltalakedb.predicate.row_filter import to_arrow_expression
from deltalakedb.predicate.tree import (
    And,
    Column,
    Comparison,
    Expr,
    In,
    IsNotNull,
    IsNull,
    Literal,
    Not,
    Or,
    StartsWith,
)


def _column(name: str, kind: str) -> Column:
    return Column((name,), (name,), kind)


NUMBER, TEXT, DAY = _column("n", "integer"), _column("t", "string"), _column("d", "date")
ROWS = pa.table(
    {
        "n": pa.array([1, 2, None, 4, 5], pa.int32()),
        "t": ["a", None, "b", "c", ""],
        "d": pa.array([date(2024, 1, day) for day in range(1, 6)]),
        "x": [1.0, float("nan"), None, -0.0, 2.0],
    }
)


def _all() -> list[Expr]:
    simple: list[Expr] = [
        *(Comparison(NUMBER, op, 2) for op in ("=", "!=", "<", "<=", ">", ">=")),
        Comparison(TEXT, ">", "a"),
        Comparison(DAY, "<=", date(2024, 1, 3)),
        In(NUMBER, (1, 5)),
        In(NUMBER, (1, 2, 3, 4, 5, 6)),
        In(TEXT, ()),
        IsNull(NUMBER),
        IsNotNull(_column("x", "double")),
        And(()),
        Or(()),
    ]
    pairs = [[*both] for both in itertools.combinations(simple, 2)]
    joined = [kind(tuple(both)) for both in pairs for kind in (And, Or)]
    return [*simple, *joined, *map(Not, [*simple, *joined])]


def test_the_same_as_arrow() -> None:
    [batch] = ROWS.to_batches()
    counted = ROWS.append_column("place", pa.array(range(len(ROWS))))
    for expr in _all():
        assert is_plain(expr, ROWS.schema)
        expected = counted.filter(to_arrow_expression(expr)).column("place").to_pylist()
        found = mask(expr, batch).to_pylist()
        assert [place for place, is_true in enumerate(found) if is_true] == expected, expr


def test_what_takes_more_than_comparing_is_left_to_arrow() -> None:
    other = [
        Comparison(_column("x", "double"), "=", 1.0),
        Comparison(Column(("t",), ("t",), "string", collated=True), "=", "a"),
        Comparison(_column("n", "long"), "=", 1),
        Comparison(_column("gone", "long"), "=", 1),
        StartsWith(TEXT, "a"),
        Literal(True),
    ]
    assert not any(is_plain(expr, ROWS.schema) for expr in other)
    assert not is_plain(And((IsNull(TEXT), Not(other[0]))), ROWS.schema)


def test_bounds_rule_out_only_what_no_row_is() -> None:
    ruled_out = 0
    for start, length in ((0, 2), (2, 1), (3, 2), (1, 3)):
        rows = ROWS.slice(start, length).combine_chunks().to_batches()[0]
        known = {name: bounds_of(rows.column(name)) for name in rows.schema.names}
        bounds = {name: each for name, each in known.items() if each is not None}
        assert set(bounds) <= {"n", "t"}
        for expr in _all():
            if not may_hold(expr, bounds):
                ruled_out += 1
                assert not any(mask(expr, rows).to_pylist()), (expr, rows)
    assert ruled_out > 100
    assert not may_hold(Comparison(NUMBER, "=", 7), {"n": (1, 5)})
    assert may_hold(Comparison(NUMBER, "=", 5), {"n": (1, 5)})
