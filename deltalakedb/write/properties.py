"""How Parquet files are written: delta-rs's names, pyarrow's writer."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

Compression = Literal[
    "UNCOMPRESSED", "SNAPPY", "GZIP", "BROTLI", "LZ4", "ZSTD", "LZ4_RAW"
]  # fmt: skip
_CODECS = {
    "UNCOMPRESSED": "none",
    "SNAPPY": "snappy",
    "GZIP": "gzip",
    "BROTLI": "brotli",
    "LZ4": "lz4",
    "LZ4_RAW": "lz4",
    "ZSTD": "zstd",
}
COMPRESSION_CODEC = "delta.parquet.compression.codec"
_BY_SPARK = {"none": "UNCOMPRESSED", "lz4raw": "LZ4_RAW"}
DEFAULT_ROW_GROUP_ROWS = 1_048_576


@dataclass(frozen=True)
class BloomFilterProperties:
    """A Bloom filter of a column; `ndv` is the number of distinct values."""

    set_bloom_filter_enabled: bool | None
    fpp: float | None = None
    ndv: int | None = None


@dataclass(frozen=True)
class ColumnProperties:
    """How a column is written. An encoding counts where there is no dictionary."""

    dictionary_enabled: bool | None = None
    statistics_enabled: Literal["NONE", "CHUNK", "PAGE"] | None = None
    bloom_filter_properties: BloomFilterProperties | None = None
    encoding: str | None = None


@dataclass(frozen=True)
class WriterProperties:
    """delta-rs's WriterProperties, for pyarrow's Parquet writer.

    Sizes are bytes, limits rows. Columns of `column_properties` are logical names, dotted inside
    structs. Options that pyarrow's writer hasn't are refused rather than ignored, when a file is
    to be written: UNSUPPORTED_FEATURE naming the option.
    """

    data_page_size_limit: int | None = None
    dictionary_page_size_limit: int | None = None
    data_page_row_count_limit: int | None = None
    write_batch_size: int | None = None
    max_row_group_size: int | None = None
    compression: Compression | str | None = None
    compression_level: int | None = None
    statistics_truncate_length: int | None = None
    default_column_properties: ColumnProperties | None = None
    column_properties: Mapping[str, ColumnProperties] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Any) -> WriterProperties:
        """From properties of this class or delta-rs's, or None for the defaults."""
        if given is None:
            return DEFAULT_PROPERTIES
        if isinstance(given, cls):
            return given
        names = [f for f in cls.__dataclass_fields__ if f != "compression_level"]
        try:
            found = {name: getattr(given, name) for name in names}
        except AttributeError as error:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"writer properties can't be a {type(given).__name__}; give WriterProperties",
            ) from error
        # delta-rs keeps codec and level in one text: "ZSTD(3)".
        codec, _, level = (found["compression"] or "").partition("(")
        found["compression"] = codec or None
        found["column_properties"] = found["column_properties"] or {}
        digits = level.rstrip(")").strip()
        return cls(**found, compression_level=int(digits) if digits.isdigit() else None)

    @property
    def codec(self) -> str:
        """pyarrow's name of the compression; snappy by default, as delta-rs."""
        if self.compression is None:
            return "snappy"
        found = _CODECS.get(self.compression.upper())
        if found is None:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"unknown compression {self.compression!r}; use one of {', '.join(_CODECS)}",
            )
        return found

    def of_table(self, configuration: Mapping[str, str]) -> WriterProperties:
        """These, with the compression of a table's property where they name none.

        The property takes Spark's names, of which `none` is `UNCOMPRESSED`.
        """
        codec = configuration.get(COMPRESSION_CODEC)
        if codec is None or self.compression is not None:
            return self
        return replace(self, compression=_BY_SPARK.get(codec.lower(), codec))

    @property
    def row_group_rows(self) -> int:
        return self.max_row_group_size or DEFAULT_ROW_GROUP_ROWS

    def arguments(self, schema: pa.Schema, physical: Mapping[str, str]) -> dict[str, Any]:
        """Arguments of `pyarrow.parquet.ParquetWriter` for files of this schema.

        `physical`: dotted logical name -> dotted physical name of each column.
        """
        leaves = list(leaf_paths(schema))
        by_leaf = {leaf: self._of_leaf(leaf, physical) for leaf in leaves}
        page = any(p.statistics_enabled == "PAGE" for p in by_leaf.values())
        found: dict[str, Any] = {
            "compression": self.codec,
            "compression_level": self.compression_level,
            "data_page_size": self.data_page_size_limit,
            "dictionary_pagesize_limit": self.dictionary_page_size_limit,
            "max_rows_per_page": self.data_page_row_count_limit,
            "write_batch_size": self.write_batch_size,
            "write_page_index": page or None,
            "bloom_filter_options": _bloom_filters(by_leaf),
        }
        found = {key: value for key, value in found.items() if value is not None}
        if self.statistics_truncate_length is not None:
            raise _unsupported("statistics_truncate_length")
        if any(p.statistics_enabled == "NONE" for p in by_leaf.values()):
            found["write_statistics"] = [
                leaf for leaf, p in by_leaf.items() if p.statistics_enabled != "NONE"
            ] or False
        plain = {
            leaf
            for leaf, p in by_leaf.items()
            if p.dictionary_enabled is False or p.encoding is not None
        }
        if plain:
            found["use_dictionary"] = [leaf for leaf in leaves if leaf not in plain] or False
        encodings = {leaf: p.encoding for leaf, p in by_leaf.items() if p.encoding is not None}
        if encodings:
            found["column_encoding"] = encodings
        for name in ("max_rows_per_page", "bloom_filter_options"):
            if name in found and name not in _KNOWN:
                raise _unsupported(
                    "data_page_row_count_limit"
                    if name == "max_rows_per_page"
                    else "bloom_filter_properties"
                )
        return found

    def _of_leaf(self, leaf: str, physical: Mapping[str, str]) -> ColumnProperties:
        default = self.default_column_properties or ColumnProperties()
        for name, given in self.column_properties.items():
            path = physical.get(name, name)
            if leaf == path or leaf.startswith(path + "."):
                return ColumnProperties(
                    *(
                        getattr(given, f) if getattr(given, f) is not None else getattr(default, f)
                        for f in ColumnProperties.__dataclass_fields__
                    )
                )
        return default


