"""WHERE expressions of Spark SQL, parsed by recursive descent.

    expression := conjunct (OR conjunct)*
    conjunct   := negation (AND negation)*
    negation   := (NOT | !) negation | test
    test       := operand [comparator operand | [NOT] IN (literal, ...) | [NOT] BETWEEN a AND b
                  | [NOT] (LIKE | ILIKE) 'pattern' [ESCAPE 'c'] | IS [NOT] (NULL | TRUE | FALSE)
                  | IS [NOT] DISTINCT FROM operand]
    operand    := ( expression ) | literal | column | CAST(literal AS type) | literal::type

A column is a name or a path, in backticks, double quotes or none. Double quotes hold a column on
the left of a comparison or opposite a literal, and text where only a value can stand.
No general SQL parser is used: importing one takes longer than a plan does.
"""

from __future__ import annotations

from collections.abc import Callable

from deltalakedb.predicate.like import like
from deltalakedb.predicate.literal import comparison, membership
from deltalakedb.predicate.names import Columns
from deltalakedb.predicate.sql.comparison import compare, not_distinct
from deltalakedb.predicate.sql.operands import Constant, Name, Operand, Operands
from deltalakedb.predicate.sql.tokens import Token
from deltalakedb.predicate.tree import (
    NULL,
    Column,
    Comparison,
    Expr,
    IsNotNull,
    IsNull,
    Literal,
    Not,
    Operator,
    conjunction,
    disjunction,
)

_COMPARATORS: dict[str, Operator] = {
    "=": "=",
    "==": "=",
    "!=": "!=",
    "<>": "!=",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
}
_MEMBERSHIP = ("IN", "BETWEEN", "LIKE", "ILIKE")
_TRUTHS = {"NULL": None, "TRUE": True, "FALSE": False}


def parse_sql(sql: str, columns: Columns) -> Expr:
    """The predicate of a WHERE expression; INVALID_PREDICATE that shows where it isn't one."""
    return _Parser(sql, columns).parse()


class _Parser(Operands):
    def __init__(self, sql: str, columns: Columns) -> None:
        super().__init__(sql)
        self._columns = columns

    def parse(self) -> Expr:
        self.took("WHERE")
        found = self._condition(self.expression())
        self.took(";")
        token = self.peek()
        if token.kind != "end":
            raise self.unsupported(token)
        return found

    # Logic

    def expression(self) -> Expr | Operand:
        return self._chain("OR", self._conjunct, disjunction)

    def _conjunct(self) -> Expr | Operand:
        return self._chain("AND", self._negation, conjunction)

    def _chain(
        self,
        keyword: str,
        part: Callable[[], Expr | Operand],
        join: Callable[[list[Expr]], Expr],
    ) -> Expr | Operand:
        first = part()
        if self.peek().keyword != keyword:
            return first
        parts = [self._condition(first)]
        while self.took(keyword):
            parts.append(self._condition(part()))
        return join(parts)

    def _negation(self) -> Expr | Operand:
        if not (self.took("NOT") or self.took("!")):
            return self._test()
        with self.deeper():
            child = self._condition(self._negation())
        if isinstance(child, Literal):
            return NULL if child.value is None else Literal(not child.value)
        return Not(child)

    def _condition(self, found: Expr | Operand) -> Expr:
        """What stands where a condition is needed: a boolean column or constant is one."""
        if isinstance(found, Constant):
            if found.value is None or isinstance(found.value, bool):
                return Literal(found.value)
            raise self.invalid(
                self.peek(), f"{found.value!r} is a value, not a condition; compare a column to it"
            )
        if isinstance(found, Name):
            return comparison(self._boolean(found), "=", True)
        return found

    def _boolean(self, name: Name) -> Column:
        column = self._columns.find(name.path)
        if column.type != "boolean":
            if self.peek().keyword not in ("AND", "OR", ")", "IS") and self.peek().kind != "end":
                raise self.unsupported(self.peek())
            raise self.invalid(
                self.peek(),
                f"column {column} of type {column.type} is no condition; compare it with a value",
            )
        return column

    # Tests

    def _test(self) -> Expr | Operand:
        left, token = self.operand(), self.peek()
        keyword = token.keyword
        if keyword in _COMPARATORS or keyword == "<=>":
            self.take()
            first, second = self._value(left, token), self._value(self.operand(), token)
            if keyword == "<=>":
                return not_distinct(first, second, self._columns)
            return compare(first, _COMPARATORS[keyword], second, self._columns)
        if keyword == "IS":
            self.take()
            return self._is(self._value(left, token), token)
        negated = keyword == "NOT" and self.peek(1).keyword in _MEMBERSHIP
        if keyword not in _MEMBERSHIP and not negated:
            return left
        if negated:
            self.take()
        found = self._member(self._value(left, token), self.take())
        return Not(found) if negated else found

    def _member(self, subject: Operand, token: Token) -> Expr:
        if token.keyword == "BETWEEN":
            return self._between(subject, token)
        if not isinstance(subject, Name):
            raise self.invalid(token, f"a column is expected before {token.keyword}")
        column = self._columns.find(subject.path)
        if token.keyword == "IN":
            return self._in(column)
        return self._like(column, token)

    def _value(self, found: Expr | Operand, token: Token) -> Operand:
        if not isinstance(found, Constant | Name):
            raise self.invalid(
                token, "a condition can't be compared; join conditions by AND, OR and NOT"
            )
        return found

    def _is(self, operand: Operand, token: Token) -> Expr:
        negated = self.took("NOT")
        if self.took("DISTINCT", "FROM"):
            same = not_distinct(operand, self._value(self.operand(), token), self._columns)
            return same if negated else Not(same)
        wanted = self.take()
        if wanted.keyword not in _TRUTHS:
            raise self.invalid(wanted, "NULL, TRUE, FALSE or DISTINCT FROM is expected after IS")
        truth = _TRUTHS[wanted.keyword]
        if isinstance(operand, Constant):
            return Literal((operand.value is truth) != negated)
        if truth is None:
            column = self._columns.find(operand.path)
            return IsNotNull(column) if negated else IsNull(column)
        boolean = self._boolean(operand)
        same = conjunction([IsNotNull(boolean), Comparison(boolean, "=", truth)])
        return Not(same) if negated else same

    def _in(self, column: Column) -> Expr:
        self.expect("(")
        values = [self.constant()]
        while self.took(","):
            values.append(self.constant())
        self.expect(")")
        found = membership(column, [v for v in values if v is not None])
        # x IN (1, NULL) is never FALSE: the NULL might have been x.
        return disjunction([found, NULL]) if None in values else found

    def _between(self, subject: Operand, token: Token) -> Expr:
        low = self._value(self.operand(), token)
        self.expect("AND")
        high = self._value(self.operand(), token)
        return conjunction(
            [
                compare(subject, ">=", low, self._columns),
                compare(subject, "<=", high, self._columns),
            ]
        )

    def _like(self, column: Column, token: Token) -> Expr:
        pattern = self.constant()
        escape = self.constant() if self.took("ESCAPE") else "\\"
        if pattern is None:
            return NULL
        if not isinstance(pattern, str):
            raise self.invalid(token, "LIKE needs a pattern in single quotes")
        if not isinstance(escape, str) or len(escape) != 1:
            raise self.invalid(token, "ESCAPE needs one character in quotes")
        return like(column, pattern, escape=escape, ignore_case=token.keyword == "ILIKE")
