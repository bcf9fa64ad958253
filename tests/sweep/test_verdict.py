"""What is said of a night as a whole, and of one that nothing was asked of."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from deltalakedb.cli.app import app
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.sweep.verdict import verdict_of
from jobs.catalogued import tables_of
from tests.fleet.logs import fleet_of
from tests.sweep.test_sweep import imported


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({}, "There was no table to look at."),
        ({"verified": 1}, "The one table says what its log says."),
        ({"verified": 1200}, "All 1,200 tables say what their logs say."),
        (
            {"drift": 1, "lag": 2, "stale": 1, "verified": 1},
            "Of 5 tables, 1 differs from its log, 2 lag behind, 1 was not looked at; "
            "1 says what its log says.",
        ),
        (
            {"drift": 2, "failed": 1},
            "Of 3 tables, 2 differ from their logs, 1 couldn't be looked at; "
            "0 say what their logs say.",
        ),
    ],
)
def test_one_table_is_told_of_as_one(counts: dict[str, int], said: str) -> None:
    assert verdict_of(counts) == said


def test_patterns_that_no_table_is_like_are_no_success(
    tmp_path: Path,
) -> None:
    database = str(tmp_path / "m.sqlite")
    fleet_of(tmp_path / "lake", 1)
    imported(tmp_path / "lake", database)
    assert [row.name for row in tables_of(database, ["t0*", "u*"])] == ["t000"]
    with pytest.raises(DeltaLakeError, match="no table of the catalog is like 'u\\*'") as wrong:
        tables_of(database, ["u*"])
    assert wrong.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT
    result = CliRunner().invoke(app, ["sweep", "u*", "--database", database])
    assert (result.exit_code, "is like 'u*'" in result.output) == (1, True)
