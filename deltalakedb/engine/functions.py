"""The functions of Spark SQL that are evaluated here; every other one is refused by its name.

Each is written for DuckDB so that it answers as Spark 4 does (tests/spark compares them), also for
NULL, empty texts and positions outside: where the two differ, the text says so.
"""

from __future__ import annotations

from deltalakedb.engine.arguments import Function, as_type_of, made, simple, typed
from deltalakedb.engine.casts import cast, four_digits, raised
from deltalakedb.engine.number_functions import NUMBERS
from deltalakedb.engine.term import Term, aligned, invalid, refused
from deltalakedb.engine.text_functions import TEXTS
from deltalakedb.engine.time_functions import TIMES

# Whose other case is several characters in Spark (Java 17), depends on where they stand, or came
# with a younger Unicode: DuckDB answers otherwise, as a run over all characters showed.
_UPPER = (
    r"[\x{DF}\x{149}\x{19B}\x{1F0}\x{264}\x{390}\x{3B0}\x{587}\x{1C8A}\x{1E96}-\x{1E9A}\x{1F50}"
    r"\x{1F52}\x{1F54}\x{1F56}\x{1F80}-\x{1FAF}\x{1FB2}-\x{1FB4}\x{1FB6}-\x{1FB7}\x{1FBC}"
    r"\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FC7}\x{1FCC}\x{1FD2}-\x{1FD3}\x{1FD6}-\x{1FD7}"
    r"\x{1FE2}-\x{1FE4}\x{1FE6}-\x{1FE7}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FF7}\x{1FFC}\x{A7CD}"
    r"\x{A7DB}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{10D70}-\x{10D85}]"
)
_LOWER = r"[\x{130}\x{3A3}\x{1C89}\x{A7CB}-\x{A7CC}\x{A7DA}\x{A7DC}\x{10D50}-\x{10D65}]"
_UNITS = {
    "YEAR": "year",
    "YYYY": "year",
    "YY": "year",
    "QUARTER": "quarter",
    "MONTH": "month",
    "MON": "month",
    "MM": "month",
    "WEEK": "week",
    "DAY": "day",
    "DD": "day",
    "HOUR": "hour",
    "MINUTE": "minute",
    "SECOND": "second",
}
_FIELDS = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}


def call(name: str, arguments: list[Term]) -> Term:
    """`name(arguments)`."""
    function = _FUNCTIONS.get(name.lower())
    if function is None:
        raise refused(
            f"the function {name.lower()}", "docs/reading.md lists the functions that are"
        )
    return function(name.lower(), arguments)


def _length(name: str, arguments: list[Term]) -> Term:
    if len(arguments) == 1 and arguments[0].type == "binary":
        return made(f"CAST(octet_length({arguments[0].sql}) AS INTEGER)", "integer", arguments)
    [value] = typed(name, arguments, "string")
    return made(f"CAST(length({value.sql}) AS INTEGER)", "integer", arguments)


def _case(special: str) -> Function:
    def write(name: str, arguments: list[Term]) -> Term:
        [value] = typed(name, arguments, "string")
        function = "upper" if name in ("upper", "ucase") else "lower"
        why = raised(f"{function} of a character whose other case differs from Spark's")
        return made(
            f"CASE WHEN regexp_matches({value.sql}, '{special}') THEN {why} "
            f"ELSE {function}({value.sql}) END",
            "string",
            arguments,
            fallible=True,
        )

    return write


def _substring(name: str, arguments: list[Term]) -> Term:
    text, start, *rest = typed(name, arguments, "string", "integer", "integer", optional=1)
    size = f"CAST(length({text.sql}) AS BIGINT)"
    at = f"CAST({start.sql} AS BIGINT)"
    first = f"(CASE WHEN {at} > 0 THEN {at} - 1 WHEN {at} < 0 THEN {size} + {at} ELSE 0 END)"
    # A start before the text's own takes away from the length, as in Spark.
    end = f"({first} + CAST({rest[0].sql} AS BIGINT))" if rest else size
    begin = f"greatest({first}, 0)"
    sql = f"substring({text.sql}, {begin} + 1, greatest({end} - {begin}, 0))"
    known = " AND ".join(f"{a.sql} IS NOT NULL" for a in (text, start, *rest))
    return made(f"CASE WHEN {known} THEN {sql} END", "string", arguments)


