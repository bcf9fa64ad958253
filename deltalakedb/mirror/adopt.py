"""Commits that others have put into a log, into the catalog: where the log ratifies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.loads import ledger
from deltalakedb.catalog.loads.ledger import Run
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.records import TableRow
from deltalakedb.commit.apply import apply_parts, apply_state
from deltalakedb.commit.extend import NewRows, new_rows
from deltalakedb.commit.lives import end_lives, search_lives
from deltalakedb.commit.prepared import columns_of
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.commit import ActionReader
from deltalakedb.log.paths import CommitFile, parse_log_name
from deltalakedb.log.ranges import RANGE_BYTES, slices_of
from deltalakedb.log.reader import commit_slices
from deltalakedb.log.segment import CommitEntry
from deltalakedb.mirror.publish import commit_name
from deltalakedb.mirror.strangers import strangers_in, tell
from deltalakedb.replay.events import Endings, Events
from deltalakedb.replay.state import RangeState
from deltalakedb.storage.store import ObjectStore

_COMMITS = 1_000
"""Read and applied at a time, and no more than a range's bytes."""
_SLICES = 4
"""Of a commit that is longer than a range each slice has that part of one."""


def adopt(database: DatabaseUrl, table: TableRow, log: ObjectStore) -> int:
    """Apply the commits after the catalog's head; the head then.

    A commit of ours whose transaction was lost after its file was put is among them: its token
    is recorded with it. Raises MISSING_COMMIT for a gap.
    """
    with Catalog(database) as catalog:
        while True:
            row = queries.find_table(catalog, table.table_id)
            listed = log.list("", commit_name(row.head_version))
            versions = {
                name.version: CommitEntry(name.version, each.name, each.size, each.modified_ms)
                for each in listed
                if isinstance(name := parse_log_name(each.name), CommitFile)
            }
            if not versions:
                return row.head_version
            first = row.head_version + 1
            if first not in versions:
                if log.exists(commit_name(first)):
                    # The listing was made while others wrote.
                    continue
                raise DeltaLakeError(
                    DeltaLakeErrorKind.MISSING_COMMIT,
                    f"commit {first} of {row.full_name} is missing from its log, so the catalog "
                    f"can't catch up to {max(versions)}; restore it, or import anew with --rebuild",
                    version=first,
                )
            commits = _together(versions, first)
            found: _Whole | _Sliced
            if _parts(commits[0]) > 1:
                found = _Sliced.read(log, commits[0])
            else:
                found = _Whole(_read(log, commits))
            strange = strangers_in(catalog, row, found.small)
            if _applied(catalog, row, found) and strange:
                tell(catalog, row, strange)


def _together(versions: Mapping[int, CommitEntry], first: int) -> list[CommitEntry]:
    """The commits from one version on that are applied at once; one of many slices alone."""
    found = [versions[first]]
    size = found[0].size
    while size < RANGE_BYTES and len(found) < _COMMITS:
        more = versions.get(first + len(found))
        if more is None or _parts(more) > 1:
            break
        found.append(more)
        size += more.size
    return found


def _parts(commit: CommitEntry) -> int:
    """In how many slices a commit is read."""
    return slices_of(commit, RANGE_BYTES // _SLICES) if commit.size > RANGE_BYTES else 1


def _read(log: ObjectStore, commits: Sequence[CommitEntry]) -> RangeState:
    reader = ActionReader()
    contents = log.read_each([each.name for each in commits])
    for each, data in zip(commits, contents, strict=True):
        reader.commit(each.version, data, name=each.name, file_time=each.modified_ms)
    return RangeState.replay(reader.finish(), commits[0].version, commits[-1].version)


@dataclass(frozen=True)
class _Whole:
    """Commits that are applied as they are."""

    small: RangeState

    def apply(self, catalog: Catalog, row: TableRow, run: Run) -> None:
        apply_state(catalog, row, run, self.small)


@dataclass(frozen=True)
class _Sliced:
    """A commit of very many actions, read twice: its rows are held a slice at a time.

    `small` has its own row and its small actions, `events` those of each slice.
    """

    log: ObjectStore
    commit: CommitEntry
    small: RangeState
    events: list[Events]

    @classmethod
    def read(cls, log: ObjectStore, commit: CommitEntry) -> _Sliced:
        states: list[RangeState] = []
        events: list[Events] = []
        for number, state in enumerate(_slices(log, commit)):
            events.append(state.events(number))
            states.append(_without_rows(state))
        small = replace(
            states[-1], state=tuple(change for state in states for change in state.state)
        )
        return cls(log, commit, small, events)

    def apply(self, catalog: Catalog, row: TableRow, run: Run) -> None:
        numbers = range(len(self.events))
        events = Events.concat(self.events)
        ended, endings = end_lives(search_lives(catalog, row, events.key), events, numbers)
        del events
        rows = self._rows(row, endings)
        apply_parts(catalog, row, run, rows, self.small.state, ended)

    def _rows(self, row: TableRow, endings: Mapping[int, Endings]) -> Iterator[NewRows]:
        columns = columns_of(row.skipping)
        for number, state in enumerate(_slices(self.log, self.commit)):
            yield new_rows(state.end(endings[number]), row.live_load, columns)
            if number + 1 == len(self.events) and _digest(state) != _digest(self.small):
                raise DeltaLakeError(
                    DeltaLakeErrorKind.LOG_DISAGREES,
                    f"{self.log.describe(self.commit.name)} changed while it was read; stop "
                    "whoever rewrites commits, and run again",
                    version=self.commit.version,
                )


def _slices(log: ObjectStore, commit: CommitEntry) -> Iterator[RangeState]:
    for rows in commit_slices(log, commit, _parts(commit)):
        yield RangeState.unresolved(rows, commit.version, commit.version)


def _without_rows(state: RangeState) -> RangeState:
    none = {n: getattr(state, n).slice(0, 0) for n in ("files", "closings", "changes", "others")}
    return replace(state, **none)


def _digest(state: RangeState) -> list[str]:
    found: list[str] = state.versions.column("log_digest").to_pylist()
    return found


def _applied(catalog: Catalog, row: TableRow, found: _Whole | _Sliced) -> bool:
    """False where another was faster."""
    run = ledger.start_run(
        catalog,
        table_id=row.table_id,
        table_name=row.full_name,
        location=row.location,
        mode=row.mode,
        workers=0,
    )
    try:
        found.apply(catalog, row, run)
    except DeltaLakeError as error:
        ledger.fail_run(catalog, run, error)
        # Another has adopted them meanwhile: look again.
        if error.kind is not DeltaLakeErrorKind.CONCURRENCY_ERROR:
            raise
        return False
    except BaseException as error:
        ledger.fail_run(catalog, run, error)
        raise
    return True
