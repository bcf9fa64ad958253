"""`sweep`: all tables each night, cheaply; a share of them in full; what was not seen, told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from deltalakedb import tracing
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.loads.ledger import now_ms
from deltalakedb.catalog.reading.queries import all_tables
from deltalakedb.catalog.records import TableRow
from deltalakedb.catalog.tables import parity_runs
from deltalakedb.config import SqlConfig
from deltalakedb.error import DeltaLakeError
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.sweep import data_files
from deltalakedb.sweep.digest import FileSums, file_sums, state_sums
from deltalakedb.sweep.logs import Log, list_whole
from deltalakedb.sweep.night import Look, Night, TableNight
from deltalakedb.sweep.proofs import Proof, keep_night, keep_proofs, known_proofs, last_night
from deltalakedb.sweep.seals import known_sums
from deltalakedb.sweep.verdict import verdict_of

NIGHTS = 7
LARGE_FILES = 50_000
"""Live files from which a table is looked at after, or beside, the others."""
_LOOK_BYTES = 1 << 20
"""So many bytes of a log are read in the time that a look at any table takes beside."""
KEPT_DAYS = 35
_DAY_MS = 86_400_000


@dataclass(frozen=True)
class SweepOptions:
    """How a sweep goes.

    `deadline`: after so many seconds no further table is begun; `requests_at_once` to the store;
    `full_share`: of all logs' bytes, how much is compared in full a night; `night`: its number, by
    default the next one of the catalog, which turns the sample of data files and says who is due;
    `data_files`: whether they are looked at.
    """

    lag_threshold: float = 0.0
    deadline: float | None = None
    requests_at_once: int = 16
    full_share: float = 1 / NIGHTS
    night: int | None = None
    data_files: bool = True
    storage_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class SweepReport:
    """A night. `tables`: by name; `began`: ms since 1970."""

    database: str
    began: int
    seconds: float = 0.0
    night: int = 0
    tables: list[TableNight] = field(default_factory=list)

    def of(self, status: str) -> list[TableNight]:
        """The tables that have ended so."""
        return [t for t in self.tables if t.status == status]

    @property
    def counts(self) -> dict[str, int]:
        """How many tables have ended how, the worst first."""
        order = ("drift", "failed", "lag", "stale", "verified")
        return {status: len(found) for status in order if (found := self.of(status))}

    @property
    def exit_code(self) -> int:
        """2 for drift, 1 where a look failed, 75 where tables are stale, 3 for lag alone, or 0."""
        counts = self.counts
        for status, code in (("drift", 2), ("failed", 1), ("stale", 75), ("lag", 3)):
            if status in counts:
                return code
        return 0

    @property
    def verdict(self) -> str:
        """The night in a sentence."""
        return verdict_of(self.counts)

    def to_json(self) -> dict[str, Any]:
        """The machine-readable form."""
        return {
            "database": self.database,
            "began": self.began,
            "seconds": round(self.seconds, 3),
            "night": self.night,
            "exit_code": self.exit_code,
            "verdict": self.verdict,
            "counts": self.counts,
            "tables": [t.to_json() for t in self.tables],
        }


def no_progress(done: int, total: int, table: TableNight) -> None:
    """The progress of those who don't look."""


@tracing.traced("sweep")
def sweep(
    database: str | SqlConfig,
    options: SweepOptions = SweepOptions(),
    *,
    wanted: Callable[[TableRow], bool] = lambda row: True,
    client: Any = None,
    progress: Callable[[int, int, TableNight], None] = no_progress,
) -> SweepReport:
    """Hold the catalog's tables against their logs and data files.

    `client`: a `distributed.Client` whose workers read logs; large tables then go beside the small
    ones, else after them. A table that can't be looked at stops no other. What is proven is
    remembered (`dl_properties`), what was found is recorded in `dl_parity_runs`. Raises what keeps
    all from being looked at: the catalog away.
    """
    began = time.monotonic()
    with Catalog(database) as catalog:
        night = last_night(catalog) + 1 if options.night is None else options.night
        report = SweepReport(catalog.dialect.described, now_ms(), night=night)
        run = _Sweep(catalog, options, night, client, began)
        try:
            for table in run.tables(wanted):
                report.tables.append(table)
                progress(len(report.tables), run.total, table)
        except BaseException:
            # Whoever stops or breaks it is told of the tables that it didn't come to.
            for table in run.left(report.tables):
                report.tables.append(table)
                progress(len(report.tables), run.total, table)
            raise
        finally:
            # Also of a sweep that is stopped: what it has proven is proven.
            run.keep(report.tables)
            keep_night(catalog, night)
        report.tables.sort(key=lambda t: t.row.full_name)
    report.seconds = time.monotonic() - began
    return report


