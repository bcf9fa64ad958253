"""`pyarrow.compute.Expression` taken apart as far as it is understood.

An expression has no public structure. It pickles, though, as an Arrow IPC file: the calls, field
names and ends of calls are the schema's metadata in prefix order, literals and options its columns.
That is exact, where the printed form cuts long lists and quotes no names. What isn't understood
there (functions, casts, positions) becomes Unknown and prunes nothing.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.error import DeltaLakeError
from deltalakedb.log.schema import decimal_parameters
from deltalakedb.predicate.like import like
from deltalakedb.predicate.literal import coerce, comparison, float32, membership
from deltalakedb.predicate.names import Columns
from deltalakedb.predicate.tree import (
    FLOATS,
    NULL,
    Column,
    Expr,
    In,
    IsNotNull,
    IsNull,
    Literal,
    Not,
    Operator,
    StartsWith,
    Unknown,
    conjunction,
    disjunction,
)

_COMPARISONS: dict[str, tuple[Operator, Operator]] = {
    "equal": ("=", "="),
    "not_equal": ("!=", "!="),
    "less": ("<", ">"),
    "less_equal": ("<=", ">="),
    "greater": (">", "<"),
    "greater_equal": (">=", "<="),
}
"""The operator, and the one with the sides exchanged."""

_UNKNOWN = Unknown()
_EXACT_DIGITS = 15
"""Decimals of no more digits stay apart and in order when Arrow compares them as doubles."""

_EXACT_INTEGERS = 2**53


class _Field(NamedTuple):
    path: tuple[str, ...]


class _Call(NamedTuple):
    function: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]


def parse_arrow(expression: pc.Expression, columns: Columns) -> Expr:
    """An Unknown that holds the expression and what was understood of it.

    Raises INVALID_PREDICATE for a column that the table doesn't have.
    """
    try:
        node = _read(expression)
    except (pa.ArrowException, ValueError, StopIteration):
        return Unknown(source=expression)
    return Unknown(_condition(node, columns), expression)


def _read(expression: pc.Expression) -> Any:
    """The expression as _Call, _Field and pa.Scalar."""
    reader = pa.ipc.open_file(expression.__reduce__()[1][0])
    table = reader.read_all()
    entries = iter(_metadata(reader.schema))

    def value(index: str) -> pa.Scalar:
        return table.column(int(index))[0]

    def node(key: str, text: str) -> Any:
        if key == "literal":
            return value(text)
        if key == "field_ref":
            return _Field((text,))
        if key == "nested_field_ref":
            return _Field(tuple(next(entries)[1] for _ in range(int(text))))
        if key != "call":
            raise ValueError(key)
        arguments: list[Any] = []
        options: dict[str, Any] = {}
        for key, following in entries:
            if key == "end":
                return _Call(text, tuple(arguments), options)
            if key == "options":
                options = dict(value(following).items())
            else:
                arguments.append(node(key, following))
        raise ValueError(text)

    return node(*next(entries))


def _metadata(schema: pa.Schema) -> list[tuple[str, str]]:
    """All pairs in order: pyarrow's own accessor keeps one of those with equal keys.

    Read from the Arrow C data interface: the third pointer of ArrowSchema is the metadata, an
    int32 count and then for both of each pair an int32 length and the bytes.
    """
    capsule = schema.__arrow_c_schema__()
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype = ctypes.c_void_p
    get_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    address = get_pointer(capsule, b"arrow_schema")
    place = (ctypes.c_void_p * 3).from_address(address)[2]
    if place is None:
        return []

    def number() -> int:
        nonlocal place
        found = ctypes.c_int32.from_address(place).value
        place += 4
        return found

    def text() -> str:
        nonlocal place
        size = number()
        found = ctypes.string_at(place, size).decode()
        place += size
        return found

    return [(text(), text()) for _ in range(number())]


def _condition(node: Any, columns: Columns) -> Expr:
    if isinstance(node, pa.Scalar):
        if not node.is_valid:
            return NULL
        return Literal(node.as_py()) if pa.types.is_boolean(node.type) else _UNKNOWN
    if isinstance(node, _Field):
        column = columns.find(node.path)
        return comparison(column, "=", True) if column.type == "boolean" else _UNKNOWN
    if node.function in ("and_kleene", "and"):
        return conjunction(_condition(a, columns) for a in node.arguments)
    if node.function in ("or_kleene", "or"):
        return disjunction(_condition(a, columns) for a in node.arguments)
    if node.function == "invert":
        return Not(_condition(node.arguments[0], columns))
    if node.function in _COMPARISONS:
        return _comparison(node, columns)
    test = _TESTS.get(node.function)
    if test is None or not isinstance(node.arguments[0], _Field):
        _check_names(node, columns)
        return _UNKNOWN
    return test(columns.find(node.arguments[0].path), node.options)


def _check_names(node: Any, columns: Columns) -> None:
    if isinstance(node, _Field):
        columns.find(node.path)
    elif isinstance(node, _Call):
        for argument in node.arguments:
            _check_names(argument, columns)


def _comparison(call: _Call, columns: Columns) -> Expr:
    left, right = call.arguments
    op, mirrored = _COMPARISONS[call.function]
    if isinstance(left, pa.Scalar):
        left, right, op = right, left, mirrored
    if not (isinstance(left, _Field) and isinstance(right, pa.Scalar)):
        _check_names(call, columns)
        return _UNKNOWN
    column = columns.find(left.path)
    if not right.is_valid:
        return NULL
    if not _comparable(column, right):
        return _UNKNOWN
    try:
        return comparison(column, op, _python(right))
    except (DeltaLakeError, ValueError):
        # Arrow has rules of its own for unlike types; it will apply or refuse them.
        return _UNKNOWN


def _comparable(column: Column, scalar: pa.Scalar) -> bool:
    """Whether Arrow compares the column with the literal by their exact values."""
    type, decimal = scalar.type, decimal_parameters(column.type)
    if pa.types.is_floating(type) and decimal:
        return decimal[0] <= _EXACT_DIGITS
    if pa.types.is_floating(type) and column.type == "long":
        return bool(abs(scalar.as_py()) < _EXACT_INTEGERS)
    if pa.types.is_integer(type) and column.type == "float":
        return bool(float32(scalar.as_py()) == scalar.as_py())
    if pa.types.is_decimal(type) and column.type in FLOATS:
        return False
    if pa.types.is_string(type) or pa.types.is_large_string(type):
        return column.type in ("string", "binary")
    return True


def _python(scalar: pa.Scalar) -> Any:
    """The scalar's exact value; ValueError for a time between two microseconds."""
    if pa.types.is_timestamp(scalar.type) and scalar.type.unit == "ns":
        scalar = scalar.cast(pa.timestamp("us", scalar.type.tz))
    return scalar.as_py()