def _concat(name: str, arguments: list[Term]) -> Term:
    texts = [cast(a, "string") if a.type != "string" else a for a in arguments]
    # DuckDB's concat leaves NULL out.
    return made("(" + " || ".join(t.sql for t in texts or [Term("''", "")]) + ")", "string", texts)


def _coalesce(name: str, arguments: list[Term]) -> Term:
    if len(arguments) < (2 if name in ("nvl", "ifnull") else 1):
        raise invalid(f"{name} takes more arguments")
    values, type = aligned(arguments, name)
    return made(f"coalesce({', '.join(v.sql for v in values)})", type, values)


def _nullif(name: str, arguments: list[Term]) -> Term:
    if len(arguments) != 2:
        raise invalid("nullif takes two arguments")
    (left, right), _ = aligned(arguments, name)
    first = arguments[0]
    sql = f"CASE WHEN {left.sql} = {right.sql} THEN NULL ELSE {first.sql} END"
    return made(sql, first.type, arguments)


def _if(name: str, arguments: list[Term]) -> Term:
    if len(arguments) != 3:
        raise invalid(f"{name} takes a condition and two values")
    condition = as_type_of(name, arguments[0], "boolean")
    values, type = aligned(arguments[1:], name)
    sql = f"CASE WHEN {condition.sql} THEN {values[0].sql} ELSE {values[1].sql} END"
    return made(sql, type, arguments)


def _extreme(name: str, arguments: list[Term]) -> Term:
    if len(arguments) < 2:
        raise invalid(f"{name} takes at least two arguments")
    values, type = aligned(arguments, name)
    return made(f"{name}({', '.join(v.sql for v in values)})", type, values)


def _is_null(name: str, arguments: list[Term]) -> Term:
    if len(arguments) != 1:
        raise invalid(f"{name} takes one argument")
    test = "IS NULL" if name == "isnull" else "IS NOT NULL"
    return made(f"({arguments[0].sql} {test})", "boolean", arguments)


def _is_nan(name: str, arguments: list[Term]) -> Term:
    if len(arguments) != 1 or not arguments[0].is_numeric:
        raise invalid("isnan takes one number")
    value = cast(arguments[0], "double")
    return made(f"coalesce(isnan({value.sql}), FALSE)", "boolean", arguments)


def _abs(name: str, arguments: list[Term]) -> Term:
    if len(arguments) != 1 or not arguments[0].is_numeric:
        raise invalid("abs takes one number")
    return made(f"abs({arguments[0].sql})", arguments[0].type, arguments, fallible=True)


def _whole(name: str, arguments: list[Term]) -> Term:
    if len(arguments) != 1 or not arguments[0].is_numeric:
        raise invalid(f"{name} takes one number")
    [value] = arguments
    if value.is_decimal:
        raise refused(f"{name} of a decimal", "cast it to a whole number")
    function = "floor" if name == "floor" else "ceil"
    inner = value.sql if value.is_integer else f"{function}({value.sql})"
    return made(f"CAST({inner} AS BIGINT)", "long", arguments, fallible=value.is_fractional)


def _sign(name: str, arguments: list[Term]) -> Term:
    if len(arguments) != 1 or not arguments[0].is_numeric:
        raise invalid(f"{name} takes one number")
    value = cast(arguments[0], "double").sql
    sql = f"CASE WHEN isnan({value}) THEN {value} ELSE CAST(sign({value}) AS DOUBLE) END"
    return made(sql, "double", arguments)


def _sqrt(name: str, arguments: list[Term]) -> Term:
    if len(arguments) != 1 or not arguments[0].is_numeric:
        raise invalid("sqrt takes one number")
    value = cast(arguments[0], "double").sql
    sql = f"CASE WHEN {value} < 0 THEN CAST('nan' AS DOUBLE) ELSE sqrt({value}) END"
    return made(sql, "double", arguments)


