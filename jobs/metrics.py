"""A run's metrics: a registry of its own, written for node_exporter or pushed to a gateway."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deltalakedb import __version__
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.measures import IMPORT_ACTIONS, Measures
from deltalakedb.redact import redact
from jobs.outcome import DONE, DRIFT, FAILED, Summary
from jobs.standing import NOTHING, Standing

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

PUSH_SECONDS = 10


def registry_of(summary: Summary, standing: Standing = NOTHING) -> CollectorRegistry:
    """What a run says of itself and its tables. Labels: the job, and each table by its id.

    `standing`: what the catalog remembers, of which each job tells its part.
    """
    from prometheus_client import CollectorRegistry, Gauge

    registry = CollectorRegistry()
    registry.register(Measures(without=(IMPORT_ACTIONS,)))
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
    _of_imports(summary, registry)
    _of_tables(summary, standing, registry)
    _of_standing(summary.job, standing, registry)
    return registry


def _of_imports(summary: Summary, registry: CollectorRegistry) -> None:
    """What was read, by what each table says: its workers have counted for themselves."""
    from prometheus_client import Counter

    if summary.job not in ("migrate", "import_tables", "history_replay"):
        return
    read = Counter(IMPORT_ACTIONS, "Actions that the run has read.", ("action",), registry=registry)
    for action in ("add", "remove"):
        read.labels(action).inc(sum(o.facts.get(f"{action}s") or 0 for o in summary.outcomes))


def _of_standing(job: str, standing: Standing, registry: CollectorRegistry) -> None:
    from prometheus_client import Counter, Gauge

    of = ("table_id",)
    if job == "mirror_drain":
        size = Gauge("dl_mirror_outbox_size", "Versions that wait.", of, registry=registry)
        oldest = Gauge(
            "dl_mirror_oldest_unpublished_seconds",
            "How long the oldest version that isn't durable in its log has waited.",
            of,
            registry=registry,
        )
        for table_id, count in standing.outbox.items():
            size.labels(table_id).set(count)
            oldest.labels(table_id).set(standing.unpublished[table_id])
    if job in ("migrate", "parity_sweep"):
        tries = Counter(
            "dl_cutover_attempts_total",
            "Tries to put a fence up, by how they ended.",
            ("outcome",),
            registry=registry,
        )
        for outcome in ("fenced", "lost", "failed"):
            tries.labels(outcome).inc(standing.cutovers.get(outcome, 0))
        passed = Counter(
            "dl_fence_bypass_total",
            "Commits of writers that have passed a fence.",
            of,
            registry=registry,
        )
        for table_id, count in standing.bypassed.items():
            passed.labels(table_id).inc(count)


_STATES = dict.fromkeys(("imported", "caught_up", "unchanged"), "following")
_GAUGES = {
    "dl_file_drift_count": (
        "Files that catalog and log list differently.",
        "file_drift",
    ),
    "dl_mirror_lag_seconds": (
        "Seconds since the first version that one side lacks was committed.",
        "lag_seconds",
    ),
    "dl_table_drift": ("1 if catalog, log or data files of a table don't agree.", "drifts"),
    "dl_table_stale": (
        "1 if the last sweep didn't come to a table, or couldn't look at it.",
        "stale",
    ),
    "dl_parity_last_verified_timestamp_seconds": (
        "When catalog and log of a table were last found equal; 0 for never.",
        "proven_at_seconds",
    ),
}


def _of_tables(summary: Summary, standing: Standing, registry: CollectorRegistry) -> None:
    """Series by `table_id` alone, so that a rename makes no new ones; dl_table_info has names."""
    from prometheus_client import Gauge

    of = ("table_id",)
    known = {str(f["table_id"]): (o, f) for o in summary.outcomes if "table_id" in (f := o.facts)}
    names = {table_id: outcome.table for table_id, (outcome, _) in known.items()}
    names |= {str(facts["table_id"]): table for table, facts in summary.left_facts.items()}
    of_job = standing.outbox if summary.job == "mirror_drain" else standing.bypassed
    names |= {table_id: name for table_id, name in standing.names.items() if table_id in of_job}
    if not names:
        return
    info = Gauge("dl_table_info", "The name of a table.", (*of, "table"), registry=registry)
    for table_id, name in names.items():
        info.labels(table_id, name).set(1)
    if summary.job == "migrate":
        state = Gauge(
            "dl_migration_state",
            "1 for what a table has come to: followed, or the state that its strategy has reached.",
            (*of, "state"),
            registry=registry,
        )
        for table_id, (outcome, _) in known.items():
            state.labels(table_id, _STATES.get(outcome.status, outcome.status)).set(1)
    if summary.job == "parity_sweep":
        gauges = {
            name: (Gauge(name, text, of, registry=registry), fact)
            for name, (text, fact) in _GAUGES.items()
        }
        looked = [(i, _told(facts, outcome.code)) for i, (outcome, facts) in known.items()]
        left = [(str(f["table_id"]), _told(f, None)) for f in summary.left_facts.values()]
        for table_id, told in (*looked, *left):
            for gauge, fact in gauges.values():
                if (value := told[fact]) is not None:
                    gauge.labels(table_id).set(value)
        complete = summary.ended is None and not summary.left
        if complete and all(o.code != FAILED for o in summary.outcomes):
            Gauge(
                "dl_sweep_last_success_timestamp_seconds",
                "When a sweep last looked at all its tables, whatever it found.",
                registry=registry,
            ).set_to_current_time()


def _told(facts: Mapping[str, Any], code: int | None) -> dict[str, float | None]:
    """What is said of a table; `code`: how its look ended, None where there was none.

    Of one that wasn't looked at, what is known from before: its proof ages on, its drift stays.
    None for what isn't known.
    """
    looked = code not in (None, FAILED)
    drifts = code == DRIFT if looked else bool(facts.get("drifted_before"))
    return {
        "file_drift": facts["file_drift"] if looked else None,
        "lag_seconds": facts["lag_seconds"] if looked else None,
        "drifts": float(drifts) if looked or drifts else None,
        "stale": float(not looked),
        "proven_at_seconds": (facts["proven_at"] or 0) / 1000,
    }


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
