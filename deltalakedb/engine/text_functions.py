"""Functions of texts that answer as Spark's do, besides the first ones in `engine.functions`."""

from __future__ import annotations

from deltalakedb.engine.arguments import Function, made, simple, typed
from deltalakedb.engine.casts import cast
from deltalakedb.engine.term import Term, constant, invalid, refused


def _concat_ws(name: str, arguments: list[Term]) -> Term:
    if not arguments:
        raise invalid("concat_ws takes a separator")
    texts = [cast(a, "string") if a.type != "string" else a for a in arguments]
    texts = texts if len(texts) > 1 else [*texts, constant(None, "string")]
    return made(f"concat_ws({', '.join(t.sql for t in texts)})", "string", texts)


def _pad(name: str, arguments: list[Term]) -> Term:
    given = arguments if len(arguments) != 2 else [*arguments, constant(" ", "string")]
    text, size, pad = typed(name, given, "string", "integer", "string")
    known = " AND ".join(f"{a.sql} IS NOT NULL" for a in (text, size, pad))
    sql = (
        f"CASE WHEN {known} THEN CASE WHEN {size.sql} <= 0 THEN '' "
        f"WHEN {pad.sql} = '' THEN left({text.sql}, {size.sql}) "
        f"ELSE {name}({text.sql}, {size.sql}, {pad.sql}) END END"
    )
    return made(sql, "string", given)


def _sha2(name: str, arguments: list[Term]) -> Term:
    value, bits = typed(name, arguments, "string", "integer")
    if bits.literal not in (0, 256):
        raise refused("sha2 of other than 256 bits", "write sha2(text, 256)")
    return made(f"sha256({value.sql})", "string", [value])


def _hex(name: str, arguments: list[Term]) -> Term:
    if len(arguments) != 1:
        raise invalid("hex takes one argument")
    [value] = arguments
    if value.type not in ("string", "binary") and not value.is_integer:
        raise refused(f"hex of a {value.type}", "cast it to bigint or binary")
    sql = f"CAST({value.sql} AS BIGINT)" if value.is_integer else value.sql
    return made(f"hex({sql})", "string", arguments)


def _bytes(factor: int) -> Function:
    def write(name: str, arguments: list[Term]) -> Term:
        if len(arguments) != 1 or arguments[0].type not in ("string", "binary"):
            raise invalid(f"{name} takes a text or bytes")
        [value] = arguments
        sql = f"strlen({value.sql})" if value.type == "string" else f"octet_length({value.sql})"
        return made(f"CAST({sql} * {factor} AS INTEGER)", "integer", arguments)

    return write


TEXTS: dict[str, Function] = {
    "concat_ws": _concat_ws,
    "repeat": simple("repeat({0}, greatest({1}, 0))", "string", "string", "integer"),
    **dict.fromkeys(("lpad", "rpad"), _pad),
    "translate": simple("translate({0}, {1}, {2})", "string", "string", "string", "string"),
    **dict.fromkeys(("sha", "sha1"), simple("sha1({0})", "string", "string")),
    "sha2": _sha2,
    "hex": _hex,
    "octet_length": _bytes(1),
    "bit_length": _bytes(8),
}
