"""Statistics text of checkpoints that hold them as structs only (`stats_parsed`).

PROTOCOL.md, "Per-file Statistics" and "Checkpoint Schema". The text is built column by column, so
its cost is that of a few Arrow kernels per statistic.
"""

from __future__ import annotations

import orjson
import pyarrow as pa
import pyarrow.compute as pc

_CONTROL = r"[\x00-\x1f]"


def stats_json_from_parsed(parsed: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The JSON text that a writer would have put into `stats`, one string a row.

    `parsed` is a struct array of numRecords, minValues, maxValues, nullCount, tightBounds, whatever
    of them there is. Dates are yyyy-MM-dd, timestamps ISO 8601 with three digits (six when they
    have microseconds) and Z when they are instants, decimals numbers, NaN and infinities strings.
    Binary, variant and nested values have no text and are left out, like nulls and objects without
    members; a row without any statistic is null.
    """
    if isinstance(parsed, pa.ChunkedArray):
        parsed = parsed.combine_chunks()
    if not parsed.null_count:
        return _object_text(parsed)
    # Without null parents most members have no nulls either, which is the quick way below.
    present = parsed.is_valid()
    text = _object_text(parsed.filter(present))
    row = pc.subtract(pc.cumulative_sum(present.cast(pa.int64())), 1)
    return text.take(pc.if_else(present, row, pa.scalar(None, pa.int64())))


def _object_text(array: pa.Array) -> pa.Array:
    """`{"a":1,…}` of the non-null members, null where there is none."""
    pieces: list[str | pa.Array] = []
    comma = ""
    for index, child in enumerate(array.type):
        text = _value_text(pc.struct_field(array, indices=[index]))
        if text is None or text.null_count == len(text):
            continue
        prefix = orjson.dumps(child.name).decode() + ":"
        if text.null_count:
            # Each brings its comma: null_handling="skip" loses rows in some Arrow versions.
            member = pc.binary_join_element_wise(comma + prefix, text, ",", "")
            pieces.append(pc.coalesce(member, comma))
            comma = ""
        else:
            pieces += [comma + prefix, text]
            comma = ","
    if not pieces:
        return pa.nulls(len(array), pa.string())
    if comma:
        return pc.binary_join_element_wise("{", *pieces, "}", "")
    joined = pc.utf8_slice_codeunits(pc.binary_join_element_wise(*pieces, ""), 0, -1)
    whole = pc.binary_join_element_wise("{", joined, "}", "")
    return pc.if_else(pc.equal(pc.binary_length(joined), 0), pa.scalar(None, pa.string()), whole)


def _value_text(array: pa.Array) -> pa.Array | None:
    """JSON text of each value; None for types that have none in statistics."""
    type = array.type
    if pa.types.is_struct(type):
        return None if _is_variant(type) else _object_text(array)
    if pa.types.is_integer(type) or pa.types.is_boolean(type) or pa.types.is_decimal(type):
        return array.cast(pa.string())
    if pa.types.is_floating(type):
        return _floating_text(array)
    if pa.types.is_date(type):
        return _quoted(array.cast(pa.date32()).cast(pa.string()))
    if pa.types.is_timestamp(type):
        return _timestamp_text(array)
    if pa.types.is_string(type) or pa.types.is_large_string(type) or pa.types.is_string_view(type):
        return _string_text(array.cast(pa.string()))
    if pa.types.is_dictionary(type):
        return _value_text(array.dictionary_decode())
    return None


def _is_variant(type: pa.StructType) -> bool:
    names = {child.name for child in type}
    return {"metadata", "value"} <= names and pa.types.is_binary(type.field("metadata").type)


def _floating_text(array: pa.Array) -> pa.Array:
    if pa.types.is_float16(array.type):
        array = array.cast(pa.float32())
    text = array.cast(pa.string())
    special = pc.invert(pc.is_finite(array))
    if not pc.any(special).as_py():
        return text
    names = pc.if_else(pc.is_nan(array), "NaN", pc.if_else(pc.greater(array, 0), "Inf", "-Inf"))
    return pc.if_else(special, _quoted(pc.replace_substring(names, "Inf", "Infinity")), text)


def _timestamp_text(array: pa.Array) -> pa.Array:
    # Nanoseconds without a zone come from INT96, which Delta uses for instants.
    zone = "Z" if array.type.tz is not None or array.type.unit == "ns" else ""
    local = array.cast(pa.timestamp(array.type.unit)).cast(pa.timestamp("us"), safe=False)
    coarse = local.cast(pa.timestamp("ms"), safe=False)
    if pc.all(pc.equal(coarse.cast(pa.timestamp("us")), local), min_count=0).as_py():
        local = coarse
    return _quoted(
        pc.replace_substring(local.cast(pa.string()), " ", "T", max_replacements=1), zone
    )


def _string_text(array: pa.Array) -> pa.Array:
    if pc.any(pc.match_substring_regex(array, _CONTROL)).as_py():
        return pa.array(
            [None if v is None else orjson.dumps(v).decode() for v in array.to_pylist()],
            pa.string(),
        )
    for character in ("\\", '"'):
        array = pc.replace_substring(array, character, "\\" + character)
    return _quoted(array)


def _quoted(text: pa.Array, suffix: str = "") -> pa.Array:
    return pc.binary_join_element_wise('"', text, suffix + '"', "")