def is_codec(text: str) -> bool:
    """Whether the property `delta.parquet.compression.codec` may say so here."""
    return _BY_SPARK.get(text.lower(), text).upper() in _CODECS


DEFAULT_PROPERTIES = WriterProperties()
"""Those of a write that says nothing of them."""
_KNOWN = inspect.signature(pq.ParquetWriter.__init__).parameters


def _bloom_filters(leaves: Mapping[str, ColumnProperties]) -> dict[str, Any] | None:
    found = {}
    for leaf, properties in leaves.items():
        bloom = properties.bloom_filter_properties
        if bloom is not None and (bloom.set_bloom_filter_enabled or bloom.fpp or bloom.ndv):
            found[leaf] = {
                key: value for key, value in (("fpp", bloom.fpp), ("ndv", bloom.ndv)) if value
            }
    return found or None


def leaf_paths(schema: pa.Schema) -> Iterator[str]:
    """Parquet's names of the columns, as pyarrow takes them."""
    for child in schema:
        yield from _inside(child.type, child.name)


def _inside(type: pa.DataType, path: str) -> Iterator[str]:
    if pa.types.is_struct(type):
        for child in type:
            yield from _inside(child.type, f"{path}.{child.name}")
    elif pa.types.is_list(type):
        yield from _inside(type.value_type, f"{path}.list.element")
    elif pa.types.is_map(type):
        yield from _inside(type.key_type, f"{path}.key_value.key")
        yield from _inside(type.item_type, f"{path}.key_value.value")
    else:
        yield path


def _unsupported(name: str) -> DeltaLakeError:
    return DeltaLakeError(
        DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
        f"writer property {name} is not known to pyarrow {pa.__version__}; leave it out",
        property=name,
    )
