"""Predicates in each of their forms, and what is said of those that are wrong."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import (
    PHYSICAL_NAME,
    ArrayType,
    PrimitiveType,
    StructField,
    StructType,
)
from deltalakedb.predicate.parse import parse_predicate
from deltalakedb.predicate.tree import (
    FALSE,
    NULL,
    TRUE,
    And,
    ColumnComparison,
    Comparison,
    Expr,
    In,
    IsNotNull,
    IsNull,
    Like,
    Not,
    Or,
    StartsWith,
    Unknown,
    columns_of,
)
from tests.snapshot.predicate_support import BY_NAME, SCHEMA

B, D, DT, F, I, L, M, NX, P, S, TN, TS = (  # noqa: E741
    BY_NAME[name] for name in ("b", "d", "dt", "f", "i", "l", "m", "n.x", "p", "s", "tn", "ts")
)


def parsed(predicate: object, **options: Any) -> Expr:
    return parse_predicate(predicate, SCHEMA, **options)


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("i = 1", Comparison(I, "=", 1)),
        ("WHERE I == +1;", Comparison(I, "=", 1)),
        ("`i` <> -1", Comparison(I, "!=", -1)),
        ("1 < i", Comparison(I, ">", 1)),
        ("((i)) >= (1)", Comparison(I, ">=", 1)),
        (
            "i = 1L /* one */ AND -- and\n d = 1e1",
            And((Comparison(I, "=", 1), Comparison(D, "=", 10.0))),
        ),
        (
            "i=1 OR i=2 AND NOT i=3",
            Or((Comparison(I, "=", 1), And((Comparison(I, "=", 2), Not(Comparison(I, "=", 3)))))),
        ),
        (
            "(i=1 OR i=2) AND ! b",
            And(
                (Or((Comparison(I, "=", 1), Comparison(I, "=", 2))), Not(Comparison(B, "=", True)))
            ),
        ),
        ("i IN (3, 1, 1)", In(I, (1, 3))),
        ("i IN (1, NULL)", Or((In(I, (1,)), NULL))),
        ("i NOT IN (1)", Not(In(I, (1,)))),
        (
            "i BETWEEN 1 AND 2 AND b",
            And((Comparison(I, ">=", 1), Comparison(I, "<=", 2), Comparison(B, "=", True))),
        ),
        ("i NOT BETWEEN 1 AND 2", Not(And((Comparison(I, ">=", 1), Comparison(I, "<=", 2))))),
        ("i IS NULL", IsNull(I)),
        ("n IS NOT NULL", IsNotNull(parse_predicate("n IS NOT NULL", SCHEMA).column)),  # type: ignore[union-attr]
        ("N.X = 5", Comparison(NX, "=", 5)),
        ('`n`."x" = 5', Comparison(NX, "=", 5)),
        ("i <=> 1", And((IsNotNull(I), Comparison(I, "=", 1)))),
        ("NULL <=> i", IsNull(I)),
        ("i IS NOT DISTINCT FROM NULL", IsNull(I)),
        ("b IS TRUE", And((IsNotNull(B), Comparison(B, "=", True)))),
        ("b IS NOT FALSE", Not(And((IsNotNull(B), Comparison(B, "=", False))))),
        ("i = NULL", NULL),
        ("1 = 1", TRUE),
        ("'b' <= 'a' OR 2 != 2.0", FALSE),
        ("NOT NULL", NULL),
        ("i < l", ColumnComparison(I, "<", L)),
        # Text
        (
            r"s = 'it''s' OR s = 'a\'b\n\u00e9\x'",
            Or((Comparison(S, "=", "it's"), Comparison(S, "=", "a'b\néx"))),
        ),
        (r"s = r'a\n'", Comparison(S, "=", r"a\n")),
        (r"s = '\uD83D\uDE00'", Comparison(S, "=", "\U0001f600")),
        ('s = "i"', Comparison(S, "=", "i")),
        ("\"s\" = 'x'", Comparison(S, "=", "x")),
        ("'x' = \"s\"", Comparison(S, "=", "x")),
        ('"x" = s', Comparison(S, "=", "x")),
        ("s LIKE 'ab%'", StartsWith(S, "ab")),
        ("s LIKE 'ab'", Comparison(S, "=", "ab")),
        (r"s NOT LIKE 'a\\_b%%'", Not(StartsWith(S, "a_b"))),
        ("s LIKE '10#%%' ESCAPE '#'", StartsWith(S, "10%")),
        ("s LIKE 'a_%'", Like(S, "a_%")),
        ("s ILIKE 'a'", Like(S, "a", ignore_case=True)),
        # Values that the column can't hold
        ("i < 2.5", Comparison(I, "<=", 2)),
        ("i >= 2.5", Comparison(I, ">=", 3)),
        ("i = 2.5", In(I, ())),
        ("i != 2.5", Not(In(I, ()))),
        ("i < 3000000000", Comparison(I, "<=", 2**31 - 1)),
        ("i > 3000000000", In(I, ())),
        ("i > -1e300", Comparison(I, ">=", -(2**31))),
        ("i = '12'", Comparison(I, "=", 12)),
        ("m > 1.005", Comparison(M, ">=", Decimal("1.01"))),
        ("m = 1.5", Comparison(M, "=", Decimal("1.50"))),
        ("m < 1e300", Comparison(M, "<=", Decimal("99999999.99"))),
        ("f = 0.1", In(F, ())),
        ("f = CAST(0.1 AS FLOAT)", Comparison(F, "=", 0.10000000149011612)),
        ("f > 1e300", Comparison(F, ">=", math.inf)),
        ("d = -0.0", Comparison(D, "=", 0.0)),
        ("d = 'Infinity'", Comparison(D, "=", math.inf)),
        ("d < double('NaN')", Not(Comparison(D, "=", math.nan))),
        ("d > 'nan'", In(D, ())),
        ("d IN (1, double('NaN'))", Or((In(D, (1.0,)), Comparison(D, "=", math.nan)))),
        ("i <= 'NaN'", Not(In(I, ()))),
        # Times
        ("dt = '2024-01-31'", Comparison(DT, "=", date(2024, 1, 31))),
        ("dt = to_date('2024-1-31')", Comparison(DT, "=", date(2024, 1, 31))),
        ("dt < TIMESTAMP '2024-01-31 12:00:00'", Comparison(DT, "<=", date(2024, 1, 31))),
        ("ts = '2024-01-31'", Comparison(TS, "=", at(2024, 1, 31))),
        (
            "ts = '2024-01-31 10:00:00.5+02:00'",
            Comparison(TS, "=", at(2024, 1, 31, 8, 0, 0, 500_000)),
        ),
        ("ts = TIMESTAMP '2024-01-31T10:00:00 UTC'", Comparison(TS, "=", at(2024, 1, 31, 10))),
        ("ts = DATE '2024-01-31'", Comparison(TS, "=", at(2024, 1, 31))),
        ("ts > '2024-01-31 00:00:00.0000005'", Comparison(TS, ">=", at(2024, 1, 31, 0, 0, 0, 1))),
        ("tn = TIMESTAMP_NTZ '2024-01-31 10:00'", Comparison(TN, "=", datetime(2024, 1, 31, 10))),
        ("tn = '2024-01-31'::timestamp_ntz", Comparison(TN, "=", datetime(2024, 1, 31))),
    ],
)
def test_sql(sql: str, expected: Expr) -> None:
    assert parsed(sql) == expected


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("", None),
        ("i = ", "is not valid at its end: a column or a value is expected here"),
        ("i = 1 i", "is not valid at 'i' after 'i = 1 ': 'i' is not expected here"),
        ("i = 1 AND", "a column or a value is expected"),
        ("(i = 1", ") is expected here"),
        ("i IN ()", "')' is not expected here"),
        ("i IN (l)", "a plain value is expected here"),
        ("s = 'abc", "the text that begins with ' has no end"),
        ("i = 1 \\ 2", "is not understood"),
        ("i + 1 = 2", "arithmetic is not supported"),
        ("-i = 2", "arithmetic is not supported"),
        ("lower(s) = 'x'", "functions of columns are not supported"),
        ("CAST(s AS INT) = 1", "only plain values can be cast"),
        ("CAST('x' AS INT) = 1", "'x' is no value of type integer"),
        ("i = CAST('1' AS MONEY)", "the type 'MONEY' is not known"),
        ("s RLIKE 'x'", "RLIKE is not supported; use LIKE"),
        ("i", "column i of type integer is no condition"),
        ("5", "5 is a value, not a condition"),
        ("(i = 1) = b", "a condition can't be compared"),
        ("i LIKE 'x'", "LIKE needs a text column"),
        (r"s LIKE 'a\\b'", "is not followed by %, _ or itself"),
        ("s LIKE 5", "LIKE needs a pattern in single quotes"),
        ("i IS 5", "NULL, TRUE, FALSE or DISTINCT FROM is expected"),
        ("in = 5", "write `in` if it is a column"),
        ("i < s", "columns i of type integer and s of type string can't be compared"),
        ("'a' < 1", "the values 'a' and 1 can't be compared"),
        ("(" * 60 + "i = 1" + ")" * 60, "nested more than 50 deep"),
        ("s = X'0g'", "non-hexadecimal"),
        ("zzz = 1", "names column zzz, which the table doesn't have; its columns are"),
        ("n.y = 1", "names column n.y, which the table doesn't have; did you mean n.x?"),
        ("i = 'abc'", "'abc' can't be compared with column i of type integer; write a value of"),
        ("s = 5", "5 can't be compared with column s of type string; write the value as text"),
        ("b = 1", "write a value of type boolean"),
        ("n = 1", "compare one of its fields, as in n.field"),
        ("dt = '2024-01-01 10:00'", "write it like '2024-01-31'"),
        ("tn = '2024-01-01T00:00:00Z'", "without a time zone, as the column has none"),
        ("ts = 'yesterday'", "write it like '2024-01-31' or '2024-01-31 12:30:00'"),
    ],
)
def test_sql_that_is_wrong(sql: str, message: str | None) -> None:
    if message is None:
        assert parsed(sql) == TRUE
        return
    with pytest.raises(DeltaLakeError) as caught:
        parsed(sql)
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_PREDICATE
    assert message in str(caught.value)


def test_long_negative_decimals_keep_their_digits() -> None:
    w, digits = BY_NAME["w"], "9999999999999999999999999.99999"
    assert parsed(f"w = -{digits}") == Comparison(w, "=", Decimal(f"-{digits}"))
    # Beyond the type's range: nothing is less.
    assert parsed("w < -10000000000000000000000000") == In(w, ())
    assert parsed("w > -1e30") == Comparison(w, ">=", Decimal(f"-{digits}"))


def test_names_with_dots_and_other_cases() -> None:
    schema = StructType(
        tuple(
            StructField(name, PrimitiveType("long"), True, {PHYSICAL_NAME: f"col-{name}"})
            for name in ("a.b", "Größe", "date", "with `tick`")
        )
    )
    for sql, name in (
        ("`A.B` = 1", "a.b"),
        ("größe = 1", "Größe"),
        ("date = 1", "date"),
        ("`with ``tick``` = 1", "with `tick`"),
    ):
        (column,) = columns_of(parse_predicate(sql, schema))
        assert (column.path, column.physical) == ((name,), (f"col-{name}",))
        (column,) = columns_of(parse_predicate(sql, schema, mapped=False))
        assert column.physical == (name,)
    (column,) = columns_of(parse_predicate([("a.b", "=", 1)], schema))
    assert column.path == ("a.b",)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], TRUE),
        ([("i", "=", 1)], Comparison(I, "=", 1)),
        (("i", "==", "1"), Comparison(I, "=", 1)),
        ([("i", ">", 1), ("s", "!=", "x")], And((Comparison(I, ">", 1), Comparison(S, "!=", "x")))),
        (
            [[("i", ">", 1)], [("i", "<", np.int64(-1))]],
            Or((Comparison(I, ">", 1), Comparison(I, "<", -1))),
        ),
        ([["i", "in", {1, 2}]], In(I, (1, 2))),
        ([("i", "NOT  IN", (1,))], Not(In(I, (1,)))),
        ([("i", "in", [1, None])], Or((In(I, (1,)), IsNull(I)))),
        ([("n.x", "=", None)], IsNull(NX)),
        ([("i", "!=", None)], IsNotNull(I)),
        ([("p", "=", ""), ("s", "=", "")], And((IsNull(P), Comparison(S, "=", "")))),
        ([("p", "in", ["a", ""])], Or((In(P, ("a",)), IsNull(P)))),
        ([("s", ">=", 12)], Comparison(S, ">=", "12")),
        ([("s", "in", [True, date(2024, 1, 1)])], In(S, ("2024-01-01", "true"))),
        ([("b", "=", "true")], Comparison(B, "=", True)),
        ([("m", "=", 1.1)], Comparison(M, "=", Decimal("1.10"))),
        (
            [("ts", "=", np.datetime64("2024-01-01T00:00:00.000000000"))],
            Comparison(TS, "=", at(2024, 1, 1)),
        ),
        ([("ts", "=", datetime(2024, 1, 1))], Comparison(TS, "=", at(2024, 1, 1))),
        ([("dt", "=", pa.scalar(date(2024, 1, 1)))], Comparison(DT, "=", date(2024, 1, 1))),
    ],
)
def test_tuples(filters: object, expected: Expr) -> None:
    assert parsed(filters, partition_columns=["p"]) == expected


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ([("i", "~", 1)], "the operator '~' on column i is not known"),
        ([("i", "in", 5)], "needs a list of values, not 5"),
        ([("s", "in", "abc")], "needs a list of values"),
        ([("i", "<", None)], "None can't be ordered"),
        ([("j", "=", 1)], "names column j"),
        ([["i"]], "['i'] is no filter"),
        ([("i", "=", 1), [("i", "=", 2)]], "('i', '=', 1) is no filter"),
        ({"i": 1}, "a predicate of type dict is not understood"),
    ],
)
def test_tuples_that_are_wrong(filters: object, message: str) -> None:
    with pytest.raises(DeltaLakeError) as caught:
        parsed(filters)
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_PREDICATE
    assert message in str(caught.value)


field = pc.field


@pytest.mark.parametrize(
    ("expression", "implied"),
    [
        (field("i") == 1, Comparison(I, "=", 1)),
        (pc.scalar(5) > field("i"), Comparison(I, "<", 5)),
        (
            (field("i") > 1) & ~(field("s") != "x"),
            And((Comparison(I, ">", 1), Not(Comparison(S, "!=", "x")))),
        ),
        ((field("i") > 1) | field("b"), Or((Comparison(I, ">", 1), Comparison(B, "=", True)))),
        (field("n", "x") == 1, Comparison(NX, "=", 1)),
        (field("i").is_null(), IsNull(I)),
        (field("i").is_valid(), IsNotNull(I)),
        (field("i").isin([2, 1]), And((IsNotNull(I), In(I, (1, 2))))),
        (field("i").isin(list(range(30))), And((IsNotNull(I), In(I, tuple(range(30)))))),
        (field("s").isin(["a", None]), Or((In(S, ("a",)), IsNull(S)))),
        (field("f").isin([0.1]), And((IsNotNull(F), In(F, (0.10000000149011612,))))),
        (field("s") == "a\n'\"b) or (c", Comparison(S, "=", "a\n'\"b) or (c")),
        (field("s") == pa.scalar("a", pa.large_string()), Comparison(S, "=", "a")),
        (pc.starts_with(field("s"), "a"), StartsWith(S, "a")),
        (pc.match_like(field("s"), "a%b"), Like(S, "a%b")),
        (field("dt") == date(2024, 1, 1), Comparison(DT, "=", date(2024, 1, 1))),
        (
            field("ts") >= pa.scalar(1_704_067_200_000, pa.timestamp("ms", "UTC")),
            Comparison(TS, ">=", at(2024, 1, 1)),
        ),
        (field("m") == Decimal("1.5"), Comparison(M, "=", Decimal("1.50"))),
        (field("i") < 2.5, Comparison(I, "<=", 2)),
        (field("i") == None, NULL),  # noqa: E711
        (pc.scalar(True), TRUE),
        # Not understood, or by rules of Arrow's own: nothing may be concluded.
        (field("i") + 1 > 2, Unknown()),
        (pc.is_nan(field("d")), Unknown()),
        (field("d").is_null(nan_is_null=True), Unknown()),
        (pc.starts_with(field("s"), "a", ignore_case=True), Unknown()),
        (field("dt") == "2024-01-01", Unknown()),
        (field("l") == 2.0**60, Unknown()),
        (field("f") == 16_777_217, Unknown()),
        (field("i").isin([2.5]), Unknown()),
        (field("d").isin([0.0]), Unknown()),
        (field("ts") > pa.scalar(1, pa.timestamp("ns", "UTC")), Unknown()),
        (field(0) == 1, TRUE),
        ((field("i") == 1) | (field("i") + 1 > 2), Or((Comparison(I, "=", 1), Unknown()))),
    ],
)
def test_arrow_expressions(expression: pc.Expression, implied: Expr) -> None:
    found = parsed(expression)
    assert isinstance(found, Unknown)
    assert found.source is expression
    assert found.implies == implied


@pytest.mark.parametrize("expression", [field("zz") == 1, pc.if_else(field("zz"), 1, 2) > 1])
def test_arrow_expressions_over_unknown_columns(expression: pc.Expression) -> None:
    with pytest.raises(DeltaLakeError, match="names column zz"):
        parsed(expression)


def test_nested_columns_can_only_be_null() -> None:
    array = ArrayType(PrimitiveType("long"), True)
    schema = StructType(
        (StructField("a", array, True), StructField("v", PrimitiveType("variant"), True))
    )
    assert isinstance(parse_predicate("a IS NULL", schema), IsNull)
    for name in "av":
        with pytest.raises(DeltaLakeError, match="only IS NULL and IS NOT NULL"):
            parse_predicate(f"{name} = 1", schema)


def test_a_predicate_that_is_parsed_already_and_none_at_all() -> None:
    expr = parsed("i = 1")
    assert parsed(expr) is expr
    assert parsed(None) == TRUE


def test_parsing_takes_well_under_a_millisecond() -> None:
    parsed("i = 1")

    def seconds() -> float:
        started = time.thread_time()
        for _ in range(100):
            parsed("dt >= '2024-01-01' AND dt < '2024-02-01' AND s = 'x'")
        return time.thread_time() - started

    # 0.01 s on an idle machine; once in a while garbage of all tests before is collected.
    assert min(seconds() for _ in range(5)) < 0.2


def test_parsing_sql_loads_nothing_heavy() -> None:
    code = (
        "import sys; from deltalakedb.predicate.parse import parse_predicate;"
        "from deltalakedb.log.schema import parse_schema;"
        "parse_predicate('1 = 1', parse_schema(''));"
        "print([m for m in ('pyarrow', 'numpy', 'sqlglot', 'sqlalchemy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
