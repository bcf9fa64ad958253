"""What is logged: fields, times, failures, and no secrets, by whichever handler."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pyarrow as pa
import pytest
from deltalake import write_deltalake

import deltalakedb as dl
from deltalakedb import logs
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.migrate.move import move_table
from deltalakedb.migrate.steps import MOVE_POINTS
from tests.tables import samples

LOG = logging.getLogger("deltalakedb.of_a_test")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """Where JSON lines of all levels go meanwhile."""
    logger = logging.getLogger(logs.ROOT)
    before, level = list(logger.handlers), logger.level
    logs.configure("DEBUG", file=str(tmp_path / "dl.log"), structured=True)
    yield tmp_path / "dl.log"
    for handler in [h for h in logger.handlers if h not in before]:
        logger.removeHandler(handler)
        handler.close()
    logger.setLevel(level)


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_step_tells_how_long_it_took(file: Path) -> None:
    with logs.timed(LOG, "load", table="sales", run_id=None) as facts:
        facts["version"] = 7
    [line] = lines(file)
    assert datetime.fromisoformat(str(line["ts"])).utcoffset() is not None
    assert (line["level"], line["event"], line["step"]) == ("info", "load", "load")
    assert (line["table"], line["version"]) == ("sales", 7)
    assert "run_id" not in line
    assert isinstance(line["duration_s"], float)


def test_a_step_that_fails_tells_why(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = "postgresql://u:hidden@h/d"
    with pytest.raises(DeltaLakeError), logs.timed(LOG, "load", table=url):
        raise DeltaLakeError(DeltaLakeErrorKind.NOT_FOUND, f"no {url}")
    with pytest.raises(ValueError, match="hidden"), logs.timed(LOG, "load"):
        raise ValueError(f"password=hidden at {url}")
    first, second = lines(file)
    assert (first["level"], first["error_kind"]) == ("error", "not_found")
    assert second["error_kind"] == "ValueError"
    assert "hidden" not in file.read_text()
    # A program's own handlers see no more than ours.
    assert "hidden" not in caplog.text
    assert all("hidden" not in str(vars(record)) for record in caplog.records)


def test_a_traceback_is_redacted(file: Path) -> None:
    try:
        raise ValueError("password=hidden")
    except ValueError:
        LOG.exception("went wrong at %s", "postgresql://u:hidden@h/d")
    [line] = lines(file)
    assert "ValueError" in str(line["traceback"])
    assert "hidden" not in file.read_text()


def test_a_trace_is_named_where_there_is_one(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = ModuleType("opentelemetry.trace")
    context = SimpleNamespace(is_valid=True, trace_id=0xABC)
    span = SimpleNamespace(get_span_context=lambda: context)
    trace.get_current_span = lambda: span  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", trace)
    logs.note(LOG, logging.INFO, "traced")
    assert lines(file)[0]["trace_id"] == f"{0xABC:032x}"


def test_a_file_that_is_moved_away_is_made_anew(file: Path) -> None:
    logs.note(LOG, logging.INFO, "first")
    os.rename(file, file.with_suffix(".1"))
    logs.note(LOG, logging.INFO, "second")
    assert [line["event"] for line in lines(file)] == ["second"]


def test_a_migration_is_logged_step_by_step(file: Path, tmp_path: Path) -> None:
    folder = str(tmp_path / "sales")
    write_deltalake(folder, pa.table({"id": [1]}))
    database = str(tmp_path / "meta.sqlite")
    moved = move_table(folder, database=database)
    told = [line for line in lines(file) if str(line["event"]).startswith("migration: ")]
    assert [line["step"] for line in told] == list(MOVE_POINTS)
    assert {line["table"] for line in told} == {"sales"}
    assert told[-1]["table_id"] == moved.migration.table_id
    fence = next(line for line in told if line["step"] == "fenced")
    assert fence["version"] == moved.migration.fence_version
    dl.DeltaTableMigrator(folder, database).rollback("sales")
    assert lines(file)[-1]["step"] == "rolled-back"

    def fail(point: str, facts: object) -> None:
        raise DeltaLakeError(DeltaLakeErrorKind.INTERRUPTED, "enough, password=hidden")

    with pytest.raises(DeltaLakeError):
        move_table(folder, database=database, on=fail)
    failed = lines(file)[-1]
    assert (failed["level"], failed["error_kind"]) == ("error", "interrupted")
    assert "hidden" not in file.read_text()


def test_what_a_table_goes_through_is_logged(file: Path, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'meta.sqlite'}"
    folder = samples.copy("dat-basic_partitioned", tmp_path).rename(tmp_path / "sales")
    found = dl.import_table(str(folder), database=database)
    dl.diff_table("sales", database=database)
    table = dl.connect_to_table(f"deltasql://{database}?table=sales")
    version = table.write(table.to_pyarrow_table().slice(0, 1), mode="append").version
    told = lines(file)
    assert [line["step"] for line in told] == ["import", "diff", "commit"]
    assert [line["level"] for line in told] == ["info", "info", "debug"]
    assert [line["version"] for line in told] == [found.to_version, found.to_version, version]
    assert {line["table_id"] for line in told} == {found.table_id}
    with pytest.raises(DeltaLakeError):
        dl.import_table(str(folder), database=database, table_id=found.table_id, table_name="b")
    assert lines(file)[-1]["error_kind"] == "invalid_argument"
