"""Random conditions in every form that reading takes, with what each row answers.

`Condition.answer` is SQL's three-valued logic as Spark has it (NaN equals itself and is greater
than every number), written down here once more: nothing of it is the product's.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

Row = Mapping[str, Any]
Answer = Callable[[Row], "bool | None"]

_NAN, _INF = math.nan, math.inf
TYPES: dict[str, str] = {
    "b": "byte",
    "h": "short",
    "i": "integer",
    "l": "long",
    "f": "float",
    "d": "double",
    "m": "decimal(10,2)",
    "s": "string",
    "x": "binary",
    "k": "boolean",
    "day": "date",
    "at": "timestamp",
    "loc": "timestamp_ntz",
}
TEXTS = [
    *("a", "A", "b", "ab", "it's", "a%b", "a_b", "é", "e\u0301", " a", "a ", "/", ":", "a=b", "+"),
    *("#", "?", "\\", "%41", "null", "NaN", "1", "01", "\n", "\U0001f600", "\uffff", "x" * 40),
    *("x" * 32 + "\U0001f600", "__HIVE_DEFAULT_PARTITION__", "a.b", '"', "`", "2024-01-02"),
]
VALUES: dict[str, list[Any]] = {
    "byte": [-128, -1, 0, 1, 2, 127],
    "short": [-32768, -1, 0, 1, 300, 32767],
    "integer": [-(2**31), -1, 0, 1, 2, 3, 16_777_217, 2**31 - 1],
    "long": [-(2**63), -1, 0, 1, 2, 2**53 + 1, 2**63 - 1],
    "float": [-_INF, -1.5, -0.0, 0.0, 0.5, 0.10000000149011612, 16_777_216.0, _INF, _NAN],
    "double": [-_INF, -1.5, -0.0, 0.0, 0.1, 0.5, 2.0**53, 1e300, _INF, _NAN],
    "decimal(10,2)": [Decimal(n) / 100 for n in (-9999999999, -150, 0, 50, 100, 9999999999)],
    "string": TEXTS,
    "binary": [b"a", b"ab", b"\x00", b"\xff\x00", "é".encode(), b"z"],
    "boolean": [True, False],
    "date": [
        date(1, 1, 1),
        date(1582, 10, 4),
        date(1969, 12, 31),
        date(2024, 1, 2),
        date(2024, 2, 29),
        date(9999, 12, 31),
    ],
    "timestamp": [
        datetime(1900, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2024, 1, 2, tzinfo=UTC),
        datetime(2024, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC),
        datetime(2024, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC),
    ],
}
VALUES["timestamp_ntz"] = [value.replace(tzinfo=None) for value in VALUES["timestamp"]]
NUMBERS = ("byte", "short", "integer", "long", "float", "double", "decimal(10,2)")
LITERALS = {
    **VALUES,
    "byte": [*VALUES["byte"], 2.5, 128, -0.5, 10**30],
    "short": [*VALUES["short"], Decimal("0.5"), 40_000],
    "integer": [*VALUES["integer"], 2.5, -0.5, 2**31, 16_777_216],
    "long": [*VALUES["long"], -0.5, 2**63],
    "decimal(10,2)": [*VALUES["decimal(10,2)"], Decimal("0.505"), 10**9, 0],
    "string": [*TEXTS, "", "zz", "x" * 33],
}
OPERATORS = ("=", "!=", "<", "<=", ">", ">=")


@dataclass(frozen=True)
class Condition:
    """`tuples` as delta-rs has them, or None where those can't say it.

    They don't say empty text, which is null there where a column partitions the table.
    """

    sql: str
    answer: Answer
    tuples: tuple[Any, ...] | None = None


def ordered(left: Any, right: Any) -> int:
    """-1, 0 or 1; NaN is the greatest."""
    if isinstance(left, str) and isinstance(right, str):
        left, right = left.encode(), right.encode()
    nan = [isinstance(value, float) and math.isnan(value) for value in (left, right)]
    if any(nan):
        return nan[0] - nan[1]
    return int(left > right) - int(left < right)


def compared(op: str, left: Any, right: Any) -> bool | None:
    if left is None or right is None:
        return None
    sign = ordered(left, right)
    return {
        "=": sign == 0,
        "!=": sign != 0,
        "<": sign < 0,
        "<=": sign <= 0,
        ">": sign > 0,
        ">=": sign >= 0,
    }[op]


def negated(answer: bool | None) -> bool | None:
    return None if answer is None else not answer


def both(left: bool | None, right: bool | None) -> bool | None:
    return False if False in (left, right) else None if None in (left, right) else True


def either(left: bool | None, right: bool | None) -> bool | None:
    return negated(both(negated(left), negated(right)))


def literal(value: Any) -> str:
    """As Spark SQL."""
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).upper()
        case str():
            return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        case bytes():
            return f"X'{value.hex()}'"
        case datetime():
            zone = "" if value.tzinfo is None else "Z"
            kind = "TIMESTAMP_NTZ" if value.tzinfo is None else "TIMESTAMP"
            return f"{kind} '{value.replace(tzinfo=None).isoformat(' ')}{zone}'"
        case date():
            return f"DATE '{value.isoformat()}'"
        case float() if not math.isfinite(value):
            return f"CAST('{value}' AS DOUBLE)"
        case float():
            return f"{value!r}D" if "e" not in repr(value) else repr(value)
        case Decimal():
            return f"{value:f}"
    return str(value)


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


class Maker:
    """Conditions over columns, by a seeded source of chance.

    `columns`: name (a path for a field of a struct) -> Delta type.
    """

    def __init__(self, chance: random.Random, columns: Mapping[str, str]) -> None:
        self.chance = chance
        self.columns = dict(columns)

    def condition(self, depth: int = 2) -> Condition:
        kind = self.chance.random()
        if depth == 0 or kind < 0.3:
            return self.test()
        if kind < 0.5:
            inner = self.condition(depth - 1)
            return Condition(f"NOT ({inner.sql})", lambda row: negated(inner.answer(row)))
        left, right = self.condition(depth - 1), self.condition(depth - 1)
        word, join = ("AND", both) if kind < 0.75 else ("OR", either)
        return Condition(
            f"({left.sql}) {word} ({right.sql})",
            lambda row: join(left.answer(row), right.answer(row)),
        )

    def test(self) -> Condition:
        makers = [self._compare, self._compare, self._in, self._null, self._between, self._two]
        makers += [self._distinct, self._like, self._truth, self._beyond]
        found = None
        while found is None:
            name = self.chance.choice(sorted(self.columns))
            found = self.chance.choice(makers)(name, self.columns[name])
        return found

    def value(self, type: str) -> Any:
        return self.chance.choice(LITERALS[type])

    def _compare(self, name: str, type: str) -> Condition:
        op, value = self.chance.choice(OPERATORS), self.value(type)
        sql = f"{quoted_path(name)} {op} {literal(value)}"
        if self.chance.random() < 0.2:
            back = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}.get(op, op)
            sql = f"{literal(value)} {back} {quoted_path(name)}"
        return Condition(
            sql,
            lambda row: compared(op, row[name], value),
            None if value == "" else (name, op, value),
        )

    def _in(self, name: str, type: str) -> Condition:
        values = [self.value(type) for _ in range(self.chance.choice([1, 2, 3, 7]))]
        null, negative = self.chance.random() < 0.2, self.chance.random() < 0.3
        listed = ", ".join(literal(v) for v in [*values, *([None] if null else [])])

        def answer(row: Row) -> bool | None:
            if row[name] is None:
                return None
            hit = any(compared("=", row[name], value) for value in values)
            found = True if hit else None if null else False
            return negated(found) if negative else found

        sql = f"{quoted_path(name)} {'NOT ' * negative}IN ({listed})"
        tuples = None if null or "" in values else (name, "not in" if negative else "in", values)
        return Condition(sql, answer, tuples)

    def _null(self, name: str, type: str) -> Condition:
        negative = self.chance.random() < 0.5
        return Condition(
            f"{quoted_path(name)} IS {'NOT ' * negative}NULL",
            lambda row: (row[name] is None) != negative,
            (name, "!=" if negative else "=", None),
        )

    def _between(self, name: str, type: str) -> Condition:
        low, high = self.value(type), self.value(type)
        negative = self.chance.random() < 0.3

        def answer(row: Row) -> bool | None:
            found = both(compared(">=", row[name], low), compared("<=", row[name], high))
            return negated(found) if negative else found

        word = "NOT BETWEEN" if negative else "BETWEEN"
        sql = f"{quoted_path(name)} {word} {literal(low)} AND {literal(high)}"
        return Condition(sql, answer)

    def _two(self, name: str, type: str) -> Condition | None:
        group = NUMBERS if type in NUMBERS else (type,)
        others = sorted(n for n, t in self.columns.items() if t in group and n != name)
        if not others:
            return None
        other, op = self.chance.choice(others), self.chance.choice([*OPERATORS, "<=>"])
        types = {type, self.columns[other]}
        if types & {"float", "double"} and types & {"long", "decimal(10,2)"}:
            kind: Callable[[Any], Any] = float
        else:
            kind = _same

        def answer(row: Row) -> bool | None:
            left, right = _unless(row[name], kind), _unless(row[other], kind)
            if op == "<=>" and None in (left, right):
                return left is right
            return compared("=" if op == "<=>" else op, left, right)

        return Condition(f"{quoted_path(name)} {op} {quoted_path(other)}", answer)

    def _distinct(self, name: str, type: str) -> Condition:
        value = None if self.chance.random() < 0.3 else self.value(type)
        word = self.chance.choice(["<=>", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"])

        def answer(row: Row) -> bool | None:
            same = compared("=", row[name], value)
            same = (row[name] is None and value is None) if same is None else same
            return not same if word == "IS DISTINCT FROM" else same

        return Condition(f"{quoted_path(name)} {word} {literal(value)}", answer)

    def _like(self, name: str, type: str) -> Condition | None:
        if type != "string":
            return None
        pieces = ["a", "b", "%", "_", "é", "\\%", "\\_", "x" * 31, "\\\\", "'", "\n"]
        pattern = "".join(self.chance.choices(pieces, k=self.chance.randrange(4)))
        if self.chance.random() < 0.4:
            pattern += "%"
        negative, folded = self.chance.random() < 0.3, self.chance.random() < 0.2
        regex = "".join(
            {"%": ".*", "_": "."}.get(p) or re.escape(p[-1])
            for p in re.findall(r"\\.|.", pattern, re.DOTALL)
        )
        flags = re.DOTALL | (re.IGNORECASE if folded else 0)

        def answer(row: Row) -> bool | None:
            if row[name] is None:
                return None
            return (re.fullmatch(regex, row[name], flags) is not None) != negative

        word = "NOT " * negative + ("ILIKE" if folded else "LIKE")
        return Condition(f"{quoted_path(name)} {word} {literal(pattern)}", answer)

    def _truth(self, name: str, type: str) -> Condition | None:
        if type != "boolean":
            return None
        form = self.chance.choice(["{}", "NOT {}", "{} IS TRUE", "{} IS NOT TRUE", "{} IS FALSE"])

        def answer(row: Row) -> bool | None:
            value: bool | None = row[name]
            return {
                "{}": value,
                "NOT {}": negated(value),
                "{} IS TRUE": value is True,
                "{} IS NOT TRUE": value is not True,
                "{} IS FALSE": value is False,
            }[form]

        return Condition(form.format(quoted_path(name)), answer)

    def _beyond(self, name: str, type: str) -> Condition | None:
        """What planning leaves to the engine."""
        forms = _BEYOND.get("integer" if type in ("byte", "short") else type)
        if forms is None:
            return None
        sql, test = self.chance.choice(forms)

        def answer(row: Row) -> bool | None:
            return test(row[name])

        return Condition(sql.format(quoted_path(name)), answer)


def quoted_path(name: str) -> str:
    return ".".join(map(quoted, name.split(".")))


def _same(value: Any) -> Any:
    return value


def _unless(value: Any, then: Callable[[Any], Any]) -> Any:
    return None if value is None else then(value)


_BEYOND: dict[str, list[tuple[str, Callable[[Any], bool | None]]]] = {
    "integer": [
        ("{} % 2 = 1", lambda v: _unless(v, lambda v: math.fmod(v, 2) == 1)),
        ("coalesce({}, 0) = 2", lambda v: (v or 0) == 2),
        (
            "CASE WHEN {0} > 1 THEN TRUE WHEN {0} IS NULL THEN TRUE END",
            lambda v: True if v is None or v > 1 else None,
        ),
        ("CAST({} AS BIGINT) + 1 > 2", lambda v: _unless(v, lambda v: v > 1)),
        ("{0} <> 0 AND 10 / {0} > 3", lambda v: _unless(v, lambda v: v != 0 and 10 / v > 3)),
    ],
    "string": [
        ("length({}) > 1", lambda v: _unless(v, lambda v: len(v) > 1)),
        ("{} || 'z' > 'az'", lambda v: _unless(v, lambda v: (v + "z").encode() > b"az")),
        ("startswith({}, 'x')", lambda v: _unless(v, lambda v: v.startswith("x"))),
    ],
    "date": [
        ("year({}) = 2024", lambda v: _unless(v, lambda v: v.year == 2024)),
        ("{} > '2024-01-01'", lambda v: _unless(v, lambda v: v > date(2024, 1, 1))),
    ],
    "double": [
        ("isnan({})", lambda v: v is not None and math.isnan(v)),
        ("abs({}) <= 1.5D", lambda v: _unless(v, lambda v: abs(v) <= 1.5)),
    ],
}