def _pmod(name: str, arguments: list[Term]) -> Term:
    if len(arguments) != 2 or not all(a.is_integer for a in arguments):
        raise invalid("pmod takes two whole numbers")
    (left, right), type = aligned(arguments, name)
    why = raised("remainder of a division by zero")
    rest = f"({left.sql} % {right.sql})"
    sql = (
        f"CASE WHEN {right.sql} = 0 AND {left.sql} IS NOT NULL THEN {why} "
        f"WHEN {rest} < 0 THEN ({rest} + {right.sql}) % {right.sql} ELSE {rest} END"
    )
    return cast(made(sql, type, arguments, fallible=True), type)


def _date_trunc(name: str, arguments: list[Term]) -> Term:
    if len(arguments) != 2:
        raise invalid(f"{name} takes two arguments")
    unit, value = arguments if name == "date_trunc" else reversed(arguments)
    to_date = name == "trunc"
    known = _UNITS.get(str(unit.literal).upper()) if isinstance(unit.literal, str) else None
    if known is None or (to_date and known in ("day", "hour", "minute", "second")):
        raise refused(f"{name} to {unit.literal!r}", f"it knows {', '.join(_UNITS)}")
    value = as_type_of(name, value, "date" if to_date else "time")
    if not to_date:
        value = cast(value, "timestamp")
    type = value.type
    sql_type = "DATE" if to_date else "TIMESTAMP"
    return made(f"CAST(date_trunc('{known}', {value.sql}) AS {sql_type})", type, [value])


def _date_format(name: str, arguments: list[Term]) -> Term:
    if len(arguments) != 2 or not isinstance(arguments[1].literal, str):
        raise refused("date_format without a constant pattern", "write the pattern in quotes")
    value, pattern = as_type_of(name, arguments[0], "time"), arguments[1].literal
    out, rest = "", pattern
    while rest:
        field = next((f for f in _FIELDS if rest.startswith(f)), None)
        if field is None and (rest[0].isalpha() or rest[0] in "'[]{}#%"):
            raise refused(f"date_format by {pattern!r}", f"it knows {', '.join(_FIELDS)}")
        taken = field or rest[0]
        after = rest[len(taken) :]
        if field is not None and after.startswith(field[0]):
            raise refused(f"date_format by {pattern!r}", f"it knows {', '.join(_FIELDS)}")
        out, rest = out + _FIELDS.get(taken, taken), after
    sql = f"strftime({four_digits(value.sql)}, '{out}')"
    return made(sql, "string", [value], fallible=True)


def _to_date(name: str, arguments: list[Term]) -> Term:
    if len(arguments) != 1:
        raise refused(f"{name} with a format", "cast the text to a date")
    return cast(arguments[0], "date")


def _date_add(name: str, arguments: list[Term]) -> Term:
    day, days = typed(name, arguments, "date", "integer")
    sign = "-" if name == "date_sub" else "+"
    return made(f"CAST({day.sql} {sign} {days.sql} AS DATE)", "date", arguments, fallible=True)


def _nvl2(name: str, arguments: list[Term]) -> Term:
    if len(arguments) != 3:
        raise invalid("nvl2 takes three arguments")
    values, type = aligned(arguments[1:], name)
    test = f"{arguments[0].sql} IS NOT NULL"
    sql = f"CASE WHEN {test} THEN {values[0].sql} ELSE {values[1].sql} END"
    return made(sql, type, arguments)


def _equal_null(name: str, arguments: list[Term]) -> Term:
    if len(arguments) != 2:
        raise invalid("equal_null takes two arguments")
    (left, right), _ = aligned(arguments, name)
    return made(f"({left.sql} IS NOT DISTINCT FROM {right.sql})", "boolean", [left, right])


def _as_cast(name: str, arguments: list[Term]) -> Term:
    """The name of a type as a function."""
    if len(arguments) != 1:
        raise invalid(f"{name} takes one argument")
    return cast(arguments[0], _CASTS[name])


