"""What workers must have before work begins: versions, imports, variables, what they must reach."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

PACKAGES = ("deltalakedb", "distributed", "dask", "pyarrow", "numpy")
"""Packages whose versions must be the client's: values of theirs travel."""


class Probe(NamedTuple):
    """Something that a worker must reach: its name for people, and a call that raises if not."""

    name: str
    reach: Callable[[Any], None]
    argument: Any


def check_workers(
    client: Any,
    *,
    imports: Sequence[str] = (),
    variables: Sequence[str] = (),
    probes: Sequence[Probe] = (),
) -> None:
    """Ask each worker of a `distributed.Client`, at once.

    `imports`: modules; `variables`: names of environment variables. Raises CLUSTER_ERROR that names
    the first worker that isn't fit and what it lacks; the fact `faults` has all of it.
    """
    mine = versions()
    answers: Mapping[str, tuple[dict[str, str], list[str]]] = client.run(
        _answer, tuple(imports), tuple(variables), tuple(probes)
    )
    for worker, (theirs, lacks) in sorted(answers.items()):
        faults = [
            f"it has {name} {theirs.get(name, 'not at all')}, here it is {mine.get(name)}"
            for name in PACKAGES
            if theirs.get(name) != mine.get(name)
        ]
        faults += lacks
        if faults:
            raise DeltaLakeError(
                DeltaLakeErrorKind.CLUSTER_ERROR,
                f"worker {worker} is not fit for this work: {faults[0]}; mend it (or its image) "
                "and start the cluster again",
                worker=worker,
                faults=faults,
            )


def versions() -> dict[str, str]:
    """The versions of `PACKAGES` in this process."""
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed


def _answer(
    imports: tuple[str, ...], variables: tuple[str, ...], probes: tuple[Probe, ...]
) -> tuple[dict[str, str], list[str]]:
    faults = []
    for name in imports:
        try:
            importlib.import_module(name)
        except ImportError as error:
            faults.append(f"it can't import {name} ({error})")
    faults += [f"it lacks the variable {name}" for name in variables if name not in os.environ]
    for probe in probes:
        try:
            probe.reach(probe.argument)
        except DeltaLakeError as error:
            faults.append(f"it doesn't reach {probe.name} ({error.message})")
    return versions(), faults
