"""A table that is written and changed in every way, step by step, beside a model of its rows.

Hypothesis chooses the steps. After each one our own reading equals the model; at the end so does
what others read from the mirrored log, and the catalog says the same as the log.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import deltalake
import pyarrow as pa
import pytest
from hypothesis import assume, event, note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

import deltalakedb as dl
from deltalakedb.mirror import checkpoint as checkpoints
from deltalakedb.mirror import tend
from tests.published import complete_log
from tests.writing.columns import (
    KEY,
    KINDS,
    OPERATORS,
    PARTITIONS,
    Condition,
    Model,
    Row,
    rows_of,
    schema_of,
)
from tests.writing.readers import by_delta_rs, by_polars

PROPERTIES = [
    {},
    {"delta.columnMapping.mode": "name"},
    {"delta.columnMapping.mode": "id", "delta.enableInCommitTimestamps": "true"},
    {"delta.checkpointPolicy": "v2", "delta.checkpoint.writeStatsAsStruct": "true"},
    {"delta.dataSkippingNumIndexedCols": "2", "delta.checkpoint.writeStatsAsJson": "false"},
    {"delta.dataSkippingStatsColumns": "n,s"},
]


@dataclass
class Kept:
    """A table of a run that ended well, for readers that take long to start.

    `feeds`: of some versions, the change data as we read it.
    """

    place: Path
    rows: list[Row]
    schema: pa.Schema
    feeds: dict[int, pa.Table] = field(default_factory=dict)


@dataclass
class Run:
    """What a test wants of its machines."""

    folder: Path
    database: Callable[[Path], str]
    keep: bool = False
    kept: list[Kept] = field(default_factory=list)


class TableMachine(RuleBasedStateMachine):
    """One table of one catalog."""

    kinds: ClassVar[Sequence[dict[str, str]]] = PROPERTIES

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run
        self.folder = Path(tempfile.mkdtemp(dir=run.folder))
        self.database = run.database(self.folder)
        self.uri = f"deltasql://{self.database}?table=ns.t"
        self.authority = "sql"
        self.feeds: dict[int, pa.Table] = {}
        self.next_key = 0
        self.first_readable = 0

    # -- steps

    @initialize(
        data=st.data(),
        partitions=st.lists(st.sampled_from(PARTITIONS), max_size=2, unique=True),
        properties=st.sampled_from(range(len(PROPERTIES))),
        more=st.lists(st.sampled_from(list(KINDS)), max_size=8, unique=True),
        authority=st.sampled_from(["sql", "sql", "log"]),
        with_rows=st.booleans(),
        place=st.sampled_from(["t", "a table%é"]),
    )
    def create(
        self,
        data: st.DataObject,
        partitions: list[str],
        properties: int,
        more: list[str],
        authority: str,
        with_rows: bool,
        place: str,
    ) -> None:
        self.place = self.folder / place
        given = self.kinds[properties % len(self.kinds)]
        columns = [KEY, *dict.fromkeys(["s", *more, *partitions])]
        self.model = Model(columns, tuple(partitions))
        self.mapped = "delta.columnMapping.mode" in given
        self.properties = given
        # It refuses tables whose types may widen, also where none has.
        self.delta_rs_reads = "delta.enableTypeWidening" not in given
        chosen: dict[str, Any] = {"location": str(self.place), "partition_by": partitions}
        if with_rows:
            rows, table = self.draw_rows(data, columns)
            dl.write_deltalake(self.uri, table, configuration=given, **chosen)
            self.table = dl.connect_to_table(self.uri, cache=False)
            self.added(rows)
        else:
            self.table = dl.create_table(
                self.uri,
                schema_of(columns),
                properties=given,
                authority=authority,
                **chosen,
            )
            self.authority = authority
        self.model.committed(0)

    @rule(data=st.data())
    def append(self, data: st.DataObject) -> None:
        rows, table = self.draw_rows(data, self.model.columns)
        self.added(rows)
        self.committed(self.table.append(table))

    @rule(data=st.data(), name=st.sampled_from(list(KINDS)))
    def merge_schema(self, data: st.DataObject, name: str) -> None:
        wider = list(dict.fromkeys([*self.model.columns, name]))
        rows, table = self.draw_rows(data, wider)
        self.model.columns = wider
        self.added(rows)
        self.committed(self.table.append(table, schema_mode="merge"))

    @rule(data=st.data())
    def overwrite(self, data: st.DataObject) -> None:
        rows, table = self.draw_rows(data, self.model.columns)
        self.model.rows = []
        self.added(rows)
        self.committed(self.table.overwrite(table))

    @rule(data=st.data(), more=st.lists(st.sampled_from(list(KINDS)), max_size=4, unique=True))
    def replace_schema(self, data: st.DataObject, more: list[str]) -> None:
        self.model.columns = [KEY, *dict.fromkeys(["s", *more, *self.model.partition_by])]
        rows, table = self.draw_rows(data, self.model.columns)
        self.model.rows = []
        self.added(rows)
        self.committed(self.table.overwrite(table, schema_mode="overwrite"))

    @precondition(lambda self: self.model.partition_by)
    @rule(data=st.data())
    def overwrite_partitions(self, data: st.DataObject) -> None:
        rows, table = self.draw_rows(data, self.model.columns)
        partition = self.model.partition
        gone = {partition(self.model.stored(row)) for row in rows}
        self.model.rows = [row for row in self.model.rows if partition(self.whole(row)) not in gone]
        self.added(rows)
        self.committed(self.table.overwrite(table, partition_overwrite="dynamic"))

    @precondition(lambda self: self.model.rows)
    @rule(data=st.data())
    def overwrite_where(self, data: st.DataObject) -> None:
        condition = self.draw_condition(data)
        rows, table = self.draw_rows(data, self.model.columns)
        fits = [condition.holds(self.model.stored(row)) for row in rows]
        table = table.filter(pa.array(fits, pa.bool_()))
        self.model.rows = [row for row in self.model.rows if not condition.holds(self.whole(row))]
        self.added([row for row, fit in zip(rows, fits, strict=True) if fit])
        self.committed(self.table.overwrite(table, predicate=condition.tuples))

    @precondition(lambda self: self.model.rows)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        condition = self.draw_condition(data)
        gone = self.keys_where(condition)
        deleted = self.table.delete(condition.tuples)["num_deleted_rows"]
        # What goes with its whole file isn't counted.
        assert deleted is None or deleted <= len(gone)
        self.model.rows = [row for row in self.model.rows if row[KEY] not in gone]
        self.changed()

    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        version = data.draw(st.sampled_from(sorted(self.model.versions)))
        columns, rows = self.model.versions[version]
        self.table.restore(version)
        self.model.columns, self.model.rows = list(columns), list(rows)
        self.changed()

    @rule()
    def compact(self) -> None:
        self.table.optimize.compact()
        self.changed()

    @rule(name=st.sampled_from(["delta.logRetentionDuration", "a.b'c"]), days=st.integers(1, 3))
    def set_property(self, name: str, days: int) -> None:
        self.table.alter.set_table_properties({name: f"interval {days} days"})
        self.changed()
        assert self.table.metadata.configuration[name] == f"interval {days} days"

    @rule()
    def checkpoint(self) -> None:
        self.table.create_checkpoint()

    @rule()
    def clean_up(self) -> None:
        """A checkpoint, and the log before it expires, as it would two days later."""
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(checkpoints, "cutoff", lambda now, retention: now + 1)
            self.table.create_checkpoint()
        names = [p.name for p in (self.place / "_delta_log").glob("*.json")]
        first = min(int(name[:20]) for name in names if name[:20].isdigit())
        if first > 0:
            event("the log was cleaned")
            self.first_readable = max(self.model.versions)

    @rule(authority=st.sampled_from(["log", "sql", "fence"]))
    def hand_over(self, authority: Any) -> None:
        before = self.table.refresh().version
        self.table.set_authority(authority)
        self.authority = authority
        for version in range(before + 1, self.table.refresh().version + 1):
            self.model.committed(version)

    @precondition(lambda self: self.authority == "log" and not self.mapped and self.delta_rs_reads)
    @rule(data=st.data())
    def append_by_delta_rs(self, data: st.DataObject) -> None:
        """A file-based writer's commit, which the next one of ours adopts."""
        rows, table = self.draw_rows(data, self.model.columns)
        # It makes a folder of each partition's value, however long that is.
        assume(all(len(str(row.get(p))) < 200 for row in rows for p in self.model.partition_by))
        newest = deltalake.DeltaTable(str(self.place)).version()
        deltalake.write_deltalake(str(self.place), table, mode="append")
        # Without rows it commits nothing, nor do we.
        if deltalake.DeltaTable(str(self.place)).version() > newest:
            event("adopted from delta-rs")
            self.added(rows)
            self.model.committed(newest + 1)
        ours, table = self.draw_rows(data, self.model.columns, at_least=1)
        self.added(ours)
        self.committed(self.table.append(table))

    @rule()
    def open_anew(self) -> None:
        self.table.close()
        self.table = dl.connect_to_table(self.uri, cache=False)

    @precondition(lambda self: self.model.rows)
    @rule(data=st.data())
    def read_where(self, data: st.DataObject) -> None:
        condition = self.draw_condition(data)
        expected = [r for r in self.expected() if r[KEY] in self.keys_where(condition)]
        snapshot = self.table.snapshot()
        assert rows_of(snapshot.to_pyarrow_table(condition.tuples)) == expected
        if condition.column in (KEY, "s"):
            assert rows_of(snapshot.to_pyarrow_table(condition.sql)) == expected
            if self.delta_rs_reads:
                assert by_delta_rs(self.published(), where=condition.sql) == expected

    @rule(data=st.data())
    def read_an_earlier_version(self, data: st.DataObject) -> None:
        version = data.draw(st.sampled_from(sorted(self.model.versions)))
        found = self.table.snapshot(version).to_pyarrow_table()
        assert rows_of(found) == self.model.at(version)

    # -- the model's side

    def draw_rows(
        self, data: st.DataObject, columns: list[str], at_least: int = 0
    ) -> tuple[list[Row], pa.Table]:
        rows = []
        # Few partitions, so that they meet again.
        known = [
            {p: row[p] for p in self.model.partition_by if p in row} for row in self.model.rows
        ]
        for _ in range(data.draw(st.integers(at_least, 3))):
            values = {c: st.none() | KINDS[c].values for c in columns if c != KEY}
            row = {KEY: self.next_key} | data.draw(st.fixed_dictionaries(values))
            if known and data.draw(st.booleans()):
                row |= data.draw(st.sampled_from(known))
            rows.append(row)
            self.next_key += 1
        note(f"rows {rows}")
        return rows, pa.Table.from_pylist(rows, schema_of(columns))

    def draw_condition(self, data: st.DataObject) -> Condition:
        scalar = [c for c in self.model.columns if c == KEY or KINDS[c].partition]
        name = data.draw(st.sampled_from(scalar))
        seen = [v for row in self.model.rows if (v := row.get(name)) is not None]
        kinds = st.integers(-1, self.next_key) if name == KEY else KINDS[name].values
        if name in self.model.partition_by:
            # What no partition can have is null, and can't be ordered.
            kinds = kinds.filter(lambda value: value != "")
        values = st.sampled_from(seen) | kinds if seen else kinds
        operator = data.draw(st.sampled_from([*OPERATORS, "null"]))
        return Condition(name, operator, None if operator == "null" else data.draw(values))

    def whole(self, row: Row) -> Row:
        return dict.fromkeys(self.model.columns) | row

    def added(self, rows: list[Row]) -> None:
        self.model.rows = self.model.rows + [self.model.stored(row) for row in rows]

    def keys_where(self, condition: Condition) -> set[int]:
        return {row[KEY] for row in self.model.rows if condition.holds(self.whole(row))}

    def committed(self, done: dl.WriteResult) -> None:
        newest = max(self.model.versions)
        assert done.version in (newest, newest + 1)
        assert done.published
        self.model.committed(done.version)
        assert rows_of(self.table.snapshot().to_pyarrow_table()) == self.expected()

    def changed(self) -> None:
        """After an operation that doesn't return its version, and may have made none or more."""
        newest = max(self.model.versions)
        for version in range(newest + 1, self.table.refresh().version + 1):
            self.model.committed(version)
        assert rows_of(self.table.snapshot().to_pyarrow_table()) == self.expected()

    def expected(self) -> list[Row]:
        return self.model.at(max(self.model.versions))

    # -- what others read

    def published(self) -> Path:
        complete_log(self.table.refresh())
        return self.place

    def check_at_the_end(self) -> None:
        place = self.published()
        newest = max(self.model.versions)
        assert self.table.version == newest
        readable = [v for v in self.model.versions if v >= self.first_readable]
        for version in {readable[len(readable) // 2], newest}:
            expected = self.model.at(version)
            assert rows_of(self.table.snapshot(version).to_pyarrow_table()) == expected
            assert not self.delta_rs_reads or by_delta_rs(place, version) == expected
        self.check_more(readable)
        # Polars takes a text that looks like null's folder for null.
        odd = any(
            row.get(p) == "__HIVE_DEFAULT_PARTITION__"
            for row in self.model.rows
            for p in self.model.partition_by
        )
        found = by_polars(place) if self.delta_rs_reads and not odd else None
        assert found is None or found == self.expected()
        event(f"read by Polars: {found is not None}")
        report = dl.diff_table("ns.t", database=self.database)
        assert report.parity, report
        assert report.exit_code == 0

    def check_more(self, readable: list[int]) -> None:
        """What other machines have to look at; `readable`: versions."""

    def teardown(self) -> None:
        keep = False
        try:
            # What a step has found isn't hidden by what follows from it.
            if sys.exc_info()[0] is None and hasattr(self, "model"):
                self.check_at_the_end()
                keep = self.run.keep
        finally:
            if hasattr(self, "table"):
                tend.forget(self.table._catalog.reader.url, self.table._head.row)
                self.table.close()
            if keep:
                schema = schema_of(self.model.columns)
                self.run.kept.append(Kept(self.place, self.expected(), schema, self.feeds))
            else:
                shutil.rmtree(self.folder)