_CASTS = {
    "tinyint": "byte",
    "smallint": "short",
    "int": "integer",
    "bigint": "long",
    "float": "float",
    "double": "double",
    "string": "string",
    "boolean": "boolean",
    "binary": "binary",
    **dict.fromkeys(("timestamp", "to_timestamp"), "timestamp"),
}
_TEXTS = ("string", "string")
_FUNCTIONS: dict[str, Function] = {
    **dict.fromkeys(("length", "char_length", "character_length", "len"), _length),
    **dict.fromkeys(("upper", "ucase"), _case(_UPPER)),
    **dict.fromkeys(("lower", "lcase"), _case(_LOWER)),
    # Blanks alone, not every white space.
    "trim": simple("trim({0}, ' ')", "string", "string"),
    "ltrim": simple("ltrim({0}, ' ')", "string", "string"),
    "rtrim": simple("rtrim({0}, ' ')", "string", "string"),
    **dict.fromkeys(("substring", "substr"), _substring),
    "left": simple("left({0}, greatest({1}, 0))", "string", "string", "integer"),
    "right": simple("right({0}, greatest({1}, 0))", "string", "string", "integer"),
    "instr": simple("CAST(instr({0}, {1}) AS INTEGER)", "integer", *_TEXTS),
    **dict.fromkeys(
        ("locate", "position", "charindex"),
        simple("CAST(instr({1}, {0}) AS INTEGER)", "integer", *_TEXTS),
    ),
    "startswith": simple("starts_with({0}, {1})", "boolean", *_TEXTS),
    "endswith": simple("suffix({0}, {1})", "boolean", *_TEXTS),
    "contains": simple("contains({0}, {1})", "boolean", *_TEXTS),
    "replace": simple(
        "CASE WHEN {1} = '' THEN {0} ELSE replace({0}, {1}, {2}) END", "string", *_TEXTS, "string"
    ),
    "md5": simple("md5({0})", "string", "string"),
    "concat": _concat,
    **dict.fromkeys(("coalesce", "nvl", "ifnull"), _coalesce),
    "nullif": _nullif,
    **dict.fromkeys(("if", "iff"), _if),
    **dict.fromkeys(("greatest", "least"), _extreme),
    **dict.fromkeys(("isnull", "isnotnull"), _is_null),
    "isnan": _is_nan,
    "abs": _abs,
    **dict.fromkeys(("floor", "ceil", "ceiling"), _whole),
    **dict.fromkeys(("sign", "signum"), _sign),
    "sqrt": _sqrt,
    "pmod": _pmod,
    **{
        part: simple(f"CAST({part}({{0}}) AS INTEGER)", "integer", "date")
        for part in ("year", "quarter", "month", "day", "dayofyear", "weekofyear")
    },
    "dayofmonth": simple("CAST(day({0}) AS INTEGER)", "integer", "date"),
    # Spark counts from Sunday = 1 and from Monday = 0.
    "dayofweek": simple("CAST(dayofweek({0}) + 1 AS INTEGER)", "integer", "date"),
    "weekday": simple("CAST(isodow({0}) - 1 AS INTEGER)", "integer", "date"),
    **{
        part: simple(f"CAST({part}(CAST({{0}} AS TIMESTAMP)) AS INTEGER)", "integer", "time")
        for part in ("hour", "minute", "second")
    },
    "last_day": simple("CAST(last_day({0}) AS DATE)", "date", "date"),
    **dict.fromkeys(
        ("datediff", "date_diff"), simple("CAST({0} - {1} AS INTEGER)", "integer", "date", "date")
    ),
    **dict.fromkeys(("date_add", "date_sub"), _date_add),
    **dict.fromkeys(("date_trunc", "trunc"), _date_trunc),
    "date_format": _date_format,
    **dict.fromkeys(("to_date", "date"), _to_date),
    "nvl2": _nvl2,
    "equal_null": _equal_null,
    **dict.fromkeys(_CASTS, _as_cast),
    **NUMBERS,
    **TEXTS,
    **TIMES,
}
NAMES = tuple(sorted(_FUNCTIONS))
"""What is evaluated here."""
