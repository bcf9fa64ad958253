"""Deletion vectors of one commit, and what they become where others changed the same files.

PROTOCOL.md, "Deletion Vectors" and "Per-file Statistics" (tightBounds).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from deltalakedb.commit.conflict import Places, rows_conflict, unite, within
from deltalakedb.commit.staged import StagedTable, VectorClash
from deltalakedb.log.columns import table_of_dicts
from deltalakedb.log.deletion_vector import unique_id, vector_path
from deltalakedb.log.few_files import values_of
from deltalakedb.log.rows import FILE_SCHEMA, file_keys
from deltalakedb.scan.file import read_vector
from deltalakedb.storage.store import ObjectStore
from deltalakedb.write.deletion_vector import VectorFile, ascending

Life = Mapping[str, Any]
"""A row of `log.rows.FILE_SCHEMA`."""

NOWHERE: Places = np.empty(0, dtype=np.int64)
_TIGHT = re.compile(r'(?<!\\)"tightBounds"\s*:\s*(true|false)')
_RECORDS = re.compile(r'(?<!\\)"numRecords"\s*:')

MERGE_NAMES = {
    "numRemovedFiles": "numTargetFilesRemoved",
    "numRemovedBytes": "numTargetBytesRemoved",
    "numDeletionVectorsAdded": "numTargetDeletionVectorsAdded",
    "numDeletionVectorsRemoved": "numTargetDeletionVectorsRemoved",
    "numDeletionVectorsUpdated": "numTargetDeletionVectorsUpdated",
    "numAddedFiles": "numTargetFilesAdded",
    "numAddedBytes": "numTargetBytesAdded",
    "numAddedChangeFiles": "numTargetChangeFilesAdded",
}
"""What MERGE calls the numbers of files."""


class Vectors:
    """Reads vectors of a table and writes new ones; those of one call of `close` share a file.

    `names` are the objects that were made: no data file is ever among them.
    """

    def __init__(self, store: ObjectStore, table: str, write_id: str | None = None) -> None:
        """`write_id` names the first file: who writes it again leaves no other one behind."""
        self._store = store
        self._table = table
        named = None if write_id is None else uuid.uuid5(uuid.NAMESPACE_OID, write_id)
        self._file = VectorFile(store, name_id=named)
        self._known: dict[str, Places] = {}
        self._used: StagedTable | None = None
        """The commit that is to be: its vectors stay."""
        self.names: list[str] = []

    def rows(self, life: Life) -> Places:
        """The rows that are deleted in a life of a file, ascending."""
        if life["dv"] is None:
            return NOWHERE
        descriptor = orjson.loads(life["dv"])
        key = unique_id(descriptor)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = read_vector(self._store, descriptor)
        return found

    def add(self, rows: Places) -> dict[str, Any]:
        """The descriptor of a vector that the next `close` writes."""
        rows = ascending(rows)
        descriptor = self._file.add(rows)
        self._known[unique_id(descriptor)] = rows
        return descriptor

    def close(self) -> None:
        """Write the vectors that were added."""
        name = self._file.name
        if name is not None:
            self.names.append(name)
            self._file.close()
        self._file = VectorFile(self._store)

    def drop_superseded(self) -> None:
        """Once the commit is there: remove the files of vectors that were made again."""
        if not self.names:
            return
        texts = [] if self._used is None else values_of(self._used.added, "dv")
        used = {vector_path(orjson.loads(text)) for text in texts if text is not None}
        old = [name for name in self.names if name not in used]
        if old:
            self._store.discard(old)

    def attached(self, staged: StagedTable, read: Mapping[str, Places]) -> StagedTable:
        """The commit, which can be made again where others changed vectors of its files.

        `read`: by path, rows that it counted on without changing them.
        """
        self._used = staged

        def rebase(clashes: Sequence[VectorClash]) -> StagedTable:
            return self.attached(self._united(staged, clashes, read), read)

        return staged.but(rebase=rebase, rebases_at_once=not self._store.spec.is_s3)

    def _united(
        self, staged: StagedTable, clashes: Sequence[VectorClash], read: Mapping[str, Places]
    ) -> StagedTable:
        """Based on the lives at the head; CONCURRENCY_ERROR where both changed the same rows."""
        ours = {row["path"]: row for row in staged.adds.to_pylist()}
        ended = {row["path"]: row for row in staged.removes.to_pylist()}
        for clash in clashes:
            path, head = str(clash.head["path"]), _plain(clash.head)
            before, now = self.rows(clash.base), self.rows(head)
            meddled = now[within(now, np.sort(read[path]))] if path in read else NOWHERE
            count = int(np.count_nonzero(~within(meddled, before)))
            try:
                places = unite(before, now, self.rows(ours[path]))
            except ValueError as error:
                count = int(error.args[0])
            if count:
                raise rows_conflict(self._table, path, int(head["added_version"]), count)
            ended[path] = head
            records = int(ours[path]["num_records"])
            if len(places) == records:
                del ours[path]
            else:
                ours[path] = with_vector(head, self.add(places), records)
        self.close()
        adds = table_of_dicts(list(ours.values()), FILE_SCHEMA)
        removes = table_of_dicts(list(ended.values()), FILE_SCHEMA)
        metrics = dict(staged.info.metrics)
        for name, value in vector_metrics(adds, removes).items():
            for known in (name, MERGE_NAMES[name]):
                if known in metrics:
                    metrics[known] = value
        return replace(
            staged,
            added=adds,
            removes=removes,
            info=replace(staged.info, metrics=metrics),
            rebase=None,
        )


def with_vector(life: Life, descriptor: Mapping[str, Any], num_records: int) -> dict[str, Any]:
    """The file's next life, with that vector; `num_records` are its physical rows."""
    dv_id = unique_id(descriptor)
    first, second = file_keys([life["path"]], [dv_id])
    return dict(life) | {
        "dv": orjson.dumps(descriptor).decode(),
        "dv_id": dv_id,
        "stats": loosened(life["stats"], num_records),
        "data_change": True,
        "num_records": num_records,
        "path_key": int(first[0]),
        "path_key2": int(second[0]),
    }


