"""How fast tables are moved here: measured, or as this catalog's own runs were."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import median

import sqlalchemy as sa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.tables import import_runs
from deltalakedb.config import SqlConfig
from deltalakedb.error import DeltaLakeError
from deltalakedb.importing.run import import_table
from deltalakedb.parity.run import diff_table

_SAMPLE_FILES = 4_000
_SAMPLE_COMMITS = 200
_MANY_ACTIONS = 20_000
"""An import of fewer says more of what any import costs than of the rate."""
_RUNS = 5
"""The newest: how fast a machine is changes with what else it does."""
_HEAD_LINES = 3
"""Of a made table's first commit: who made it, protocol, metadata."""
_PROBES = 3
_PROOFS = 2
"""Of a move: before the fence and behind it."""
_STEPS = 2.2
"""A small table's whole move to its import and proofs: leases, states, the fence; measured."""
_UNEVEN = 1.5
"""A machine is never so even as a few probes in a row let it seem."""


@dataclass(frozen=True)
class Rates:
    """Seconds that any move takes, and further ones for each commit, action and live file.

    `import_seconds`: the part of `base_seconds` that is the import's. `proof_seconds`: for each
    file, of one proof. `spread`: by what factor it may be more, or less, as far as the probes and
    the catalog's past imports differ. `source`: `measured` on small tables here, or `catalog`, from
    its past imports.
    """

    base_seconds: float
    import_seconds: float
    commit_seconds: float
    action_seconds: float
    proof_seconds: float
    spread: float
    source: str

    def seconds(self, actions: int, files: int, commits: int = 1) -> float:
        """What a move takes: so many actions in so many commits, and so many live files."""
        proofs = _PROOFS * files * self.proof_seconds
        return self.base_seconds + commits * self.commit_seconds + self._of(actions) + proofs

    def seconds_of_import(self, actions: int, commits: int = 1) -> float:
        """What the import takes alone."""
        return self.import_seconds + commits * self.commit_seconds + self._of(actions)

    def _of(self, actions: int) -> float:
        return actions * self.action_seconds


def known_rates(database: str | SqlConfig) -> Rates | None:
    """From the catalog's own successful imports; None where it has none.

    Large ones tell its rate, small ones what any import takes there: its latency.
    """
    runs = import_runs.c
    query = (
        sa.select(runs.adds + runs.removes, runs.seconds)
        .where(runs.status == "succeeded", runs.seconds.isnot(None), runs.adds + runs.removes > 0)
        .order_by(runs.run_key.desc())
    )
    many = runs.adds + runs.removes >= _MANY_ACTIONS
    try:
        with Catalog(database) as catalog, catalog.read() as connection:
            large = connection.execute(query.where(many).limit(_RUNS)).all()
            small = connection.execute(query.where(~many).limit(_RUNS)).all()
    except DeltaLakeError:
        # No catalog yet, or none that can be asked: what this machine does is the best guess.
        return None
    if not large and not small:
        return None
    here = measured_rates()
    pace = 1.0
    if small:
        predicted = [here.seconds_of_import(int(actions)) for actions, _ in small]
        took = [float(spent) for _, spent in small]
        pace = median(t / p for t, p in zip(took, predicted, strict=True))
    base = here.import_seconds * pace
    rates = [max(float(spent) - base, 0.0) / int(actions) for actions, spent in large]
    return replace(
        here,
        base_seconds=here.base_seconds * pace,
        import_seconds=base,
        action_seconds=median(rates) if rates else here.action_seconds * pace,
        spread=max(here.spread, _spread(rates)),
        source="catalog",
    )


