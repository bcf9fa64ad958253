"""Which files and row groups a predicate rules out, and which columns it needs.

Predicates are `pyarrow.compute.Expression` over the table's own column names. They are opaque,
so nothing here takes them apart or renames them: Arrow itself decides whether a guarantee
("every row of this file has p = 3", "a lies in 10 … 19 or is null") contradicts a predicate, by
its dataset interface, on guarantees stated in the table's names and types. That is the same for
files with mapped names or narrower types as for plain ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.scan.types import PartitionValues

_FORMAT = ds.ParquetFileFormat()
_NOWHERE = pyarrow.fs.LocalFileSystem()


def check_predicate(predicate: pc.Expression, schema: pa.Schema) -> None:
    """INVALID_PREDICATE for an unknown column, unlike types compared, or what is no boolean."""
    try:
        schema.empty_table().filter(predicate)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_PREDICATE,
            f"the predicate {str(predicate)!r} does not fit the table: {error}; its columns are "
            f"{', '.join(schema.names)}",
        ) from error


def referenced_columns(predicate: pc.Expression, schema: pa.Schema) -> list[str]:
    """The columns, in the schema's order, without which the predicate can't be evaluated."""
    text = str(predicate)
    if "FieldPath(" in text:
        return list(schema.names)  # columns by position: take none away
    empty = schema.empty_table()
    needed = []
    for name in schema.names:
        if name in text:
            try:
                empty.drop_columns([name]).filter(predicate)
            except pa.ArrowException:
                needed.append(name)
    return needed


def surviving(
    guarantees: Sequence[pc.Expression | None], predicate: pc.Expression, schema: pa.Schema
) -> list[int]:
    """Indexes of the guarantees under which some row might satisfy the predicate.

    None stands for no guarantee. All of them where Arrow can't compare a guarantee with the
    predicate, as a great whole number with a column of floats. About 20 microseconds each.
    """
    fragments = [
        _FORMAT.make_fragment(str(index), _NOWHERE, partition_expression=guarantee)
        for index, guarantee in enumerate(guarantees)
    ]
    dataset = ds.FileSystemDataset(fragments, schema, _FORMAT, _NOWHERE)
    try:
        return sorted(int(fragment.path) for fragment in dataset.get_fragments(predicate))
    except pa.ArrowException:
        return list(range(len(guarantees)))


def partition_guarantee(values: PartitionValues) -> pc.Expression | None:
    """That every row has these values; Arrow also fills the columns of a dataset from it.

    None for no values. NaN is left out: it equals nothing, so no guarantee can state it.
    """
    guarantee: pc.Expression | None = None
    for name, value in values.items():
        if isinstance(value, DeltaLakeError):
            continue
        if not value.is_valid:
            term = pc.field(name).is_null()
        elif is_nan(value):
            continue
        else:
            term = pc.field(name) == value
        guarantee = term if guarantee is None else guarantee & term
    return guarantee


def partition_guarantees(values: PartitionValues, schema: pa.Schema) -> list[pc.Expression | None]:
    """Guarantees of which one holds.

    There are several where a value is none of its column's type: it is taken for null, and for the
    least and the greatest value. What is only equal to a certain value can do without the file;
    everything else has to meet its error.
    """
    wrong = [name for name, value in values.items() if isinstance(value, DeltaLakeError)]
    if not wrong:
        return [partition_guarantee(values)]
    ends = [_ends(schema.field(name).type) for name in wrong]
    return [
        partition_guarantee({**values, **dict(zip(wrong, choice, strict=True))})
        for choice in zip(*ends, strict=True)
    ]


def _ends(kind: pa.DataType) -> tuple[pa.Scalar, pa.Scalar, pa.Scalar]:
    """Null, the least value and the greatest one of a type; null thrice of one without order."""
    null, types = pa.scalar(None, kind), pa.types
    if types.is_decimal(kind):
        nines = Decimal((0, (9,) * kind.precision, -kind.scale))
        return null, pa.scalar(-nines, kind), pa.scalar(nines, kind)
    if types.is_floating(kind):
        return null, pa.scalar(-math.inf, kind), pa.scalar(math.inf, kind)
    if types.is_boolean(kind):
        return null, pa.scalar(False, kind), pa.scalar(True, kind)
    if not (types.is_integer(kind) or types.is_date(kind) or types.is_timestamp(kind)):
        return null, null, null
    most = (1 << (kind.bit_width - 1)) - 1
    number = {8: pa.int8(), 16: pa.int16(), 32: pa.int32()}.get(kind.bit_width, pa.int64())
    low, high = (pa.scalar(end, number).cast(kind) for end in (-most - 1, most))
    return null, low, high


def is_nan(value: pa.Scalar) -> bool:
    """Whether a scalar is NaN."""
    return bool(pa.types.is_floating(value.type) and value.is_valid and value != value)