def with_more(old: Places, more: Sequence[Places]) -> Places:
    """All deleted rows, ascending, each once; what is in order isn't sorted again."""
    new = ascending(np.concatenate(more) if len(more) > 1 else more[0])
    return unite(NOWHERE, old, new[~within(new, old)])


def loosened(stats: str | None, num_records: int) -> str:
    """Statistics whose bounds may be wider than the rows that are left.

    The text is kept but for that: numbers of many digits don't survive being parsed.
    """
    text = (stats or "").strip() or "{}"
    if not _RECORDS.search(text):
        text = _with(text, f'"numRecords":{num_records}')
    if _TIGHT.search(text):
        return _TIGHT.sub('"tightBounds":false', text, count=1)
    return _with(text, '"tightBounds":false')


def _with(text: str, member: str) -> str:
    rest = text[1:].lstrip()
    return "{" + member + ("" if rest.startswith("}") else ",") + rest


def vector_metrics(adds: pa.Table, removes: pa.Table) -> dict[str, int]:
    """Spark's numbers of vectors, and of files that went for good."""
    begun, ended = (
        dict(zip(t.column("path").to_pylist(), t.column("dv_id").to_pylist(), strict=True))
        for t in (adds, removes)
    )
    sizes = dict(
        zip(removes.column("path").to_pylist(), removes.column("size").to_pylist(), strict=True)
    )
    gone = [path for path in ended if path not in begun]
    return {
        "numRemovedFiles": len(gone),
        "numRemovedBytes": sum(sizes[path] or 0 for path in gone),
        "numDeletionVectorsAdded": sum(dv is not None for dv in begun.values()),
        "numDeletionVectorsRemoved": sum(dv is not None for dv in ended.values()),
        "numDeletionVectorsUpdated": sum(
            dv is not None and ended.get(path) is not None for path, dv in begun.items()
        ),
    }


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as Arrow has it: SQLite and MySQL have 0 and 1."""
    found = {name: row[name] for name in FILE_SCHEMA.names}
    if found["data_change"] is not None:
        found["data_change"] = bool(found["data_change"])
    return found
