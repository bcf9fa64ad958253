"""What this process counts and times for Prometheus, whoever asks for it.

Counting needs no client of Prometheus. A program that has one registers `Measures()` with a
registry of its own, and gets all of `NAMES`; the jobs do so with theirs.
"""

from __future__ import annotations

import bisect
from collections.abc import Collection, Iterator
from typing import Any

from deltalakedb import fork

COMMIT_SECONDS = "dl_commit_duration_seconds"
COMMIT_CONFLICTS = "dl_commit_conflicts_total"
IMPORT_ACTIONS = "dl_import_actions_total"
CACHE_REQUESTS = "dl_cache_requests_total"
FREEZE_SECONDS = "dl_migration_freeze_seconds"

_COUNTERS = {
    COMMIT_CONFLICTS: ("kind", "Commits that were refused, by the rule that refused them."),
    IMPORT_ACTIONS: ("action", "Actions that imports have read."),
    CACHE_REQUESTS: ("result", "Lists of files that were looked for in the local cache."),
}
_HISTOGRAMS = {
    COMMIT_SECONDS: "Seconds from the beginning of a commit to its acknowledgement.",
    FREEZE_SECONDS: "Seconds for which a cutover has let nobody write.",
}
NAMES = (*_COUNTERS, *_HISTOGRAMS)
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds up to which a histogram counts; the last class is without an end."""

_lock = fork.Lock()
_counts: dict[tuple[str, str], float] = {}
_classes: dict[str, list[int]] = {}
_sums: dict[str, float] = {}


def count(name: str, label: str, by: float = 1) -> None:
    """So many more of a counter, under the value of its one label."""
    with _lock:
        _counts[name, label] = _counts.get((name, label), 0) + by


def observe(name: str, seconds: float) -> None:
    """One more duration of a histogram."""
    with _lock:
        classes = _classes.setdefault(name, [0] * (len(BOUNDS) + 1))
        classes[bisect.bisect_left(BOUNDS, seconds)] += 1
        _sums[name] = _sums.get(name, 0.0) + seconds


class Measures:
    """A collector for a registry of prometheus_client: what this process has counted so far.

    `without`: names that somebody else tells that registry.
    """

    def __init__(self, without: Collection[str] = ()) -> None:
        self._without = frozenset(without)

    def describe(self) -> Iterator[Any]:
        """The metrics without values, by which a registry sees names that stand twice."""
        return self.collect()

    def collect(self) -> Iterator[Any]:
        """Every metric of NAMES, also those that have counted nothing yet."""
        for metric in self._all():
            # A counter's own name goes without its ending.
            if not self._without & {metric.name, f"{metric.name}_total"}:
                yield metric

    def _all(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        with _lock:
            counts, sums = dict(_counts), dict(_sums)
            classes = {name: list(found) for name, found in _classes.items()}
        for name, (label, text) in _COUNTERS.items():
            counter = CounterMetricFamily(name.removesuffix("_total"), text, labels=[label])
            for (of, value), number in sorted(counts.items()):
                if of == name:
                    counter.add_metric([value], number)
            yield counter
        for name, text in _HISTOGRAMS.items():
            buckets, below = [], 0
            found = classes.get(name, [0] * (len(BOUNDS) + 1))
            for bound, number in zip((*BOUNDS, float("inf")), found, strict=True):
                below += number
                buckets.append(("+Inf" if bound == float("inf") else str(bound), float(below)))
            histogram = HistogramMetricFamily(name, text)
            histogram.add_metric([], buckets, sums.get(name, 0.0))
            yield histogram
