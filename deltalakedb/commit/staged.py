"""What a commit is to do, before it is decided: one value a table, no database and no store.

PROTOCOL.md, "Delta Log Entries". Everything that costs time is made here: the lines of the commit,
the rows of its files. What only the lock can tell (version, timestamps) is the first line's, and
the rows' version columns.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from deltalakedb.catalog.records import TableRow
from deltalakedb.commit.prepared import BULK_ROWS, PreparedRows, prepare
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.commit_writer import CommitInfo, add_lines, commit_body, remove_lines
from deltalakedb.log.few_files import FewFiles, Files, table_of, values_of
from deltalakedb.log.rows import FILE_SCHEMA
from deltalakedb.predicate.tree import Expr

if TYPE_CHECKING:
    from deltalakedb.catalog.dialects.writer import Statement
    from deltalakedb.commit.naming import NameChange

Isolation = Literal["WriteSerializable", "Serializable", "SnapshotIsolation"]
ISOLATIONS: tuple[Isolation, ...] = ("WriteSerializable", "Serializable", "SnapshotIsolation")


@cache
def no_files() -> pa.Table:
    """An empty table of files."""
    return FILE_SCHEMA.empty_table()


@dataclass(frozen=True)
class Reads:
    """What a commit's rows depend on.

    `predicates`: conditions whose rows were looked for, in logical names; a file that a winner
    added and that may hold such a row is a phantom. `paths`: raw paths of the files that were
    read; whoever removed one of them meanwhile has taken rows away that were counted on.
    """

    predicates: tuple[Expr, ...] = ()
    paths: frozenset[str] = frozenset()
    whole_table: bool = False

    def __bool__(self) -> bool:
        return self.whole_table or bool(self.predicates) or bool(self.paths)


NO_READS = Reads()


@dataclass(frozen=True)
class VectorClash:
    """A file whose deletion vector both sides changed; rows of `log.rows.FILE_SCHEMA`.

    `base` is the life that was read, `head` the one at the head now, `ours` the one to be added.
    """

    base: Mapping[str, Any]
    head: Mapping[str, Any]
    ours: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class StagedTable:
    """A commit of one table.

    `table` is the row that was read; its location, load, epoch and authority have to hold under
    the lock. `read_version` is the version that the commit is based on, -1 for a table that it
    makes. `metadata_id` is the table's own id, by which logs know it. `added` and `removes` are
    rows of FILE_SCHEMA: files that begin, and lives that end, as the catalog has them. `metadata`
    and `protocol` are bodies of actions. `rebase` makes the same commit again where vectors clash,
    with the lives at the head; without it they are a conflict. `rebases_at_once`: it waits for no
    network, so that it may run while others wait for the lock. `authority` hands the table over
    with this commit; `ratified` has the log ratify it in any case. `guards` run in the commit's
    transaction: where one touches another number of rows than it says, WrongCountError tells that
    nothing was committed. `claims` are the same for the transaction that reserves a version where
    the log ratifies; they may run again. `takes` are guards too, of rows that go with the commit,
    and protect no files. `began`: by this machine's monotonic clock, when the first
    of its files was not yet begun, where no guard protects them from a vacuum. `is_remembered`: the
    table was not read for this commit, so that it has to be the one of this process's last commit.
    `starts_in_commit_timestamps`: `metadata` switches them on. `tracks_rows`: files without row ids
    get them. `adds_again`: each add stands for the removed life of the same file, of which the log
    needs no remove. `identity_marks`: (column, last number) that the rows of identity columns have.
    `pairs`: as `write.files.WrittenFiles` has them, where others' changes may come to these.
    """

    table: TableRow
    read_version: int
    info: CommitInfo
    metadata_id: str | None = None
    reads: Reads = NO_READS
    added: Files = field(default_factory=no_files)
    removes: pa.Table = field(default_factory=no_files)
    removes_change_data: bool = True
    protocol: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] | None = None
    txns: tuple[Mapping[str, Any], ...] = ()
    domains: tuple[Mapping[str, Any], ...] = ()
    changes: tuple[Mapping[str, Any], ...] = ()
    others: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    if_version: int | None = None
    is_remembered: bool = False
    in_commit_timestamps: bool = False
    starts_in_commit_timestamps: bool = False
    tracks_rows: bool = False
    adds_again: bool = False
    identity_marks: tuple[tuple[str, int], ...] = ()
    authority: str | None = None
    ratified: bool = False
    deletion_time: int = 0
    guards: tuple[Statement, ...] = ()
    claims: tuple[Statement, ...] = ()
    takes: tuple[Statement, ...] = ()
    began: float | None = field(default=None, compare=False)
    rebase: Callable[[Sequence[VectorClash]], StagedTable] | None = field(
        default=None, compare=False
    )
    rebases_at_once: bool = False
    pairs: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for which, files in (("added", self.added), ("removed", self.removes)):
            twice = _twice(files)
            if twice is not None:
                raise DeltaLakeError(
                    DeltaLakeErrorKind.INTERNAL_ERROR,
                    f"a commit of {self.table.full_name} has {which} {twice} twice; please report "
                    "this",
                )

    @cached_property
    def adds(self) -> pa.Table:
        """The files that begin, as a FILE_SCHEMA table."""
        return table_of(self.added)

    def but(self, **changes: Any) -> StagedTable:
        """The same but for what neither its files nor their rows depend on: `guards`, `claims`,
        `began`, `read_version`, `rebase`, `rebases_at_once`. What was made of those is kept."""
        found = object.__new__(StagedTable)
        found.__dict__.update(self.__dict__, **changes)
        return found

    @property
    def makes_table(self) -> bool:
        """Whether the table is there with this commit, and not before; its key is yet to be."""
        return self.read_version < 0

    @property
    def is_ratified_by_log(self) -> bool:
        """Whether the commit is there once the log has it, and not before."""
        return self.ratified or self.table.authority == "log"

    @property
    def is_blind_append(self) -> bool:
        """Nothing was read, and files are only added."""
        return not self.reads and self.removes.num_rows == 0

    @property
    def changes_data(self) -> bool:
        """Whether rows come or go: not where files are only arranged anew."""
        if self.removes.num_rows and self.removes_change_data:
            return True
        if isinstance(self.added, FewFiles):
            return any(value is not False for value in self.added.values("data_change"))
        added = self.added.column("data_change")
        return any(value is not False for value in added.unique().to_pylist())

    @property
    def removed_paths(self) -> dict[str, bool]:
        """Raw paths that the commit removes, and whether only their vector changes."""
        if not self.removes.num_rows:
            return {}
        again = set(values_of(self.added, "path"))
        return {path: path in again for path in self.removes.column("path").to_pylist()}

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to commit."""
        return not (
            self.added.num_rows
            or self.removes.num_rows
            or self.metadata
            or self.protocol
            or self.txns
            or self.domains
            or self.changes
            or self.others
        )

    @cached_property
    def prepared(self) -> PreparedRows:
        """The rows of its files, with pruning keys by the columns that the table had when read."""
        return prepare(self.added, self.removes, self.removes_change_data, self.table.skipping)

    def lines(self) -> Iterator[bytes]:
        """All lines but the first one, some at a time: of a million they are never all held."""
        small = [
            *([{"protocol": self.protocol}] if self.protocol else []),
            *([{"metaData": self.metadata}] if self.metadata else []),
            *({"txn": body} for body in self.txns),
            *({"domainMetadata": body} for body in self.domains),
            *({kind: body} for kind, body in self.others),
        ]
        yield commit_body(small)
        if not self.adds_again:
            changed = self.removes_change_data
            yield from remove_lines(self.removes, self.deletion_time, data_change=changed)
        yield from add_lines(self.added)
        yield commit_body({"cdc": body} for body in self.changes)

    def forget_rows(self) -> None:
        """Once they are in the catalog nobody needs its prepared rows, which may be millions."""
        self.__dict__.pop("prepared", None)