def not_looked_at(
    database: str | SqlConfig, wanted: Callable[[TableRow], bool]
) -> list[TableNight]:
    """The catalog's tables as a night leaves them that didn't look at any: stale."""
    with Catalog(database) as catalog:
        proofs = known_proofs(catalog)
        rows = [row for row in all_tables(catalog) if wanted(row)]
    return [TableNight(row, proof=proofs.get(row.table_key)) for row in rows]


@dataclass
class _Sweep:
    catalog: Catalog
    options: SweepOptions
    night: int
    client: Any
    began: float
    total: int = 0
    asked: Sequence[TableRow] = ()
    proofs: Mapping[int, Proof] = field(default_factory=dict)
    budget: data_files.Budget = field(default_factory=data_files.Budget)
    listing_share: float = 0.0

    @property
    def _ended(self) -> bool:
        limit = self.options.deadline
        return limit is not None and time.monotonic() - self.began >= limit

    def tables(self, wanted: Callable[[TableRow], bool]) -> Iterator[TableNight]:
        rows = [row for row in all_tables(self.catalog) if wanted(row)]
        self.asked = rows
        self.proofs = proofs = known_proofs(self.catalog)
        # Whoever was not seen for longest comes first: a deadline hits others the next night.
        rows.sort(key=lambda row: (_seen(proofs, row), row.full_name))
        self.total = len(rows)
        began = time.perf_counter()
        listed = self._listed(rows)
        self.listing_share = (time.perf_counter() - began) / max(len(rows), 1)
        # After the listings: what a log has by then was committed before.
        now = {row.table_key: row for row in all_tables(self.catalog)}
        rows = [now[row.table_key] for row in rows if row.table_key in now]
        small = [row for row in rows if row.num_files < LARGE_FILES]
        large = [row for row in rows if row.num_files >= LARGE_FILES]
        turns = self._turns(rows, listed, proofs)
        if self.client is None or not large:
            for group in (small, *([row] for row in large)):
                yield from self._group(group, listed, proofs, turns)
            return
        with ThreadPoolExecutor(1) as beside:

            def alone(row: TableRow) -> list[TableNight]:
                return list(self._group([row], listed, proofs, turns))

            waiting = [beside.submit(alone, row) for row in large]
            yield from self._group(small, listed, proofs, turns)
            for each in waiting:
                yield from each.result()

    def left(self, tables: Sequence[TableNight]) -> list[TableNight]:
        """The tables that were asked for and aren't among these: stale."""
        seen = {table.row.table_key for table in tables}
        return [
            TableNight(row, proof=self.proofs.get(row.table_key))
            for row in self.asked
            if row.table_key not in seen
        ]

    def _listed(self, rows: Sequence[TableRow]) -> dict[int, Log | DeltaLakeError | None]:
        def listed(row: TableRow) -> Log | DeltaLakeError | None:
            if self._ended:
                return None
            try:
                options = dict(self.options.storage_options)
                return list_whole(StoreSpec(row.log_location, options))
            except DeltaLakeError as error:
                return error

        with ThreadPoolExecutor(self.options.requests_at_once) as pool:
            found = pool.map(listed, rows)
            return {row.table_key: each for row, each in zip(rows, found, strict=True)}

    def _turns(
        self,
        rows: Sequence[TableRow],
        listed: Mapping[int, Log | DeltaLakeError | None],
        proofs: Mapping[int, Proof],
    ) -> set[int]:
        """Keys of the tables that are compared in full: who is due, then the longest ago first.

        What doesn't fit into the night's share waits until it is due: a large log takes it whole.
        """
        sizes = {
            row.table_key: log.bytes + _LOOK_BYTES
            for row in rows
            if isinstance(log := listed.get(row.table_key), Log) and row.table_key in proofs
        }
        turns = {key for key in sizes if proofs[key].drifted}
        if not self.options.full_share:
            return turns
        # A sum of as many shares as there are nights is the whole, whatever is rounded.
        budget = self.options.full_share * sum(sizes.values()) + 1
        due = self.night - NIGHTS
        for key in sorted(sizes, key=lambda key: proofs[key].full_at):
            if key in turns:
                continue
            if sizes[key] <= budget or proofs[key].full_night <= due:
                turns.add(key)
                budget -= sizes[key]
        return turns

    def _group(
        self,
        rows: Sequence[TableRow],
        listed: Mapping[int, Log | DeltaLakeError | None],
        proofs: Mapping[int, Proof],
        turns: set[int],
    ) -> Iterator[TableNight]:
        """Tables whose rows are read together."""
        going = [row for row in rows if listed.get(row.table_key) is not None]
        if not going or self._ended:
            yield from (TableNight(row, proof=proofs.get(row.table_key)) for row in rows)
            return
        began = time.perf_counter()
        loads = [row.live_load for row in going]
        sealed, sums = known_sums(self.catalog, going, proofs)
        sums |= file_sums(self.catalog, [load for load in loads if load not in sums])
        state = state_sums(self.catalog, loads)
        after = {row.table_key: row for row in all_tables(self.catalog)}
        files = self._files(going, proofs)
        seen = data_files.look_at_files(
            self.catalog,
            going,
            files,
            {key: proof.contents for key, proof in proofs.items()},
            self.options.storage_options,
            self.options.requests_at_once,
            self.night,
            self.budget,
        )
        share = (time.perf_counter() - began) / len(going)
        night = Night(self.catalog, self.client, self.options.lag_threshold, self.night)
        for row in rows:
            proof = proofs.get(row.table_key)
            log = listed.get(row.table_key)
            if log is None or self._ended:
                yield TableNight(row, proof=proof)
                continue
            then = after.get(row.table_key)
            moving = then is None or _place(then) != _place(row)
            turn = row.table_key in turns
            found = night.look(
                Look(
                    row,
                    log,
                    proof,
                    sums.get(row.live_load, FileSums()),
                    state[row.live_load],
                    moving,
                    turn,
                    sealed.get(row.live_load),
                )
            )
            found.seconds += share + self.listing_share
            looked = seen.get(row.table_key, data_files.Looked())
            # That of tonight, where there is one: the table has had its turn.
            kept = found.proof or proof
            if kept is not None and (looked.wrong or looked.read):
                found.proof = replace(
                    kept,
                    suspects=tuple(dict.fromkeys(file for _, file in looked.wrong)),
                    contents=_known(proof, looked),
                )
            if looked.wrong:
                found.findings += [finding for finding, _ in looked.wrong]
                found.status = "drift"
            found.not_seen = self._not_seen(row, found, looked)
            yield found

    def _files(self, rows: Sequence[TableRow], proofs: Mapping[int, Proof]) -> data_files.Sample:
        """Data files whose turn it is, and those that were found wrong before."""
        if not self.options.data_files:
            return {}
        loads = [row.live_load for row in rows]
        new = {row.live_load for row in rows if row.table_key not in proofs}
        found = data_files.sample(self.catalog, loads, self.night, new)
        for row in rows:
            proof = proofs.get(row.table_key)
            # Once a commit has come, the file may have gone for good reason.
            if proof is not None and proof.version == row.head_version:
                mine = found[row.live_load]
                mine += [each for each in proof.suspects if each not in mine]
        return found

    def _not_seen(
        self, row: TableRow, found: TableNight, looked: data_files.Looked
    ) -> tuple[str, ...]:
        left = []
        if found.how != "full":
            left.append("the content of commits that were read before")
        for count, what in ((looked.count, ""), (looked.inside, "the content of ")):
            if count < row.num_files:
                unseen = row.num_files - count
                left.append(f"{what}{unseen:,} of {row.num_files:,} data files")
        return tuple(left)

    def keep(self, tables: Sequence[TableNight]) -> None:
        """Remember what is proven, and record what was found; forget what is long past."""
        keep_proofs(
            self.catalog,
            {
                t.row.table_key: t.proof
                for t in tables
                if t.proof is not None and t.status != "stale"
            },
        )
        now = now_ms()
        codes = {"verified": 0, "drift": 2, "lag": 3, "failed": 1}
        recorded = [
            {
                "table_id": t.row.table_id,
                "compared_version": t.row.head_version,
                "catalog_version": t.row.head_version,
                "log_version": t.log_version,
                "parity": t.status in ("verified", "lag"),
                "exit_code": codes[t.status],
                "lag_seconds": t.lag_seconds,
                "file_drift": t.file_drift,
                "finished_at": now,
            }
            for t in tables
            if t.status in codes
        ]
        with self.catalog.write() as connection:
            if recorded:
                connection.execute(parity_runs.insert(), recorded)
            connection.execute(
                parity_runs.delete().where(parity_runs.c.finished_at < now - KEPT_DAYS * _DAY_MS)
            )


def _known(proof: Proof | None, looked: data_files.Looked) -> dict[str, str]:
    """What is known of data files' bytes: the newest read last, no more than a week's."""
    found = {} if proof is None else dict(proof.contents)
    for key in looked.read:
        found.pop(key, None)
    found |= looked.read
    for key in list(found)[: max(len(found) - data_files.KNOWN_FILES, 0)]:
        del found[key]
    return found


def _seen(proofs: Mapping[int, Proof], row: TableRow) -> int:
    proof = proofs.get(row.table_key)
    return 0 if proof is None else proof.seen_at


def _place(row: TableRow) -> tuple[int, int, int]:
    return row.live_load, row.epoch, row.head_version
