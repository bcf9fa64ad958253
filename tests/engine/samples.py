"""Rows and expressions that the engine's tests and those against Spark share."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa

from deltalakedb.log.schema import arrow_schema, parse_schema

TYPES = {
    "i": "integer",
    "j": "integer",
    "l": "long",
    "b": "byte",
    "h": "short",
    "d": "double",
    "f": "float",
    "s": "string",
    "t": "string",
    "day": "date",
    "at": "timestamp",
    "local": "timestamp_ntz",
    "m": "decimal(10,2)",
    "n": "decimal(5,3)",
    "ok": "boolean",
    "raw": "binary",
}


def _field(name: str, type: object) -> dict[str, object]:
    return {"name": name, "type": type, "nullable": True, "metadata": {}}


SCHEMA_JSON = json.dumps(
    {"type": "struct", "fields": [_field(name, type) for name, type in TYPES.items()]}
)
SCHEMA = parse_schema(SCHEMA_JSON)
_NAN, _INF = float("nan"), float("inf")
_COLUMNS: dict[str, list[object]] = {
    "i": [1, 2, None, 0, -7, 100],
    "j": [3, -2, 5, None, 2, 7],
    "l": [5, -6, 7, None, 1 << 40, 9],
    "b": [1, -3, 100, None, 7, 0],
    "h": [10, -30, 1000, None, 70, 0],
    "d": [1.5, _NAN, -0.0, None, -2.75, _INF],
    "f": [1.5, 2.25, 3.0, None, _NAN, -0.1],
    "s": ["abc", "", None, "añ%_b", " x ", "𝄞 clef\n"],
    "t": ["b", "x", "y", None, " ", "clef"],
    "day": [date(2020, 1, 31), date(2021, 2, 3), None, date(1900, 1, 1), date(2024, 2, 29), None],
    "at": [
        datetime(2020, 1, 1, 5, 6, 7, tzinfo=UTC),
        None,
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2024, 2, 29, 0, 0, 0, 1, tzinfo=UTC),
        datetime(2021, 1, 3, 12, 0, tzinfo=UTC),
        None,
    ],
    "local": [
        datetime(2020, 1, 1, 5, 6, 7),
        None,
        datetime(1969, 12, 31, 23, 59, 59, 999_999),
        datetime(2024, 2, 29, 0, 0, 0, 1),
        None,
        datetime(2021, 1, 3, 12, 0),
    ],
    "m": [Decimal("1.25"), None, Decimal("-3.50"), Decimal(0), Decimal("9.99"), Decimal("12345")],
    "n": [Decimal("1.250"), Decimal("0.001"), None, Decimal(-9), Decimal("9.990"), Decimal(5)],
    "ok": [True, False, None, True, False, None],
    "raw": [b"a", b"", None, b"\xff\x00", b"abc", b"a"],
}
ROWS = pa.table(_COLUMNS, schema=arrow_schema(SCHEMA))

EXPRESSIONS = [
    # Arithmetic
    *("i + 1", "i - j", "i * 2", "l + i", "b + h", "i + d", "f + f", "f * 2", "f + 1.5"),
    *("i / 2", "7 / 2", "d / 4", "l div 2", "-7 div 2", "i div 3", "i % 3", "l % 2", "d % 2"),
    *("-i", "-(i + j)", "- 5", "m + 1", "m * 2", "m + n", "m - n", "m * n", "m + i", "m * d"),
    *("1L + 1.5BD", "2147483647 + l", "-2147483648", "-9223372036854775808", "1e3 + i"),
    *("mod(i, 3)", "pmod(i, 3)", "i + NULL", "NULL / 0", "day + 1", "day - 31"),
    # Comparisons and logic
    *("i = 1", "i <> 1", "i <=> NULL", "i < l", "i + 1 > 2.5", "d > 1", "d = d", "f = 1.5"),
    *("d < f", "m > 1", "m = n", "m < d", "s < t", "s = 'abc'", "raw < cast('b' as binary)"),
    *("day > '2020-06-01'", "at > '2020-01-01'", "day = at", "at < local", "day < local"),
    *("i in (1, 2.5, l)", "i not in (1, NULL)", "s in ('abc', t)", "i between 0 and j"),
    *("s not between 'a' and 'b'", "i is null", "not (i = 1) and ok", "!ok", "ok or i = 1"),
    *("ok is true", "ok is not false", "(i > 0) is not true", "i is distinct from j"),
    *("i <> 0 and 10 / i > 3", "i = 0 or 10 / i > 3", "i is null or ok", "ok = (i > 0)"),
    *("case when i > 0 then 'p' when i < 0 then 'n' end", "case i when 1 then l else d end"),
    *("s like 'a%'", "s like '%!%%' escape '!'", "s not like '_b_'", "s like '%\\_b'"),
    *("s like '_ clef%'", "t like ''"),
    # Functions
    *("coalesce(i, l)", "nvl(i, 0)", "ifnull(s, 'none')", "nullif(i, 1)", "if(ok, i, d)"),
    *("greatest(i, j)", "least(i, l, d)", "greatest(s, t)", "isnull(i)", "isnotnull(s)"),
    *("isnan(d)", "isnan(f)", "abs(i)", "abs(d)", "abs(m)", "sign(i)", "sign(d)", "sqrt(i)"),
    *("floor(i / 3D)", "isnan('NaN'::float)", "ceil(j * -1.5D)", "floor(l)", "ceiling(b)"),
    *("length(s)", "length(raw)", "char_length(t)", "upper(s)", "lower(s)", "ucase(t)"),
    *("trim(s)", "ltrim(s)", "rtrim(s)", "s || t", "concat(s, '-', t)", "concat(s, i)"),
    *(f"substring(s, {p}, {n})" for p in (-9, -2, 0, 1, 2, 9) for n in (-1, 0, 1, 9)),
    *("substr(s, 2)", "substring(s, -3)", "left(s, 2)", "left(s, -1)", "right(s, 2)"),
    *("right(s, 0)", "instr(s, t)", "instr(s, '')", "locate('b', s)", "position('x', s)"),
    *("startswith(s, 'a')", "endswith(s, t)", "contains(s, t)", "contains(s, '')"),
    *("replace(s, 'b', 'xx')", "replace(s, '', 'x')", "md5(s)"),
    *(f"{part}(day)" for part in ("year", "quarter", "month", "day", "dayofmonth", "dayofyear")),
    *("dayofweek(day)", "weekday(day)", "weekofyear(day)", "year(at)", "month(local)"),
    *("hour(at)", "minute(at)", "second(at)", "hour(local)", "last_day(day)"),
    *("date_add(day, 30)", "date_sub(day, i)", "datediff(day, at)", "to_date(at)", "date(local)"),
    *(f"date_trunc('{u}', at)" for u in ("year", "quarter", "MONTH", "week", "day", "hour")),
    *("date_trunc('minute', local)", "date_trunc('day', day)", "trunc(day, 'MM')"),
    *("trunc(day, 'year')", "trunc(day, 'week')", "trunc(at, 'quarter')"),
    *("date_format(at, 'yyyy-MM-dd HH:mm:ss')", "date_format(day, 'yyyyMM')"),
    *("nvl2(i, s, t)", "equal_null(d, f)", "equal_null(i, null)", "concat_ws('-', s, i, t)"),
    *("concat_ws(s, t)", "concat_ws(',')", "repeat(s, i - 2)", "lpad(s, j, 'xy')", "rpad(s, 7)"),
    *(
        "lpad(s, 2, '')",
        "rpad(s, 6, 'é𝄞')",
        "translate(s, 'abñ', 'xy')",
        "translate(s, 'aa', 'xy')",
    ),
    *("sha1(s)", "sha(t)", "sha2(s, 256)", "sha2(s, 0)", "hex(l)", "hex(j)", "hex(s)", "hex(raw)"),
    *("bit_length(s)", "octet_length(raw)", "octet_length(s)"),
    *("i & l", "i | 8", "b ^ h", "~j", "~b", "(i & 1) = 1", "b & b"),
    *("round(i)", "round(l, 2)", "round(m)", "round(m, 1)", "round(n, 2)", "round(n, 5)"),
    *("round(d)", "round(d, 1)", "round(m * 0.005D, 2)", "round(i * 1.005D, 2)", "round(1e300, 2)"),
    *("round(0.49999999999999994D)", "round(-2.5D)", "round(1.005D, 2)", "round(d / 3, 15)"),
    *("at + interval 1 day", "at - interval '2' hours", "local + interval 90 minutes"),
    *("day + interval 1 month", "day - interval 1 year", "day - interval 3 days"),
    *("at + interval 13 months", "at - interval 1 second", "day + interval 2 weeks"),
    *("timestamp_seconds(i)", "timestamp_millis(l)", "timestamp_micros(-l)", "unix_seconds(at)"),
    *("unix_millis(at)", "unix_micros(at)", "unix_timestamp(at)", "unix_date(day)"),
    *("add_months(day, i)", "add_months(day, -12)", "make_date(2023, 1, dayofmonth(day))"),
    *("int(d is null)", "bigint(i)", "string(i)", "double(m)", "boolean(i)", "float(i)"),
    *("timestamp(day)", "to_timestamp('2020-01-02 03:04:05')", "to_timestamp(day)", "smallint(b)"),
    # Casts
    *("cast(at as string)", "cast(local as string)", "cast(m as string)", "concat(n, '|', at)"),
    *(
        "cast(i * 1.005D as decimal(9,2))",
        "cast(1e20D as decimal(38,3))",
        "cast(-1.5e-7D as decimal(9,7))",
    ),
    *(
        "cast(coalesce(nullif(f, 'nan'::float), 0.1F) as decimal(20,12))",
        "cast(i / 7 as decimal(5,3))",
    ),
    *("cast(cast(0 as decimal(20,10)) as string)", "cast(m * 100000 as string)"),
    *("cast(d / 2 is null as int)", "cast(coalesce(nullif(f, 'nan'::float), 0) as int)"),
    *("cast(m as int)", "cast(m as decimal(8,1))", "cast(m as double)", "cast(n as float)"),
    *("cast(i as string)", "cast(ok as string)", "cast(day as string)", "cast(i as decimal(5,1))"),
    *("cast(at as date)", "cast(day as timestamp)", "cast(at as timestamp_ntz)"),
    *("cast(i as boolean)", "cast(ok as int)", "cast(l as double)", "cast(i as long)"),
    *("cast(' 5 ' as int)", "cast('-1.5e2' as double)", "cast('yes' as boolean)"),
    *("cast('2020-1-2' as date)", "cast('2020-01-02 03:04:05.678' as timestamp)"),
    *("cast(s as binary)", "timestamp '2020-01-01 00:00:00' < at", "date '2020-01-31' = day"),
]
"""Each has a value in all rows of ROWS."""

FAILING = [
    *("i / 0", "i % 0", "i div (i - i)", "b + cast(100 as byte)", "l * 9223372036854775807"),
    *("cast(l as int)", "cast(d as int)", "cast('' as int)", "cast('5.0' as int)"),
    *("cast(s as int)", "cast(s as double)", "cast(s as boolean)", "cast(1000 as byte) + b"),
    *(
        "make_date(2024, 2, 30)",
        "timestamp_seconds(9223372036854775807)",
        "-cast(-128 as byte)",
        "abs(cast(-128 as byte))",
        "cast(m as decimal(3,2))",
    ),
]
"""Spark fails at some row of ROWS, and so does the engine."""

REFUSED = {
    "m / 2": "division of decimals",
    "m % 2": "remainder of decimals",
    "m div 2": "div of numbers",
    "round(f, 2)": "round of a float",
    "round(d, -1)": "round to other than 0 to 15 digits",
    "sha2(s, 512)": "sha2 of other than 256 bits",
    "pow(d, 2)": "function pow",
    "rand() > 0.5": "function rand",
    "current_date() > day": "function current_date",
    "s rlike 'a+'": "REGEXPLIKE",
    "s ilike 'A%'": "ILIKE",
    "t not ilike 'b'": "ILIKE",
    "s like t": "LIKE of other than a text and a constant pattern",
    "try_cast(s as int)": "TRYCAST",
    "cast(d as string)": "CAST of double to string",
    "cast(at as long)": "CAST of timestamp to long",
    "cast(s as decimal(5,2))": "CAST of string to decimal",
    "day + interval 1 hour": "interval of HOUR",
    "at + interval '1 2' day to hour": "interval",
    "at + interval 1.5 seconds": "interval",
    "at * interval 1 day": "INTERVAL",
    "(select 1) = i": "SUBQUERY",
    's = "abc"': "double quotes",
    "'it''s' = s": "CONCAT",
    "s like any ('a', 'b')": "ANY",
    "exists(s, x -> x > 1)": "LAMBDA",
    "cast(m as decimal(38,2)) * m": "a decimal of 49 digits",
    "date_format(day, 'EEEE')": "date_format by 'EEEE'",
    "date_trunc('century', at)": "date_trunc to 'century'",
    "sum(i) over () > 1": "WINDOW",
    "count(i)": "function count",
}
WRONG = {
    "i = 'a'": "integer and string",
    "ok > 1": "boolean and integer",
    "nothing = 1": "column nothing",
    "s + 1": "takes numbers",
    "i and ok": "of type integer",
    "length(i)": "type string, not integer",
    "left(s)": "takes 2 arguments",
    "i +": "no expression",
    "day > 'soon'": "'soon'",
    "i = 1; i = 2": "not one expression",
    "": "not one expression",
}
