"""A run's metrics: a registry of its own, written for node_exporter or pushed to a gateway."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from deltalakedb import __version__
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.redact import redact
from jobs.outcome import DONE, Summary

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

PUSH_SECONDS = 10


def registry_of(summary: Summary) -> CollectorRegistry:
    """What a run says of itself and its tables. Labels: the job, and each table by its name."""
    from prometheus_client import CollectorRegistry, Gauge

    registry = CollectorRegistry()
    job = ("job_name",)
    Gauge("dl_build_info", "The version that ran.", ("version",), registry=registry).labels(
        __version__
    ).set(1)
    Gauge("dl_job_exit_code", "The exit code of the run.", job, registry=registry).labels(
        summary.job
    ).set(summary.code)
    Gauge("dl_job_duration_seconds", "How long the run took.", job, registry=registry).labels(
        summary.job
    ).set(time.time() - summary.started)
    if summary.code == DONE:
        Gauge(
            "dl_job_last_success_timestamp_seconds",
            "When the run ended; only runs that succeeded say it.",
            job,
            registry=registry,
        ).labels(summary.job).set_to_current_time()
    ended = Gauge(
        "dl_job_tables", "Tables by what became of them.", ("job_name", "status"), registry=registry
    )
    for status in sorted({o.status for o in summary.outcomes}):
        count = sum(o.status == status for o in summary.outcomes)
        ended.labels(summary.job, status).set(count)
    ended.labels(summary.job, "left").set(len(summary.left))
    if summary.job == "parity_sweep":
        _prove(summary, registry)
    return registry


def _prove(summary: Summary, registry: CollectorRegistry) -> None:
    from prometheus_client import Gauge

    verified = Gauge(
        "dl_parity_last_verified_timestamp_seconds",
        "When catalog and log of a table were last found equal.",
        ("table",),
        registry=registry,
    )
    drift = Gauge(
        "dl_file_drift_count",
        "Files that catalog and log list differently.",
        ("table",),
        registry=registry,
    )
    lag = Gauge(
        "dl_mirror_lag_seconds",
        "Seconds since the first version that one side lacks was committed.",
        ("table",),
        registry=registry,
    )
    for outcome in summary.outcomes:
        if outcome.code == DONE:
            verified.labels(outcome.table).set_to_current_time()
        if "file_drift" in outcome.facts:
            drift.labels(outcome.table).set(outcome.facts["file_drift"])
            lag.labels(outcome.table).set(outcome.facts["lag_seconds"])


def write_textfile(path: str, registry: CollectorRegistry) -> None:
    """For node_exporter's textfile collector; the file is replaced at once."""
    from prometheus_client import write_to_textfile

    write_to_textfile(path, registry)


def push(gateway: str, summary: Summary, registry: CollectorRegistry) -> None:
    """To a pushgateway, grouped by the job. Raises STORAGE_ERROR when it doesn't take them."""
    from prometheus_client import pushadd_to_gateway

    try:
        pushadd_to_gateway(gateway, job=summary.job, registry=registry, timeout=PUSH_SECONDS)
    except OSError as error:
        raise DeltaLakeError(
            DeltaLakeErrorKind.STORAGE_ERROR,
            f"the pushgateway at {redact(gateway)} does not take the metrics: {error}",
        ) from error
