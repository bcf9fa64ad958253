"""Where rows go: the partition of each row, and the names of files.

PROTOCOL.md, "Data Files", "Partition Values" and "Partition Value Serialization". Directories are
Hive's, as delta-rs makes them; `partitionValues` counts, but Polars believes the directories.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.partition import partition_value_text
from deltalakedb.log.schema import StructType

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_ESCAPED = re.compile("[\x00-\x1f\x7f\"#%'*/:=?\\\\{\\[\\]^]")
_LONGEST_NAME = 255
"""Bytes of a directory's name in the usual file systems."""

Values = tuple[str | None, ...]
"""Texts of a partition's values, in the table's order of partition columns."""


def partition_directory(names: Sequence[str], values: Values) -> str:
    """`a=1/b=x/`, with the slash; "" for a table without partitions.

    A value too long for a file system's names is shown by its hash: the log has the value. So is
    the text that stands for null, for readers that believe the directory.
    """
    parts = []
    for name, value in zip(names, values, strict=True):
        column = _hive_escaped(name)
        part = f"{column}={HIVE_NULL if value is None else _encoded(value)}"
        if value is not None and len(part.encode()) > _LONGEST_NAME:
            part = f"{column}={_hive_escaped(value)}"
        if len(part.encode()) > _LONGEST_NAME or value == HIVE_NULL:
            part = f"{_digest(name)}={_digest(value or HIVE_NULL)}"
        parts.append(part + "/")
    return "".join(parts)


def _encoded(text: str) -> str:
    """A value as delta-rs has it in directories: all but letters, digits and `-._~` of ASCII.

    Spark leaves blanks and letters of other scripts as they are; Polars doesn't find those on S3.
    """
    return quote(text, safe="")


def _hive_escaped(text: str) -> str:
    """A name as Hive's directories have it: what a path can't hold becomes %XX."""
    return _ESCAPED.sub(lambda found: f"%{ord(found[0]):02X}", text)


def _digest(text: str) -> str:
    return xxhash.xxh3_128_hexdigest(text.encode())


def file_name(write_id: str, task: int, number: int, codec: str, kind: str = "part") -> str:
    """The name of a data file. It holds the write's id: who undoes the write finds it by that."""
    suffix = "" if codec == "none" else f".{codec}"
    return f"{kind}-{task:05d}-{write_id}-c{number:03d}{suffix}.parquet"


@dataclass(frozen=True)
class Partitioning:
    """How a table's rows are told apart: partition columns by logical and physical name.

    `required`: those of them that are not nullable.
    """

    columns: tuple[str, ...]
    physical: tuple[str, ...]
    required: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, schema: StructType, partition_columns: Sequence[str], *, mapped: bool
    ) -> Partitioning:
        """INVALID_ARGUMENT for a partition column that the table hasn't."""
        physical = []
        required = set()
        for name in partition_columns:
            field = next((f for f in schema.fields if f.name == name), None)
            if field is None:
                raise DeltaLakeError(
                    DeltaLakeErrorKind.INVALID_ARGUMENT,
                    f"partition column {name!r} is no column of the table; choose one of "
                    f"{', '.join(f.name for f in schema.fields)}",
                    column=name,
                )
            physical.append(field.physical_name if mapped else name)
            if not field.nullable:
                required.add(name)
        return cls(tuple(partition_columns), tuple(physical), frozenset(required))

    def directory(self, values: Values) -> str:
        return partition_directory(self.physical, values)

    def partition_values(self, values: Values) -> dict[str, str | None]:
        """As `add.partitionValues` has them."""
        return dict(zip(self.physical, values, strict=True))

    def split(self, batch: pa.RecordBatch) -> Iterator[tuple[Values, pa.RecordBatch]]:
        """The rows of each partition, in their order, without the partition columns."""
        if not batch.num_rows:
            return
        if not self.columns:
            yield (), batch
            return
        codes = np.zeros(batch.num_rows, dtype=np.int64)
        texts: list[list[str | None]] = []
        for name in self.columns:
            found, index = _texts(batch.column(name), name)
            texts.append(found)
            codes = codes * len(found) + index
            # Numbers stay small, however many columns there are.
            if len(texts) > 1:
                _, codes = np.unique(codes, return_inverse=True)
        rest = batch.drop_columns(list(self.columns))
        order = np.argsort(codes, kind="stable")
        arranged = codes[order]
        starts = np.flatnonzero(np.r_[True, arranged[1:] != arranged[:-1]])
        if len(starts) == 1:
            yield self._values(batch, 0), rest
            return
        for start, end in zip(starts, np.r_[starts[1:], len(order)], strict=True):
            # A copy of its own: rows that wait don't keep those of other partitions in memory.
            yield self._values(batch, int(order[start])), rest.take(pa.array(order[start:end]))

    def _values(self, batch: pa.RecordBatch, row: int) -> Values:
        found = tuple(_text(batch.column(name)[row], name) for name in self.columns)
        for name, value in zip(self.columns, found, strict=True):
            if value is None and name in self.required:
                raise DeltaLakeError(
                    DeltaLakeErrorKind.CONSTRAINT_VIOLATION,
                    f"partition column {name!r} may not be null, and an empty text is null there "
                    "(PROTOCOL.md, Partition Value Serialization); give it another value",
                    constraint=name,
                )
        return found


def _texts(column: pa.Array, name: str) -> tuple[list[str | None], npt.NDArray[np.int64]]:
    """Distinct texts of a column, and which of them each row has."""
    encoded = column.dictionary_encode("encode")
    places: dict[str | None, int] = {}
    values = [_text(value, name) for value in encoded.dictionary]
    number = [places.setdefault(text, len(places)) for text in values]
    index = encoded.indices.to_numpy(zero_copy_only=False)
    return list(places), np.asarray(number, dtype=np.int64)[index]


def _text(value: pa.Scalar, name: str) -> str | None:
    try:
        return partition_value_text(value.as_py())
    except (ValueError, OverflowError) as error:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"a value of partition column {name!r} can't be written as text: {error}; partition "
            "by another column, or change the value",
            column=name,
        ) from error
