"""Texts without the passwords and keys in them."""

from __future__ import annotations

import re
from collections.abc import Callable

HIDDEN = "***"

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_PORTS = re.compile(r"\d*(?:,(?:\[[^\]]*\]|[^:,]*)(?::\d*)?)*")
"""What follows the first colon of `host:port`, or of `host:port,host:port`."""
_INNERMOST_SCHEME = re.compile(SCHEME.pattern + rf"(?!{SCHEME.pattern})")
_SECRET_NAME = (
    r"(?:[\w-]*(?:password|passwd|secret|token|signature|credential)"
    r"|(?:aws_)?secret_access_key|(?:aws_)?access_key_id|pwd|sig)"
)
_SECRET_PARAMETER = re.compile(
    rf"(?<![\w-])({_SECRET_NAME}(?:=|[\"']:\s*))(\"[^\"]*\"|'[^']*'|[^\s&#;,'\")}}]+)", re.I
)


def redact(text: str) -> str:
    """`text` with every password and key in it replaced by `***`.

    Finds the passwords of URLs (also nested ones, also with raw special characters, at the
    price of hiding more than the password then), and values after names like `password=`,
    `token=`, `secret_access_key=`.
    """
    return _SECRET_PARAMETER.sub(rf"\1{HIDDEN}", _redact_userinfo(text, _token_with_user))


def redact_url(url: str) -> str:
    """`redact` for a text that is one URL as a whole, whose password may hold spaces."""
    return _SECRET_PARAMETER.sub(rf"\1{HIDDEN}", _redact_userinfo(url, lambda rest: rest))


def _redact_userinfo(text: str, token_of: Callable[[str], str]) -> str:
    pieces: list[str] = []
    position = 0
    while (match := _INNERMOST_SCHEME.search(text, position)) is not None:
        start = match.end()
        token = token_of(text[start:])
        pieces.append(text[position:start])
        position = start
        end = userinfo_end(token)
        if end >= 0:
            user, colon, _ = token[:end].partition(":")
            bare_token = not colon and match.group(1).lower() in ("http", "https")
            pieces.append(HIDDEN if bare_token else user + (":" + HIDDEN if colon else ""))
            position = start + end
    pieces.append(text[position:])
    return "".join(pieces)


def _token_with_user(rest: str) -> str:
    """What follows `scheme://` up to white space; to the line's end when that is no port."""
    token = re.split(r"\s", rest, maxsplit=1)[0]
    if "@" not in token and re.fullmatch(r"[^/?:\[]*:[^/?]*[^/?\d][^/?]*", token):
        return rest.partition("\n")[0]
    return token


def userinfo_end(rest: str) -> int:
    """Index of the `@` that ends `user:password` in what follows `scheme://`, or -1."""
    authority = re.split(r"[/?]", rest, maxsplit=1)[0]
    if "@" in authority:
        end, last = authority.rindex("@"), rest.rfind("@")
        return (
            last if ":" in authority[:end] and _host_follows(rest[end:last], rest[last:]) else end
        )
    _, colon, port = authority.partition(":")
    if colon and port and not _PORTS.fullmatch(port) and not authority.startswith("["):
        # Not a port, so a password that holds a slash or a question mark.
        return rest.rfind("@")
    return -1


def _host_follows(between: str, behind: str) -> bool:
    """Whether an `@` behind a slash or question mark still ends a password, as in `p@s/s@host/x`.

    One in a query (`?name=a@b`) or in another URL does not.
    """
    if "://" in between or re.search(r"\?[\w-]+=", between):
        return False
    return re.match(r"@[^/?@]+/", behind) is not None