def _is_in(column: Column, options: dict[str, Any]) -> Expr:
    """is_in by its treatment of NULL: 0 match it, 1 skip it, 2 emit it, 3 SQL's."""
    behaviour = options["null_matching_behavior"].as_py()
    scalars = list(options["value_set"])
    members = [s for s in scalars if s.is_valid]
    has_null = len(members) < len(scalars)
    try:
        found = _members(column, members)
    except (DeltaLakeError, ValueError):
        return _UNKNOWN
    if behaviour == 0 and has_null:
        return disjunction([found, IsNull(column)])
    if behaviour in (0, 1):
        return conjunction([IsNotNull(column), found])
    return disjunction([found, NULL]) if behaviour == 3 and has_null else found


def _members(column: Column, scalars: list[pa.Scalar]) -> Expr:
    """Arrow casts the set to the column's type, so values that it can't hold are not ours."""
    if column.type == "float":
        scalars = [s.cast(pa.float32()) for s in scalars]
    values = [_python(s) for s in scalars]
    found = membership(column, values)
    inexact = [v for v in values if v == v and not coerce(v, column).exact]
    # It tells -0.0 from 0.0 too, which nothing else does.
    signed_zero = column.type in FLOATS and 0 in values
    if inexact or signed_zero or not all(_comparable(column, s) for s in scalars):
        raise ValueError(values)
    return found


def _is_null(column: Column, options: dict[str, Any]) -> Expr:
    nan = options["nan_is_null"].as_py() and column.type in FLOATS
    return _UNKNOWN if nan else IsNull(column)


def _starts_with(column: Column, options: dict[str, Any]) -> Expr:
    if options["ignore_case"].as_py() or column.type != "string":
        return _UNKNOWN
    return StartsWith(column, options["pattern"].as_py())


def _match_like(column: Column, options: dict[str, Any]) -> Expr:
    try:
        return like(
            column,
            options["pattern"].as_py(),
            ignore_case=options["ignore_case"].as_py(),
        )
    except DeltaLakeError:
        return _UNKNOWN


_TESTS: dict[str, Callable[[Column, dict[str, Any]], Expr]] = {
    "is_in": _is_in,
    "is_null": _is_null,
    "is_valid": lambda column, _: IsNotNull(column),
    "true_unless_null": lambda column, _: Not(In(column, ())),
    "starts_with": _starts_with,
    "match_like": _match_like,
}
