"""Spans: one trace over a cluster, errors without secrets, and nothing without OpenTelemetry."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from distributed import Client, LocalCluster

import deltalakedb as dl
from deltalakedb import tracing
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.migrate.fleet import migrate_fleet
from deltalakedb.migrate.move import move_table
from deltalakedb.migrate.options import MoveOptions
from deltalakedb.migrate.sources import Sources
from deltalakedb.sweep.run import sweep
from tests.fleet.logs import write_log

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

ROWS = pa.table({"id": [1, 2, 3]})


@pytest.fixture(scope="module")
def kept() -> Iterator[InMemorySpanExporter]:
    """What this process's spans are given to, as long as it uses OpenTelemetry."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    yield exporter
    provider.shutdown()
    # The tests that follow in this process are without it.
    del sys.modules["opentelemetry.trace"]


@pytest.fixture
def spans(kept: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    kept.clear()
    yield kept
    kept.clear()


def named(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name == name]


def trace_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.trace_id


def test_each_thing_that_is_done_has_its_span(spans: InMemorySpanExporter, tmp_path: Path) -> None:
    database = str(tmp_path / "m.sqlite")
    write_deltalake(str(tmp_path / "t"), ROWS)
    done = move_table(str(tmp_path / "t"), database=database, options=MoveOptions(until="sql"))
    assert done.success
    from opentelemetry import trace

    with trace.get_tracer("test").start_as_current_span("nightly job"):
        table = dl.connect_to_table(f"deltasql://sqlite:///{database}?table=t")
        table.append(ROWS)
        assert table.snapshot().plan("id = 1").num_rows
        assert sweep(database).exit_code == 0
        table.close()
    names = {span.name for span in spans.get_finished_spans()}
    assert {"dl.move", "dl.import", "dl.load", "dl.swap", "dl.diff", "dl.cutover"} <= names
    [job] = named(spans, "nightly job")
    for name in ("dl.commit", "dl.publish", "dl.plan", "dl.sweep", "dl.look"):
        assert trace_of(job) in {trace_of(span) for span in named(spans, name)}, name
    [commit] = [s for s in named(spans, "dl.commit") if trace_of(s) == trace_of(job)]
    assert commit.attributes is not None
    assert (commit.attributes["dl.table"], commit.attributes["dl.version"]) == ("t", 2)


def test_a_cluster_goes_on_with_the_trace(spans: InMemorySpanExporter, tmp_path: Path) -> None:
    """Its workers are threads here, so that their spans end up in the same list."""
    for name in ("a", "b"):
        write_log(tmp_path / "lake" / name, 2)
    entries = Sources(discover=(str(tmp_path / "lake"),)).entries({})
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        report = migrate_fleet(
            entries,
            str(tmp_path / "m.sqlite"),
            client=lambda: nullcontext((client, None)),
        )
    assert report.exit_code == 0
    [whole] = named(spans, "dl.migrate")
    parts = named(spans, "dl.import_batch")
    assert parts
    for part in parts:
        assert trace_of(part) == trace_of(whole)
        assert part.parent is not None


def test_an_error_ends_its_span_without_secrets(spans: InMemorySpanExporter) -> None:
    from opentelemetry.trace import StatusCode

    error = DeltaLakeError(
        DeltaLakeErrorKind.STORAGE_ERROR, "no answer from postgresql://me:hunter2@db/c"
    )
    error.__cause__ = OSError("postgresql://me:hunter2@db/catalog")
    with pytest.raises(DeltaLakeError), tracing.span("step", table="t", version=None):
        raise error
    [span] = named(spans, "dl.step")
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes == {"dl.table": "t", "error.type": "storage_error"}
    assert "hunter2" not in span.to_json()


def test_without_opentelemetry_nothing_of_it_is_loaded(tmp_path: Path) -> None:
    write_deltalake(str(tmp_path / "t"), ROWS)
    program = f"""
import sys
import deltalakedb as dl
from deltalakedb import tracing
dl.import_table({str(tmp_path / "t")!r}, database={str(tmp_path / "m.sqlite")!r})
assert tracing.span("a") is tracing.span("b")
assert tracing.carried(len) is len
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
