"""From sqlglot's tree of a Spark SQL expression to a typed term for DuckDB.

What isn't on the list is refused, and so is a node with an argument that nobody here looked at: a
newer sqlglot can make a refusal of what was understood, but no other meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal

from sqlglot import exp

from deltalakedb.engine import functions
from deltalakedb.engine.casts import cast, type_of
from deltalakedb.engine.number_functions import inverted, of_bits
from deltalakedb.engine.operators import (
    all_numeric,
    both,
    constant_cast,
    negated,
    operands,
    unless_zero,
)
from deltalakedb.engine.term import (
    Term,
    aligned,
    common_type,
    constant,
    decimal_type,
    duckdb_type,
    invalid,
    refused,
    text,
)
from deltalakedb.engine.time_functions import moved
from deltalakedb.log.schema import decimal_parameters
from deltalakedb.predicate.like import canonical
from deltalakedb.predicate.names import Columns
from deltalakedb.predicate.tree import Column

MOST_TEXT = 200_000
"""Characters of DuckDB's SQL: what checks its operands repeats them."""
_COMPARISONS: dict[type[exp.Expression], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.NullSafeEQ: "IS NOT DISTINCT FROM",
    exp.NullSafeNEQ: "IS DISTINCT FROM",
}
_ARITHMETIC: dict[type[exp.Expression], str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*"}
_BITS: dict[type[exp.Expression], str] = {
    exp.BitwiseAnd: "&",
    exp.BitwiseOr: "|",
    exp.BitwiseXor: "^",
}
_NAMES = {"current_date", "current_timestamp", "now", "localtimestamp"}
_TIMES = {"current_timestamp": "timestamp", "now": "timestamp", "localtimestamp": "timestamp_ntz"}
_LONG = 1 << 63


class Translator:
    """Terms of one schema; `inputs` are the columns that were named, as c0, c1 …"""

    def __init__(self, columns: Columns, now: datetime | None) -> None:
        self._columns = columns
        self._now = now
        self.inputs: dict[tuple[str, ...], Column] = {}

    def term(self, node: exp.Expression) -> Term:
        """The term of a node. UNSUPPORTED_FEATURE names what isn't evaluated here."""
        kind = type(node)
        if kind in _COMPARISONS:
            found = self._comparison(node)
        elif kind in _ARITHMETIC:
            found = self._arithmetic(node)
        elif kind in _OTHERS:
            found = _OTHERS[kind](self, node)
        else:
            raise refused(_called(node), "docs/reading.md lists what is")
        if len(found.sql) > MOST_TEXT:
            raise refused("an expression as deep as this one", "make it smaller")
        return found

    def condition(self, node: exp.Expression) -> Term:
        """A boolean; NULL is one."""
        found = self.term(node)
        if found.type == "void":
            return constant(None, "boolean")
        if found.type != "boolean":
            raise invalid(f"a condition is expected, and {node.sql()} is of type {found.type}")
        return found

    def _two(self, node: exp.Expression, *also: str) -> tuple[Term, Term]:
        _only(node, "this", "expression", *also)
        return self.term(node.this), self.term(node.expression)

    # Values

    def _column(self, node: exp.Expression) -> Term:
        _only(node, *(("this", "expression") if isinstance(node, exp.Dot) else _PARTS))
        path = tuple(_path(node))
        name = path[0].lower()
        if self._now is not None and name in _NAMES and not self._columns.has(path):
            return self._current(name)
        return self.column(self._columns.find(path))

    def column(self, column: Column) -> Term:
        """The term of a column; what can't be looked at is refused."""
        if column.collated:
            raise refused(
                f"column {column}, which has a collation,", "ask only IS [NOT] NULL of it"
            )
        known = column.type in _INPUTS or decimal_parameters(column.type) is not None
        if not known:
            raise refused(f"a value of type {column.type} (column {column})", "name a field of it")
        self.inputs.setdefault(column.path, column)
        return Term(f"c{list(self.inputs).index(column.path)}", column.type)

    def _current(self, name: str) -> Term:
        assert self._now is not None
        if name == "current_date":
            return constant(self._now.astimezone(UTC).date(), "date")
        return constant(self._now.astimezone(UTC), _TIMES[name])

    def _literal(self, node: exp.Expression) -> Term:
        _only(node, "this", "is_string")
        if node.args["is_string"]:
            return constant(node.this, "string")
        spelled = str(node.this)
        if spelled.isdigit():
            number = int(spelled)
            if number < 1 << 31:
                return constant(number, "integer")
            if number < _LONG:
                return constant(number, "long")
            return constant(Decimal(number), decimal_type(len(str(number)), 0))
        if "e" in spelled.lower():
            return constant(float(spelled), "double")
        value = Decimal(spelled)
        _, digits, exponent = value.as_tuple()
        scale = -int(exponent)
        return constant(value, decimal_type(max(len(digits), scale, 1), scale))

    def _null(self, node: exp.Expression) -> Term:
        return constant(None, "void")

    def _boolean(self, node: exp.Expression) -> Term:
        _only(node, "this")
        return constant(bool(node.this), "boolean")

    def _bytes(self, node: exp.Expression) -> Term:
        _only(node, "this")
        digits = str(node.this)
        try:
            # Spark puts a zero before an odd number of digits.
            value = bytes.fromhex(digits.rjust(len(digits) + len(digits) % 2, "0"))
        except ValueError:
            raise invalid(f"X'{digits}' holds other than hexadecimal digits") from None
        return constant(value, "binary")

    def _paren(self, node: exp.Expression) -> Term:
        _only(node, "this")
        return self.term(node.this)

    # Numbers

    def _arithmetic(self, node: exp.Expression) -> Term:
        sign = _ARITHMETIC[node.__class__]
        if isinstance(node.expression, exp.Interval) and sign != "*":
            _only(node, "this", "expression")
            return moved(self.term(node.this), sign, node.expression)
        left, right = self._two(node)
        if left.type == "date" and sign != "*" and right.type in ("byte", "short", "integer"):
            sql = f"CAST({left.sql} {sign} CAST({right.sql} AS INTEGER) AS DATE)"
            return Term(sql, "date", fallible=True)
        left, right, type = operands(left, right, sign)
        sql = f"CAST(({left.sql} {sign} {right.sql}) AS {duckdb_type(type)})"
        return Term(sql, type, fallible=True)

    def _bits(self, node: exp.Expression) -> Term:
        return of_bits(_BITS[node.__class__], *self._two(node))

    def _inverted(self, node: exp.Expression) -> Term:
        _only(node, "this")
        return inverted(self.term(node.this))

    def _negative(self, node: exp.Expression) -> Term:
        _only(node, "this")
        value = self.term(node.this)
        if value.type == "void":
            return constant(None, "double")
        if not value.is_numeric:
            raise invalid(f"a minus sign needs a number, not a {value.type}")
        if isinstance(node.this, exp.Literal) and value.literal is not None:
            negative = -value.literal
            if value.is_decimal and negative == -_LONG:
                return constant(int(negative), "long")
            if value.type == "long" and negative == -(1 << 31):
                return constant(negative, "integer")
            return constant(negative, value.type)
        sql = f"CAST((- {value.sql}) AS {duckdb_type(value.type)})"
        return Term(sql, value.type, fallible=True)

    def _division(self, node: exp.Expression) -> Term:
        left, right = self._two(node, "typed", "safe")
        all_numeric((left, right), "/")
        if "decimal" in (common_type([left, right]) or ""):
            raise refused("division of decimals", "cast the operands to double")
        left, right = cast(left, "double"), cast(right, "double")
        return unless_zero(left, right, f"({left.sql} / {right.sql})", "double")

    def _whole_division(self, node: exp.Expression) -> Term:
        left, right = self._two(node)
        if not (left.is_integer and right.is_integer):
            raise refused("div of numbers that aren't whole", "cast them to bigint")
        left, right = left.as_type("long"), right.as_type("long")
        sql = f"CAST(({left.sql} // {right.sql}) AS BIGINT)"
        return unless_zero(left, right, sql, "long")

    def _remainder(self, node: exp.Expression) -> Term:
        left, right = self._two(node)
        all_numeric((left, right), "%")
        if "decimal" in (common_type([left, right]) or ""):
            raise refused("the remainder of decimals", "cast the operands to double")
        (left, right), type = aligned([left, right], "%")
        sql = f"CAST(({left.sql} % {right.sql}) AS {duckdb_type(type)})"
        return unless_zero(left, right, sql, type)

    # Texts

    def _joined(self, node: exp.Expression) -> Term:
        return functions.call("concat", list(self._two(node, "safe")))

    def _like(self, node: exp.Expression) -> Term:
        escape = "\\"
        if isinstance(node, exp.Escape):
            _only(node, "this", "expression")
            escape, node = node.expression.this, node.this
            if type(node) is not exp.Like or not isinstance(escape, str) or len(escape) != 1:
                raise invalid("ESCAPE needs one character in quotes")
        _only(node, "this", "expression", "negate")
        subject, pattern = self.term(node.this), self.term(node.expression)
        if subject.type != "string" or not isinstance(pattern.literal, str):
            raise refused("LIKE of other than a text and a constant pattern", "write the pattern")
        # DuckDB has no escape character of its own.
        pattern_sql = text(canonical(pattern.literal, escape))
        found = Term(f"({subject.sql} LIKE {pattern_sql} ESCAPE '\\')", "boolean", subject.fallible)
        return negated(found) if node.args.get("negate") else found

    # Conditions

    def _comparison(self, node: exp.Expression) -> Term:
        left, right = self._two(node)
        sign = _COMPARISONS[type(node)]
        (first, second), _ = aligned([left, right], sign)
        fallible = first.fallible or second.fallible
        return Term(f"({first.sql} {sign} {second.sql})", "boolean", fallible)

    def _and(self, node: exp.Expression) -> Term:
        _only(node, "this", "expression")
        return both(self.condition(node.this), self.condition(node.expression))

    def _or(self, node: exp.Expression) -> Term:
        _only(node, "this", "expression")
        left, right = self.condition(node.this), self.condition(node.expression)
        sql = f"({left.sql} OR {right.sql})"
        if right.fallible:
            # What the left side decides, the right side isn't asked for, as in Spark.
            sql = f"(CASE WHEN {left.sql} THEN TRUE ELSE {sql} END)"
        return Term(sql, "boolean", left.fallible or right.fallible)

    def _not(self, node: exp.Expression) -> Term:
        _only(node, "this")
        return negated(self.condition(node.this))

    def _is(self, node: exp.Expression) -> Term:
        _only(node, "this", "expression")
        if isinstance(node.expression, exp.Null):
            if isinstance(node.this, exp.Column | exp.Dot):
                return self.null_test(node.this)
            value = self.term(node.this)
            return Term(f"({value.sql} IS NULL)", "boolean", value.fallible)
        if not isinstance(node.expression, exp.Boolean):
            raise refused(_called(node), "docs/reading.md lists what is")
        value = self.condition(node.this)
        wanted = "TRUE" if node.expression.this else "FALSE"
        return Term(f"({value.sql} IS NOT DISTINCT FROM {wanted})", "boolean", value.fallible)

    def null_test(self, node: exp.Expression) -> Term:
        """IS NULL of a column of any type."""
        column = self._columns.find(tuple(_path(node)))
        self.inputs.setdefault(column.path, column)
        return Term(f"(c{list(self.inputs).index(column.path)} IS NULL)", "boolean")

    def _in(self, node: exp.Expression) -> Term:
        _only(node, "this", "expressions")
        terms, _ = aligned([self.term(n) for n in (node.this, *node.expressions)], "IN")
        listed = ", ".join(t.sql for t in terms[1:])
        return Term(f"({terms[0].sql} IN ({listed}))", "boolean", any(t.fallible for t in terms))

    def _between(self, node: exp.Expression) -> Term:
        _only(node, "this", "low", "high")
        value = self.term(node.this)
        (low, first), _ = aligned([self.term(node.args["low"]), value], "BETWEEN")
        (high, second), _ = aligned([self.term(node.args["high"]), value], "BETWEEN")
        fallible = value.fallible or low.fallible or high.fallible
        sql = f"({first.sql} >= {low.sql} AND {second.sql} <= {high.sql})"
        return Term(sql, "boolean", fallible)

    def _case(self, node: exp.Expression) -> Term:
        _only(node, "this", "ifs", "default")
        conditions, values = [], []
        for branch in node.args["ifs"]:
            _only(branch, "this", "true")
            if node.this is None:
                conditions.append(self.condition(branch.this))
            else:
                conditions.append(self._comparison(exp.EQ(this=node.this, expression=branch.this)))
            values.append(self.term(branch.args["true"]))
        default = node.args.get("default")
        values.append(constant(None, "void") if default is None else self.term(default))
        values, type = aligned(values, "CASE")
        whens = " ".join(
            f"WHEN {c.sql} THEN {v.sql}" for c, v in zip(conditions, values, strict=False)
        )
        fallible = any(t.fallible for t in (*conditions, *values))
        return Term(f"(CASE {whens} ELSE {values[-1].sql} END)", type, fallible)

    # Calls

    def _cast(self, node: exp.Expression) -> Term:
        _only(node, "this", "to", "_type")
        to = node.args["to"]
        if not isinstance(to, exp.DataType) or not isinstance(to.this, exp.DType):
            raise refused(_called(node), "docs/reading.md lists the types that are")
        _only(to, "this", "expressions", "nested")
        parameters = tuple(int(p.this.this) for p in to.expressions)
        value, type = self.term(node.this), type_of(to.this.name, parameters)
        if isinstance(value.literal, str) and type in ("timestamp", "timestamp_ntz", "date"):
            return aligned([value, constant(None, type)], "a cast")[0][0]
        if isinstance(node.this, exp.Literal) and value.literal is not None:
            return constant_cast(value, type)
        return cast(value, type)

    def _call(self, node: exp.Expression) -> Term:
        _only(node, "this", "expressions")
        if not isinstance(node.this, str):
            raise refused(_called(node), "docs/reading.md lists what is")
        name = node.this.lower()
        if name in _NAMES and self._now is not None and not node.expressions:
            return self._current(name)
        if name in ("mod",) and len(node.expressions) == 2:
            left, right = node.expressions
            return self._remainder(exp.Mod(this=left, expression=right))
        return functions.call(name, [self.term(a) for a in node.expressions])


_PARTS = ("this", "table", "db", "catalog")
_INPUTS = {
    *("byte", "short", "integer", "long", "float", "double"),
    *("string", "binary", "boolean", "date", "timestamp", "timestamp_ntz"),
}
_OTHERS: dict[type[exp.Expression], Callable[[Translator, exp.Expression], Term]] = {
    exp.Column: Translator._column,
    exp.Dot: Translator._column,
    exp.Literal: Translator._literal,
    exp.Null: Translator._null,
    exp.Boolean: Translator._boolean,
    exp.HexString: Translator._bytes,
    exp.Paren: Translator._paren,
    exp.Neg: Translator._negative,
    exp.Div: Translator._division,
    exp.IntDiv: Translator._whole_division,
    exp.Mod: Translator._remainder,
    **dict.fromkeys(_BITS, Translator._bits),
    exp.BitwiseNot: Translator._inverted,
    exp.DPipe: Translator._joined,
    exp.Like: Translator._like,
    exp.Escape: Translator._like,
    exp.And: Translator._and,
    exp.Or: Translator._or,
    exp.Not: Translator._not,
    exp.Is: Translator._is,
    exp.In: Translator._in,
    exp.Between: Translator._between,
    exp.Case: Translator._case,
    exp.Cast: Translator._cast,
    exp.Anonymous: Translator._call,
}


def _only(node: exp.Expression, *known: str) -> None:
    """Refuse a node that has more to say than what is looked at."""
    for name, value in node.args.items():
        if value not in (None, False, []) and name not in known:
            raise refused(f"{_called(node)} with {name}", "docs/reading.md lists what is")


def _called(node: exp.Expression) -> str:
    return f"{node.key.upper()} ({node.sql(dialect='databricks')})"


def _path(node: exp.Expression) -> Iterable[str]:
    if isinstance(node, exp.Identifier):
        yield node.this
    elif isinstance(node, exp.Dot):
        yield from _path(node.this)
        yield from _path(node.expression)
    elif isinstance(node, exp.Column):
        for part in reversed(_PARTS):
            if node.args.get(part) is not None:
                yield from _path(node.args[part])
    else:
        raise refused(_called(node), "name a column")
