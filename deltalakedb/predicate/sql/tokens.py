"""The words, names, literals and signs of a WHERE expression, in the lexical rules of Spark SQL."""

from __future__ import annotations

import re
from typing import NamedTuple

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

_TOKEN = re.compile(
    r"""
    (?P<space>  \s+ | --[^\n]* | /\*.*?\*/ )
  | (?P<raw>    [rR](?:'[^']*'|"[^"]*") )
  | (?P<hex>    [xX]'[^']*' )
  | (?P<string> '(?:[^'\\]|\\.|'')*' )
  | (?P<double> "(?:[^"\\]|\\.|"")*" )
  | (?P<quoted> `(?:[^`]|``)+` )
  | (?P<number> (?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?
                (?:[bB][dD]|[lLsSyYdDfF])?(?!\w) )
  | (?P<word>   [^\W\d]\w* )
  | (?P<sign>   <=> | <> | != | == | <= | >= | :: | \|\| | && | [-=<>!(),.+*/%|&^~\[\]:?@\#{};] )
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = {
    quote: re.compile(rf"\\u([0-9A-Fa-f]{{4}})|\\([0-3][0-7]{{2}})|\\(.)|{quote}{quote}", re.DOTALL)
    for quote in "'\""
}
_ESCAPED = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a"}
# LIKE still has to see the backslash before its wildcards.
_ESCAPED |= {"%": r"\%", "_": r"\_"}


class Token(NamedTuple):
    """`kind` is word, name, string, double, hex, number, sign or end; `text` is without quotes."""

    kind: str
    text: str
    position: int

    @property
    def keyword(self) -> str:
        """The word in capitals, or the sign; empty for names and literals."""
        if self.kind == "word":
            return self.text.upper()
        return self.text if self.kind == "sign" else ""


def tokens_of(sql: str) -> list[Token]:
    """The tokens, with one of kind `end` last; INVALID_PREDICATE where none begins."""
    out: list[Token] = []
    position = 0
    while position < len(sql):
        found = _TOKEN.match(sql, position)
        if found is None:
            raise _no_token(sql, position)
        kind, text = found.lastgroup or "", found[0]
        if kind != "space":
            out.append(_token(kind, text, position))
        position = found.end()
    out.append(Token("end", "", len(sql)))
    return out


def _token(kind: str, text: str, position: int) -> Token:
    if kind == "string":
        return Token(kind, unescape(text[1:-1], "'"), position)
    if kind == "double":
        return Token(kind, unescape(text[1:-1], '"'), position)
    if kind == "raw":
        return Token("string", text[2:-1], position)
    if kind == "hex":
        return Token(kind, text[2:-1], position)
    if kind == "quoted":
        return Token("name", text[1:-1].replace("``", "`"), position)
    return Token(kind, text, position)


def unescape(text: str, quote: str = "'") -> str:
    """What a text between quotes says: escapes as in Spark, `quote` doubled is one."""
    if "\\" not in text and quote not in text:
        return text
    plain = _ESCAPE[quote].sub(_unescaped, text)
    # Escapes of four digits write characters beyond them as a pair.
    return plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _unescaped(found: re.Match[str]) -> str:
    if found[1]:
        return chr(int(found[1], 16))
    if found[2]:
        return chr(int(found[2], 8))
    if found[3]:
        return _ESCAPED.get(found[3], found[3])
    return found[0][0]


def _no_token(sql: str, position: int) -> DeltaLakeError:
    sign = sql[position]
    if sign in "'\"`":
        return invalid(sql, position, f"the text that begins with {sign} has no end; close it")
    return invalid(sql, position, f"{sign!r} is not understood")


def invalid(sql: str, position: int, why: str) -> DeltaLakeError:
    """INVALID_PREDICATE that shows the place."""
    before, after = sql[max(0, position - 30) : position], sql[position : position + 30]
    place = f"at {after!r}" if after else "at its end"
    if before and after:
        place += f" after {before!r}"
    return DeltaLakeError(
        DeltaLakeErrorKind.INVALID_PREDICATE,
        f"the predicate is not valid {place}: {why}",
        predicate=sql,
        position=position,
    )


class Cursor:
    """The tokens of an expression, taken one after another."""

    def __init__(self, sql: str) -> None:
        self._sql = sql
        self._tokens = tokens_of(sql)
        self._next = 0

    def peek(self, ahead: int = 0) -> Token:
        return self._tokens[min(self._next + ahead, len(self._tokens) - 1)]

    def take(self) -> Token:
        token = self.peek()
        self._next += 1
        return token

    def took(self, *keywords: str) -> bool:
        """Take the words or signs when they come next."""
        if all(self.peek(i).keyword == word for i, word in enumerate(keywords)):
            self._next += len(keywords)
            return True
        return False

    def expect(self, keyword: str) -> None:
        if not self.took(keyword):
            raise self.invalid(self.peek(), f"{keyword} is expected here")

    def invalid(self, token: Token, why: str) -> DeltaLakeError:
        return invalid(self._sql, token.position, why)
