"""Identity columns: what a schema says of them. PROTOCOL.md, "Identity Columns"."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import IDENTITY_PREFIX, StructType, parse_schema

HIGH_WATER_MARK = f"{IDENTITY_PREFIX}highWaterMark"


@dataclass(frozen=True)
class IdentityColumn:
    """A column whose values are `start`, `start + step` … where none are given.

    `mark`: the last one that was given, None where none was. `place`: among the columns.
    `explicit`: whether values may be given.
    """

    name: str
    place: int
    start: int
    step: int
    mark: int | None
    explicit: bool

    def furthest(self, marks: Iterable[int | None]) -> int | None:
        """The last in the direction of the steps, this column's own mark included."""
        known = [mark for mark in (*marks, self.mark) if mark is not None]
        return max(known, key=lambda mark: mark * self.step) if known else None

    def following(self, mark: int | None) -> int:
        """The first number beyond a mark."""
        if mark is None:
            return self.start
        return self.start + max((mark - self.start) // self.step + 1, 0) * self.step


def identity_columns(schema: StructType) -> list[IdentityColumn]:
    """The identity columns of a table. INVALID_LOG for one whose numbers make no sense."""
    found = []
    for place, field in enumerate(schema.fields):
        said = {
            key.removeprefix(IDENTITY_PREFIX): value
            for key, value in field.metadata.items()
            if key.startswith(IDENTITY_PREFIX)
        }
        if not said:
            continue
        start, step, mark = (
            said.get(n, d) for n, d in (("start", 1), ("step", 1), ("highWaterMark", None))
        )
        if not isinstance(start, int) or not isinstance(step, int) or step == 0:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_LOG,
                f"the identity column {field.name} starts at {start!r} and goes by {step!r}, which "
                "can't be; correct the table's schema",
                column=field.name,
            )
        explicit = said.get("allowExplicitInsert") is True
        known = mark if isinstance(mark, int) else None
        found.append(IdentityColumn(field.name, place, start, step, known, explicit))
    return found


def with_marks(schema: str, marks: Iterable[tuple[str, int]]) -> str:
    """A `schemaString` whose identity columns have gone at least as far as (name, mark)."""
    marks = list(marks)
    tree = json.loads(schema)
    fields = {field["name"]: field for field in tree["fields"]}
    changed = False
    for column in identity_columns(parse_schema(schema)):
        mark = column.furthest(mark for name, mark in marks if name == column.name)
        if mark is not None and mark != column.mark:
            fields[column.name]["metadata"][HIGH_WATER_MARK] = mark
            changed = True
    return json.dumps(tree, separators=(",", ":"), ensure_ascii=False) if changed else schema


def marks_of(schema: StructType) -> list[tuple[str, int]]:
    """(name, mark) of each identity column that has given numbers."""
    return [(c.name, c.mark) for c in identity_columns(schema) if c.mark is not None]
