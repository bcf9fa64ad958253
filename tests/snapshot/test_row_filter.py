"""Rows are filtered exactly: against the oracle of these tests, and against DuckDB."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import PrimitiveType, StructField, StructType, arrow_schema
from deltalakedb.predicate.parse import parse_predicate
from deltalakedb.predicate.row_filter import to_arrow_expression
from deltalakedb.predicate.tree import (
    And,
    ColumnComparison,
    Expr,
    Not,
    Or,
    Unknown,
)
from tests.snapshot.predicate_support import BY_NAME, SCHEMA, TYPES, Row, predicates, rows, selects

ARROW = arrow_schema(SCHEMA)


def table_of(found: list[Row]) -> pa.Table:
    nested = [
        {k: v for k, v in row.items() if "." not in k}
        | {"n": None if row["n.x"] is None else {"x": row["n.x"]}, "row": n}
        for n, row in enumerate(found)
    ]
    return pa.Table.from_pylist(nested, ARROW.append(pa.field("row", pa.int64())))


def filtered(table: pa.Table, expression: pc.Expression) -> list[int]:
    out: list[int] = (
        ds.dataset(table).to_table(columns=["row"], filter=expression)["row"].to_pylist()
    )
    return out


@st.composite
def questions(draw: st.DrawFn) -> tuple[Expr, list[Row]]:
    names = draw(st.lists(st.sampled_from(list(TYPES)), min_size=1, max_size=3, unique=True))
    expr = draw(predicates(names, unknown=False))
    return expr, draw(st.lists(rows(names), min_size=1, max_size=4))


@settings(max_examples=150)
@given(questions())
def test_rows_are_those_of_three_valued_logic(question: tuple[Expr, list[Row]]) -> None:
    expr, found = question
    expected = [n for n, row in enumerate(found) if selects(expr, row, ieee=False)]
    assert filtered(table_of(found), to_arrow_expression(expr)) == expected


SOME: dict[str, list[Any]] = {
    "i": [1, 2, -3, None],
    "l": [2, None, 2**53 + 1, 2],
    "f": [0.5, math.nan, None, -math.inf],
    "d": [math.nan, 0.1, -0.0, None],
    "s": ["ab", "a_b\nc", None, "Äß\U0001f600"],
    "dt": [date(2024, 1, 1), None, date(2024, 2, 29), date(1969, 12, 31)],
    "tn": [datetime(2024, 1, 1), datetime(2024, 1, 1, 0, 0, 0, 1), None, datetime(1969, 1, 1)],
    "ts": [datetime(2024, 1, 1, tzinfo=UTC), None, datetime(2024, 1, 1, 1, tzinfo=UTC), None],
    "m": [Decimal("1.50"), None, Decimal("-0.01"), Decimal("99999999.99")],
    "b": [True, False, None, True],
    "n": [{"x": 1}, {"x": None}, None, {"x": 2}],
}


@pytest.mark.parametrize(
    "sql",
    [
        "i = 1 OR l = 2",
        "NOT (i = 1 OR l = 2)",
        "NOT (i = 1 AND l = 2) AND b IS NOT NULL",
        "i IN (1, 2, 3, 4, 5, 6) AND i NOT IN (2, -3)",
        "i NOT IN (1, 7, 8, 9, 10, 11)",
        "i NOT IN (1, NULL)",
        "NOT (i IN (5, NULL))",
        "i < 2.5 AND i > -3.5",
        "i = 2.5 OR i != 2.5",
        "d > 0",
        "d >= 0.1",
        "d < 0.1",
        "d != 0.1",
        "NOT (d > 0)",
        "NOT (d <= 0)",
        "d = CAST('NaN' AS DOUBLE)",
        "d < CAST('NaN' AS DOUBLE)",
        "d = 0.0",
        "d IN (0.0, 1, 2, 3, 4)",
        "f > d",
        "f <= d",
        "f != d",
        "NOT (f >= d)",
        "f < 'Infinity'::float",
        "s LIKE 'a%'",
        "s LIKE '%b_c'",
        "s NOT LIKE 'a%'",
        "s LIKE 'a#_b%' ESCAPE '#'",
        "s LIKE '_ß_'",
        "s ILIKE 'ä%'",
        "s > 'ab'",
        "s BETWEEN 'a' AND 'b'",
        "s IS NULL",
        "dt >= DATE '2024-01-01' AND dt < DATE '2024-03-01'",
        "dt < TIMESTAMP '2024-01-01 12:00:00'",
        "tn > TIMESTAMP '2024-01-01 00:00:00'",
        "tn <= '1969-01-01'",
        "ts < '2024-01-01 02:00:00+01:30'",
        "m >= 1.5",
        "m < 1.505",
        "m = 99999999.99",
        "b",
        "NOT b",
        "b IS NOT TRUE",
        "b = FALSE OR NULL",
        "n.x = 1",
        "NOT (n.x = 1)",
        "n.x IS NULL",
        "n IS NULL",
        "i IS DISTINCT FROM 1",
        "i IS NOT DISTINCT FROM l",
        "i IS DISTINCT FROM l",
        "1 = 1",
        "NULL",
    ],
)
def test_rows_are_those_of_duckdb(sql: str) -> None:
    names = list(SOME)
    cells = [dict(zip(names, values, strict=True)) for values in zip(*SOME.values(), strict=True)]
    # Every pair of neighbouring values, so that rows with and without nulls meet.
    cells += [
        {name: SOME[name][(n + place) % 4] for place, name in enumerate(names)} for n in range(4)
    ]
    fields = pa.schema([ARROW.field(name) for name in names]).append(pa.field("row", pa.int64()))
    table = pa.Table.from_pylist([c | {"row": n} for n, c in enumerate(cells)], fields)
    with duckdb.connect() as connection:
        connection.register("t", table)
        asked = connection.execute(f"SELECT row FROM t WHERE {sql} ORDER BY row")
        expected = [row for (row,) in asked.fetchall()]
    assert filtered(table, to_arrow_expression(parse_predicate(sql, SCHEMA))) == expected


def test_an_arrow_expression_comes_back_as_it_came() -> None:
    table = table_of([dict.fromkeys(TYPES) | {"d": d, "i": 1} for d in (math.nan, 1.0, 6.0, None)])
    arrow = (pc.field("d") > 5) | (pc.field("i") + 1 > 2) & (pc.field("d") < 2)
    parsed = parse_predicate(arrow, SCHEMA)
    assert to_arrow_expression(parsed) is arrow
    # Spark has NaN above 5, Arrow has not.
    assert filtered(table, to_arrow_expression(parsed)) == filtered(table, arrow) == [2]
    assert filtered(table, to_arrow_expression(parse_predicate("d > 5", SCHEMA))) == [0, 2]
    both = And((parsed, Not(parse_predicate("d = 6", SCHEMA))))
    assert filtered(table, to_arrow_expression(both)) == []


def test_many_alternatives_filter_by_a_list() -> None:
    """Arrow would end the process for want of stack."""
    nothing: Row = dict.fromkeys(TYPES)
    table = table_of([nothing | {"i": i, "s": s} for i, s in ((1, "a"), (None, "b"), (7, "c"))])
    many = " OR ".join([f"i = {n}" for n in range(5, 20_000)] + ["s = 'b'", "i IN (-1, -2)"])
    assert filtered(table, to_arrow_expression(parse_predicate(many, SCHEMA))) == [1, 2]
    assert filtered(table, ~to_arrow_expression(parse_predicate(many, SCHEMA))) == [0]
    with pytest.raises(DeltaLakeError, match="3,000 conditions by AND or OR") as caught:
        to_arrow_expression(parse_predicate(" AND ".join(["i != 1"] * 3_000), SCHEMA))
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_PREDICATE


def test_what_can_not_filter_rows_is_refused() -> None:
    with pytest.raises(DeltaLakeError) as caught:
        to_arrow_expression(Unknown())
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_PREDICATE
    schema = StructType((StructField("c", PrimitiveType("string collate UTF8_LCASE"), True),))
    with pytest.raises(DeltaLakeError) as caught:
        to_arrow_expression(parse_predicate("c = 'x'", schema))
    assert caught.value.kind is DeltaLakeErrorKind.UNSUPPORTED_FEATURE
    null = to_arrow_expression(parse_predicate("c IS NULL", schema))
    assert filtered(pa.table({"c": ["x", None], "row": [0, 1]}), null) == [1]


def test_empty_conjunctions() -> None:
    table = table_of([dict.fromkeys(TYPES)])
    assert filtered(table, to_arrow_expression(And(()))) == [0]
    assert filtered(table, to_arrow_expression(Or(()))) == []


@pytest.mark.parametrize("op", ["=", "!=", "<", "<=", ">", ">="])
def test_columns_of_unlike_numbers(op: str) -> None:
    values = [None, math.nan, -1.0, 1.0, 2.0]
    found = [
        dict.fromkeys(TYPES) | {"d": d, "i": None if i != i or i is None else int(i)}
        for d in values
        for i in values
    ]
    expr = ColumnComparison(BY_NAME["d"], op, BY_NAME["i"])  # type: ignore[arg-type]
    expected = [
        n
        for n, row in enumerate(found)
        if row["d"] is not None
        and row["i"] is not None
        and (op in ("!=", ">", ">=") if math.isnan(row["d"]) else selects(expr, row, ieee=False))
    ]
    assert filtered(table_of(found), to_arrow_expression(expr)) == expected


def test_columns_of_unlike_numbers_are_compared_as_doubles() -> None:
    """Arrow by itself compares whole numbers with floats as floats, and refuses what they round."""
    rows = pa.table(
        {
            "i": pa.array([16_777_217, 16_777_217, None], pa.int32()),
            "l": pa.array([2**53 + 1, 2**53 + 1, 1], pa.int64()),
            "f": pa.array([16_777_216.0, math.nan, 1.0], pa.float32()),
            "d": [2.0**53, math.nan, 1.0],
        }
    )
    for left, op, right, expected in (
        ("i", ">", "f", [True, False, None]),
        ("f", "=", "i", [False, False, None]),
        ("l", "=", "d", [True, False, True]),
        ("l", ">", "f", [True, False, False]),
    ):
        expr = ColumnComparison(BY_NAME[left], op, BY_NAME[right])  # type: ignore[arg-type]
        answers = rows.add_column(0, "n", [[0, 1, 2]]).filter(to_arrow_expression(expr))
        assert answers["n"].to_pylist() == [n for n, yes in enumerate(expected) if yes], (left, op)