@cache
def measured_rates() -> Rates:
    """Import and prove made tables in a temporary SQLite file: a second or two, once a process.

    The median of several: what else the machine did meanwhile is no part of a rate.
    """
    with tempfile.TemporaryDirectory(prefix="dl-rates-") as name:
        folder = Path(name)
        # What is loaded at first use is no part of any rate.
        _timed(folder, "warm", 10)
        small = [_timed(folder, f"small{n}", 10) for n in range(_PROBES)]
        large = [_timed(folder, f"large{n}", _SAMPLE_FILES) for n in range(_PROBES - 1)]
        commits = _timed(folder, "commits", _SAMPLE_COMMITS, commits=_SAMPLE_COMMITS)
    # Of differences the quickest tell most: whatever comes in between only adds.
    least = min(each.imported for each in small)
    per_action = min(each.imported for each in large) - least
    per_file = min(each.proof for each in large) - min(each.proof for each in small)
    return Rates(
        base_seconds=_STEPS * median(each.whole for each in small),
        import_seconds=median(each.imported for each in small),
        commit_seconds=max(commits.imported - least, 0.0) / _SAMPLE_COMMITS,
        action_seconds=max(per_action, 0.0) / _SAMPLE_FILES,
        proof_seconds=max(per_file, 0.0) / _SAMPLE_FILES,
        spread=_UNEVEN * _spread([each.whole for each in small]),
        source="measured",
    )


def _spread(values: Sequence[float]) -> float:
    """By what factor some values differ from their middle; 1.0 for fewer than two."""
    found = [value for value in values if value > 0]
    if len(found) < 2:
        return 1.0
    middle = median(found)
    return max(max(found) / middle, middle / min(found))


@dataclass(frozen=True)
class _Took:
    """Seconds of an import, and of a proof."""

    imported: float
    proof: float

    @property
    def whole(self) -> float:
        """Import and proofs of a move."""
        return self.imported + _PROOFS * self.proof


def _timed(folder: Path, name: str, files: int, *, commits: int = 1) -> _Took:
    log = folder / name / "_delta_log"
    log.mkdir(parents=True)
    lines = _commit(files).splitlines(keepends=True)
    head, adds = lines[:_HEAD_LINES], lines[_HEAD_LINES:]
    share = files // commits
    for number in range(commits):
        some = [*(head if number == 0 else head[:1]), *adds[number * share : (number + 1) * share]]
        (log / f"{number:020d}.json").write_text("".join(some))
    database = str(folder / "catalog.sqlite")
    began = time.perf_counter()
    import_table(log_dir=str(folder / name), database=database, table_name=name)
    imported = time.perf_counter()
    diff_table(name, database=database)
    return _Took(imported - began, time.perf_counter() - imported)


def _commit(files: int) -> str:
    """Adds like those that engines write, with statistics of eight columns."""
    names = [f"column_{number}" for number in range(8)]
    fields = [
        {"name": name, "type": "long", "nullable": True, "metadata": {}} for name in [*names, "p"]
    ]
    schema = json.dumps({"type": "struct", "fields": fields})
    lines: list[dict[str, object]] = [
        {"commitInfo": {"timestamp": 1, "operation": "WRITE"}},
        {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
        {
            "metaData": {
                "id": "5fba94ed-9794-4965-ba6e-6ee3c0d22af9",
                "format": {"provider": "parquet", "options": {}},
                "schemaString": schema,
                "partitionColumns": ["p"],
                "configuration": {},
                "createdTime": 1,
            }
        },
    ]
    for number in range(files):
        low = {name: number * 1_000 + place for place, name in enumerate(names)}
        high = {name: value + 999 for name, value in low.items()}
        stats = {
            "numRecords": 1000,
            "minValues": low,
            "maxValues": high,
            "nullCount": dict.fromkeys(names, 0),
        }
        lines.append(
            {
                "add": {
                    "path": f"p={number % 50}/part-{number:05d}-c7bd36a3.snappy.parquet",
                    "partitionValues": {"p": str(number % 50)},
                    "size": 1_000_000 + number,
                    "modificationTime": 1,
                    "dataChange": True,
                    "stats": json.dumps(stats),
                }
            }
        )
    return "".join(json.dumps(line) + "\n" for line in lines)
