"""The machine that also changes rows: updates, merges, deletion vectors, change data, vacuum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.writing.columns import KEY, KINDS, RENAMED, Row, rows_of, schema_of
from tests.writing.machine import TableMachine

_VECTORS = {"delta.enableDeletionVectors": "true"}
_WIDER = {"i8": "short", "i16": "integer", "i32": "long", "f": "double"}
_FEED_CHECKED = 4
"""Of a machine's versions, so many have their change data compared."""


class ChangingMachine(TableMachine):
    """One table, with all that may be done to it."""

    kinds: ClassVar[Sequence[dict[str, str]]] = (
        _VECTORS | {"delta.enableChangeDataFeed": "true", "delta.checkpointPolicy": "v2"},
        {"delta.enableChangeDataFeed": "true"},
        _VECTORS | {"delta.columnMapping.mode": "name", "delta.enableRowTracking": "true"},
        _VECTORS | {"delta.checkpointPolicy": "v2"},
        _VECTORS | {"delta.enableTypeWidening": "true"},
    )

    @precondition(lambda self: self.model.rows)
    @rule(data=st.data(), value=KINDS["s"].values)
    def update(self, data: st.DataObject, value: Any) -> None:
        condition = self.draw_condition(data)
        keys = self.keys_where(condition)
        self.table.update(new_values={"s": value}, predicate=condition.tuples)
        self.model.rows = [
            self.model.stored(row | {"s": value}) if row[KEY] in keys else row
            for row in self.model.rows
        ]
        self.changed()

    @precondition(lambda self: self.model.rows)
    @rule(data=st.data(), matched=st.integers(0, 2))
    def merge(self, data: st.DataObject, matched: int) -> None:
        """Some rows that are there change as a whole, others come."""
        rows, table = self.draw_rows(data, self.model.columns)
        keys = data.draw(
            st.lists(
                st.sampled_from([row[KEY] for row in self.model.rows]),
                max_size=min(matched, len(rows)),
                unique=True,
            )
        )
        for row, key in zip(rows, keys, strict=False):
            row[KEY] = key
        table = pa.Table.from_pylist(rows, schema_of(self.model.columns))
        merger = self.table.merge(table, f"t.{KEY} = s.{KEY}", source_alias="s", target_alias="t")
        merger.when_matched_update_all().when_not_matched_insert_all().execute()
        self.model.rows = [row for row in self.model.rows if row[KEY] not in keys]
        self.added(rows)
        self.changed()

    @rule(name=st.sampled_from(list(KINDS)))
    def add_column(self, name: str) -> None:
        if name in self.model.columns:
            return
        self.table.alter.add_columns([pa.field(name, KINDS[name].type)])
        self.model.columns = [*self.model.columns, name]
        self.changed()

    @precondition(lambda self: self.mapped and self.others())
    @rule(data=st.data(), how=st.sampled_from(["rename", "drop"]))
    def change_columns(self, data: st.DataObject, how: str) -> None:
        """No file is written for it; a column of that name may come again."""
        name = data.draw(st.sampled_from(self.others()))
        if how == "drop":
            self.table.alter.drop_column(name)
            self.model.columns = [each for each in self.model.columns if each != name]
            self.model.rows = [
                {n: value for n, value in row.items() if n != name} for row in self.model.rows
            ]
        else:
            new = name.removesuffix(RENAMED) if name.endswith(RENAMED) else name + RENAMED
            if new in self.model.columns:
                return
            self.table.alter.rename_column(name, new)
            self.model.columns = [new if each == name else each for each in self.model.columns]
            self.model.rows = [
                {new if n == name else n: value for n, value in row.items()}
                for row in self.model.rows
            ]
        event(f"a column was changed: {how}")
        self.changed()

    @precondition(lambda self: set(self.others()) & set(_WIDER))
    @rule(data=st.data())
    def widen(self, data: st.DataObject) -> None:
        """Values are what they were; narrow ones are still written."""
        if "delta.enableTypeWidening" not in self.properties:
            return
        name = data.draw(st.sampled_from(sorted(set(self.others()) & set(_WIDER))))
        self.table.alter.change_type(name, _WIDER[name])
        event("a column was widened")
        self.changed()

    @rule()
    def constrain(self) -> None:
        """All rows meet it; with the constraint its feature goes."""
        if "delta.constraints.positive" in self.table.refresh().metadata.configuration:
            self.table.alter.drop_constraint("positive")
            self.table.alter.drop_feature("checkConstraints")
            event("a feature was dropped")
        else:
            self.table.alter.add_constraint({"positive": f"{KEY} >= 0"})
        self.changed()

    def others(self) -> list[str]:
        """Columns that may go."""
        return [c for c in self.model.columns if c not in (KEY, "s", *self.model.partition_by)]

    @rule()
    def vacuum(self) -> None:
        """What no newest version needs goes, and older versions with it."""
        self.table.vacuum(0, dry_run=False, enforce_retention_duration=False)
        newest = max(self.model.versions)
        self.model.versions = {newest: self.model.versions[newest]}
        self.first_readable = newest

    @rule(how=st.sampled_from(["purge", "z_order"]))
    def arrange(self, how: str) -> None:
        optimizer = self.table.optimize
        _ = optimizer.purge() if how == "purge" else optimizer.z_order([KEY])
        self.changed()

    def check_more(self, readable: list[int]) -> None:
        """A version's rows are those before it and what its change data says."""
        if "delta.enableChangeDataFeed" not in self.properties:
            return
        for before, after in list(pairwise(sorted(readable)))[-_FEED_CHECKED:]:
            columns, _ = self.model.versions[after]
            if after != before + 1 or columns != self.model.versions[before][0]:
                continue
            event("change data was compared")
            feed = self.table.load_cdf(starting_version=after, ending_version=after).read_all()
            self.feeds[after] = feed
            rows = Counter(map(told, self.model.at(before)))
            for kind, sign in (("delete", -1), ("update_preimage", -1), ("insert", 1),
                               ("update_postimage", 1)):  # fmt: skip
                mine = feed.filter(pc.equal(feed.column("_change_type"), kind))
                for row in rows_of(mine.select(list(columns))):
                    rows[told(row)] += sign
            assert {row: count for row, count in rows.items() if count} == Counter(
                map(told, self.model.at(after))
            )


def told(row: Row) -> str:
    """As text; a moment is told alike whatever its zone is named.

    A partition's day of the ten that the calendar of 1582 left out is ten days later in the change
    data that Spark reads, though not in its rows.
    """
    return str({name: _told(value) for name, value in row.items()})


def _told(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value
    if isinstance(value, date) and date(1582, 10, 5) <= value < date(1582, 10, 15):
        return value + timedelta(days=10)
    return value