def _twice(files: Files) -> str | None:
    """A path that more than one of the files has."""
    if files.num_rows < 2:
        return None
    # Of many their hashes, not their texts, are held against each other.
    is_many = files.num_rows > BULK_ROWS and not isinstance(files, FewFiles)
    if is_many and len(np.unique(table_of(files).column("path_key").to_numpy())) == files.num_rows:
        return None
    seen: set[str] = set()
    for path in values_of(files, "path"):
        if path in seen:
            return str(path)
        seen.add(path)
    return None


@dataclass(frozen=True, kw_only=True)
class StagedCommit:
    """Commits of 1..n tables of one catalog, decided together.

    `token` names the commit: a retry with the same one finds what became of it. It is the
    `txnId` of each commitInfo. `members` are tokens of further calls that this commit answers.
    A `group_id`, of the catalog `catalog_id`, is for several tables. `name_changes` come with the
    commit, in their order; each of their tables is among `tables`, an empty one where it goes.
    """

    tables: tuple[StagedTable, ...]
    isolation: Isolation = "WriteSerializable"
    token: str = field(default_factory=lambda: str(uuid.uuid4()))
    members: tuple[str, ...] = ()
    group_id: str | None = None
    catalog_id: str = ""
    name_changes: tuple[NameChange, ...] = ()

    def __post_init__(self) -> None:
        keys = [staged.table.table_id for staged in self.tables]
        if not keys or len(set(keys)) != len(keys):
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                "a commit names each of its tables once, and at least one; put several operations "
                "on a table into one commit of it",
            )
        for token in (self.token, *self.members):
            checked_text("a commit's token", token, 64)
        if self.isolation not in ISOLATIONS:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"no isolation level {self.isolation!r}; use {', '.join(ISOLATIONS)}",
            )


def checked_text(what: str, text: Any, most: int) -> str:
    """A name that callers choose, as every database can keep it. Raises INVALID_ARGUMENT."""
    why = None
    if not isinstance(text, str):
        why = f"is {text!r}, and no text"
    elif len(text) > most:
        why = f"has more than {most} characters"
    elif "\0" in text or (
        not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)
    ):
        why = "holds a NUL character or half of a surrogate pair"
    if why is not None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT, f"{what} {why}; use at most {most} characters"
        )
    return str(text)
