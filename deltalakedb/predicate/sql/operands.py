"""What a condition compares in SQL: constants and names, and the grammar of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from deltalakedb.error import DeltaLakeError
from deltalakedb.predicate.sql.tokens import Cursor, Token
from deltalakedb.predicate.sql.values import CONVERSIONS, TYPE_NAMES, converted, number_of
from deltalakedb.predicate.tree import Expr
from deltalakedb.record import record

_MAX_DEPTH = 50
_ARITHMETIC = frozenset({"+", "-", "*", "/", "%", "||", "|", "&", "^"})
_NAMES = ("word", "name", "double")
_RESERVED = frozenset(
    {"AND", "OR", "NOT", "IN", "IS", "LIKE", "ILIKE", "RLIKE", "REGEXP", "BETWEEN", "EXISTS"}
    | {"CASE", "SELECT", "ESCAPE", "DISTINCT"}
)
_TYPED = frozenset({"DATE", "TIMESTAMP", "TIMESTAMP_LTZ", "TIMESTAMP_NTZ"})
_WORDS = {"TRUE": True, "FALSE": False, "NULL": None}


@record(frozen=True)
class Constant:
    """A literal's Python value; None is NULL."""

    value: Any


@record(frozen=True)
class Name:
    """The path of a column; `text` is what it is as a value, when it stood in double quotes."""

    path: tuple[str, ...]
    text: str | None


Operand = Constant | Name


class Operands(Cursor):
    """The part of the parser that reads operands; `expression` reads what is in parentheses."""

    def __init__(self, sql: str) -> None:
        super().__init__(sql)
        self._depth = 0

    def expression(self) -> Expr | Operand:
        raise NotImplementedError

    @contextmanager
    def deeper(self) -> Iterator[None]:
        """One level of nesting; INVALID_PREDICATE beyond what a stack holds."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self.invalid(
                self.peek(), f"it is nested more than {_MAX_DEPTH} deep; write it flatter"
            )
        yield
        self._depth -= 1

    def operand(self) -> Expr | Operand:
        """An operand, or a condition in parentheses."""
        found = self._primary()
        while self.took("::"):
            found = self._cast(found, self.peek())
        token = self.peek()
        if token.keyword in _ARITHMETIC or token.keyword == "(":
            raise self.unsupported(token)
        return found

    def constant(self) -> Any:
        """The value of an operand that has to be a literal."""
        token = self.peek()
        operand = self.operand()
        if isinstance(operand, Constant):
            return operand.value
        if isinstance(operand, Name) and operand.text is not None:
            return operand.text
        raise self.invalid(token, "a plain value is expected here")

    def unsupported(self, token: Token) -> DeltaLakeError:
        """The error for a token that no rule of the grammar takes."""
        if token.keyword in _ARITHMETIC:
            why = "arithmetic is not supported; compare columns with plain values"
        elif token.keyword == "(":
            why = "functions of columns are not supported; compare columns with plain values"
        elif token.keyword in ("RLIKE", "REGEXP"):
            why = f"{token.keyword} is not supported; use LIKE"
        elif token.kind == "end":
            why = "a column or a value is expected here"
        else:
            why = f"{token.text!r} is not expected here"
        return self.invalid(token, why)

    def _primary(self) -> Expr | Operand:
        token = self.take()
        if token.keyword == "(":
            with self.deeper():
                found = self.expression()
            self.expect(")")
            return found
        if token.keyword in ("-", "+"):
            return self._signed(token)
        if token.kind == "number":
            return Constant(number_of(token.text))
        if token.kind == "string":
            text = token.text
            while self.peek().kind == "string":
                text += self.take().text
            return Constant(text)
        if token.kind == "hex":
            return self._convert(Constant(token.text), "hex", token)
        if token.kind == "word" and (value := self._word(token)) is not None:
            return value
        if token.kind in _NAMES:
            return self._path(token)
        raise self.unsupported(token)

    def _word(self, token: Token) -> Constant | None:
        """The constant that a word begins; None for one that is a name."""
        keyword, following = token.keyword, self.peek()
        if keyword in _WORDS:
            return Constant(_WORDS[keyword])
        if keyword in _TYPED and following.kind == "string":
            return self._convert(Constant(self.take().text), TYPE_NAMES[keyword], token)
        if following.keyword == "(" and keyword not in _RESERVED:
            return self._call(token)
        if keyword in _RESERVED:
            raise self.invalid(
                token, f"{keyword} is not expected here; write `{token.text}` if it is a column"
            )
        return None

    def _call(self, token: Token) -> Constant:
        casts = token.keyword in ("CAST", "TRY_CAST")
        if not casts and token.keyword not in CONVERSIONS:
            raise self.unsupported(self.peek())
        self.take()
        with self.deeper():
            value = self.operand()
        if casts:
            self.expect("AS")
            found = self._cast(value, token)
        else:
            found = self._convert(value, CONVERSIONS[token.keyword], token)
        self.expect(")")
        return found

    def _path(self, token: Token) -> Name:
        path = [token.text]
        while self.peek().keyword == "." and self.peek(1).kind in _NAMES:
            self.take()
            path.append(self.take().text)
        quoted = token.kind == "double" and len(path) == 1
        return Name(tuple(path), token.text if quoted else None)

    def _signed(self, sign: Token) -> Constant:
        with self.deeper():
            operand = self._primary()
        value = operand.value if isinstance(operand, Constant) else None
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise self.unsupported(sign)
        if sign.keyword == "+":
            return Constant(value)
        # A minus sign would round the Decimal to 28 digits.
        return Constant(value.copy_negate() if isinstance(value, Decimal) else -value)

    def _cast(self, found: Expr | Operand, token: Token) -> Constant:
        name = self.take()
        type = TYPE_NAMES.get(name.keyword)
        if type is None:
            raise self.invalid(name, f"the type {name.text!r} is not known")
        if self.took("("):
            parameters = [self.take().text]
            while self.took(","):
                parameters.append(self.take().text)
            self.expect(")")
            if type == "decimal":
                type = f"decimal({','.join(parameters)})"
        return self._convert(found, type, token)

    def _convert(self, found: Expr | Operand, type: str, token: Token) -> Constant:
        if isinstance(found, Constant):
            value = found.value
        elif isinstance(found, Name) and found.text is not None:
            value = found.text
        else:
            raise self.invalid(
                token, "only plain values can be cast; compare the column with its own type"
            )
        try:
            return Constant(converted(value, type))
        except ValueError as error:
            raise self.invalid(token, str(error)) from error
