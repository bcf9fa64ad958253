"""Rows of a file, or of standard input, for commands that write them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

FORMATS = ("parquet", "csv", "arrow")
_ENDINGS = {
    **dict.fromkeys(("arrow", "arrows", "ipc", "feather"), "arrow"),
    "parquet": "parquet",
    "csv": "csv",
}
_FILE_MAGIC = b"ARROW1"
"""How Arrow's file format begins; what else there is is a stream."""


def rows_of_file(file: str, kind: str | None) -> Any:
    """The rows as a stream of Arrow batches, in bounded memory; FILE "-" is standard input.

    `kind` is one of FORMATS, by default what the ending says, an Arrow stream for standard input.
    Raises INVALID_ARGUMENT naming the file where it isn't that, also while it is read.
    """
    import pyarrow as pa

    if kind is None:
        ending = file.rpartition(".")[2].lower()
        kind = "arrow" if file == "-" else _ENDINGS.get(ending)
        if kind is None:
            raise click.BadParameter(
                f"the ending of {file!r} doesn't tell what it is; give --input-format",
                param_hint="FILE",
            )
    with _told(file, kind):
        schema, batches = _opened(file, kind)
        _ = schema.names  # a header that is no text is noticed here
    return pa.RecordBatchReader.from_batches(schema, _read(file, kind, batches))


def _opened(file: str, kind: str) -> tuple[Any, Iterator[Any]]:
    import pyarrow as pa

    source: Any = sys.stdin.buffer if file == "-" else file
    if kind == "csv":
        from pyarrow import csv

        reader = csv.open_csv(source)
        return reader.schema, iter(reader)
    if kind == "parquet":
        import pyarrow.parquet as pq

        opened = pq.ParquetFile(_on_disk(source) if file == "-" else file)
        return opened.schema_arrow, opened.iter_batches()
    if file != "-":
        with open(file, "rb") as begin:
            is_file = begin.read(len(_FILE_MAGIC)) == _FILE_MAGIC
        if is_file:
            whole = pa.ipc.open_file(pa.memory_map(file))
            return whole.schema, (whole.get_batch(n) for n in range(whole.num_record_batches))
    stream = pa.ipc.open_stream(source)
    return stream.schema, iter(stream)


def _on_disk(source: Any) -> Any:
    """What can't be sought in, as a file without a name: Parquet's directory is at its end."""
    import shutil
    import tempfile

    found = tempfile.TemporaryFile()  # noqa: SIM115 - closed with its last reader
    shutil.copyfileobj(source, found, 1 << 20)
    found.seek(0)
    return found


def _read(file: str, kind: str, batches: Iterator[Any]) -> Iterator[Any]:
    with _told(file, kind):
        yield from batches


@contextmanager
def _told(file: str, kind: str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        place = "standard input" if file == "-" else file
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"{place} can't be read as {kind}: {error}; correct it, or say what it is by "
            "--input-format",
            file=file,
        ) from error
