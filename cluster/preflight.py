"""What workers must have before work begins: versions, imports, variables, database, stores."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.executor.secrets import deliver
from deltalakedb.redact import redact
from deltalakedb.secret import Secret
from deltalakedb.storage.spec import StoreSpec

PACKAGES = ("deltalakedb", "distributed", "dask", "pyarrow", "numpy")
"""Packages whose versions must be the client's: values of theirs travel."""


@dataclass(frozen=True)
class _Question:
    imports: tuple[str, ...]
    variables: tuple[str, ...]
    database: Secret | None
    stores: tuple[StoreSpec, ...]


def check_workers(
    client: Any,
    *,
    database: Secret | None = None,
    stores: Sequence[StoreSpec] = (),
    imports: Sequence[str] = (),
    variables: Sequence[str] = (),
) -> None:
    """Ask each worker; raises CLUSTER_ERROR that names a worker and what it lacks.

    Secrets reach the workers first, by the plugin or their own environment, never in the graph.
    """
    secrets = [s for store in stores for s in store.secrets()]
    deliver(client, [*secrets, *([database] if database is not None else [])])
    mine = versions()
    question = _Question(tuple(imports), tuple(variables), database, tuple(stores))
    answers: Mapping[str, tuple[dict[str, str], list[str]]] = client.run(_answer, question)
    for worker, (theirs, faults) in sorted(answers.items()):
        different = [n for n in PACKAGES if theirs.get(n) != mine.get(n)]
        if different:
            name = different[0]
            faults = [f"{name} {theirs.get(name, 'missing')}, not {mine.get(name)}", *faults]
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
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _answer(question: _Question) -> tuple[dict[str, str], list[str]]:
    faults = []
    for name in question.imports:
        try:
            importlib.import_module(name)
        except ImportError as error:
            faults.append(f"it can't import {name} ({error})")
    faults += [f"it lacks the variable {n}" for n in question.variables if n not in os.environ]
    for store in question.stores:
        try:
            next(iter(store.open().list()), None)
        except FileNotFoundError:
            pass
        except DeltaLakeError as error:
            if error.kind is not DeltaLakeErrorKind.NOT_FOUND:
                faults.append(f"it doesn't reach {redact(store.url)} ({error.message})")
    if question.database is not None:
        try:
            _ask(question.database.reveal())
        except DeltaLakeError as error:
            # A catalog that this run is to make isn't there yet.
            if error.kind is not DeltaLakeErrorKind.NOT_FOUND:
                faults.append(f"it doesn't reach the database ({error.message})")
    return versions(), faults


def _ask(url: str) -> None:
    from deltalakedb.catalog.dialects.reader import reader_of

    reader = reader_of(url)
    try:
        reader.rows("SELECT 1")
    finally:
        reader.close()
