"""Dask collections as data files that their workers write; only the actions come back.

PROTOCOL.md, "Add File and Remove File". A part that a scheduler runs again writes the same names
again. Where one part fails, the files of the others are removed and nothing is committed; where the
client is closed meanwhile nobody knows of them any more, and vacuum removes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.executor.dask import cluster_errors
from deltalakedb.storage.store import ObjectStore
from deltalakedb.write.constraints import RowChecks
from deltalakedb.write.files import WrittenFiles, write_files
from deltalakedb.write.input import batches_of
from deltalakedb.write.properties import WriterProperties
from deltalakedb.write.target import FileTarget

_AGAIN = "write again: nothing is committed, and vacuum removes what its workers had written"


@dataclass(frozen=True)
class DaskParts:
    """A collection's parts, as delayed values, and the schema of all of them."""

    schema: pa.Schema
    parts: tuple[Any, ...]

    @classmethod
    def of(cls, data: Any) -> DaskParts:
        """A Dask DataFrame, a bag of Arrow tables, or delayed Arrow tables or data frames.

        A bag's and delayed values' schema is that of the first part, which is computed for it.
        """
        import dask

        if hasattr(data, "_meta_nonempty"):
            named = all(name is not None for name in data._meta.index.names)
            found = pa.Table.from_pandas(data._meta_nonempty, preserve_index=named).schema
            return cls(found.remove_metadata(), tuple(data.to_delayed()))
        if hasattr(data, "to_delayed"):
            parts = tuple(data.to_delayed())
        else:
            parts = tuple(data) if isinstance(data, list | tuple) else (data,)
        if not parts:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT, "a Dask collection without parts has no schema"
            )
        (schema,) = dask.compute(dask.delayed(_schema)(parts[0]))
        return cls(schema, parts)

    def write(
        self,
        store: ObjectStore,
        target: FileTarget,
        write_id: str,
        *,
        target_file_size: int | None,
        properties: WriterProperties,
    ) -> WrittenFiles:
        """Write all parts where the current Dask scheduler runs them.

        CLUSTER_ERROR where the scheduler, the workers or the client to them go.
        """
        import dask

        job = dask.delayed(_write_part, pure=False)
        found = _computed(
            [
                job(part, store, target, write_id, number, target_file_size, properties)
                for number, part in enumerate(self.parts)
            ]
        )
        whole = WrittenFiles()
        errors = []
        for each in found:
            if isinstance(each, BaseException):
                errors.append(each)
                continue
            whole.extend(each)
        if errors:
            store.discard(whole.names)
            raise errors[0]
        return whole


def _computed(jobs: Sequence[Any]) -> Sequence[Any]:
    """What they return. CLUSTER_ERROR where the cluster fails; parts' own errors as they are."""
    import dask

    with cluster_errors(_AGAIN):
        try:
            return tuple(dask.compute(*jobs))
        except TimeoutError as error:
            # Whoever computes a part may have waited for something else than for Dask.
            late = error
    raise late


def is_dask(data: Any) -> bool:
    """Whether it is a Dask collection, or several delayed values."""
    if isinstance(data, list | tuple):
        return bool(data) and all(hasattr(each, "__dask_graph__") for each in data)
    return hasattr(data, "__dask_graph__")


def _rows(part: Any) -> Any:
    """A part of a bag is a list of tables."""
    if isinstance(part, Iterable) and not hasattr(part, "__arrow_c_stream__"):
        pandas_like = hasattr(part, "dtypes")
        return part if pandas_like else list(part)
    return part


def _schema(part: Any) -> pa.Schema:
    return batches_of(_rows(part)).schema.remove_metadata()


def _write_part(
    part: Any,
    store: ObjectStore,
    target: FileTarget,
    write_id: str,
    number: int,
    target_file_size: int | None,
    properties: WriterProperties,
) -> WrittenFiles | Exception:
    checks = RowChecks(target.schema, target.configuration)
    try:
        return write_files(
            store,
            target,
            _rows(part),
            write_id,
            check=None if checks.is_empty else checks,
            task=number,
            target_file_size=target_file_size,
            properties=properties,
            # Dask has as many tasks at a time as there are cores.
            encoders=1,
        )
    # Told where the others' files can be removed.
    except (DeltaLakeError, OSError, pa.ArrowException) as error:
        return error
