"""The rows of a commit, made in either of two ways."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deltalakedb.commit import prepared
from deltalakedb.commit.staged import no_files
from deltalakedb.log.action_tables import file_rows
from deltalakedb.log.commit_writer import add_body, add_lines
from deltalakedb.log.few_files import FewFiles
from tests.log.test_stats_keys import COLUMNS, batch


def adds_of(stats: list[str | None]) -> pa.Table:
    bodies: list[dict[str, Any]] = [
        add_body(
            f"part-{number}.parquet",
            {"p": str(number % 3)},
            number,
            number,
            data_change=number % 2 == 0,
            stats=text,
            tags={"a": "b"} if number % 4 == 1 else None,
        )
        for number, text in enumerate(stats)
    ]
    few = FewFiles.of(bodies)
    rows = file_rows(bodies)
    assert few.table.equals(rows)
    assert few.num_rows == rows.num_rows
    assert b"".join(add_lines(few)) == b"".join(add_lines(rows))
    return rows


@given(st.integers(0, 2**32), st.integers(0, 16), st.floats(0, 0.5), st.floats(0, 0.3))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_without_arrow(
    monkeypatch: pytest.MonkeyPatch, seed: int, rows: int, oddity: float, damage: float
) -> None:
    """Rows of few files are those that the general way gives."""
    adds = adds_of(batch(seed, 2, rows, oddity, damage))
    skipping = json.dumps([column.to_json() for column in COLUMNS[: seed % 9]])
    few = prepared.prepare(adds, no_files(), True, skipping)
    lists = FewFiles({name: adds.column(name).to_pylist() for name in adds.column_names})
    assert few == prepared.prepare(lists, no_files(), True, skipping)
    with monkeypatch.context() as patched:
        patched.setattr(prepared, "MOST_FILES", -1)
        assert few == prepared.prepare(adds, no_files(), True, skipping)
