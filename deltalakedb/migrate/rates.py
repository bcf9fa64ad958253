"""How fast tables are imported and proven here: measured, or as this catalog's own runs were."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.tables import import_runs
from deltalakedb.config import SqlConfig
from deltalakedb.error import DeltaLakeError
from deltalakedb.importing.run import import_table
from deltalakedb.parity.run import diff_table

_SAMPLE_FILES = 4_000
_MANY_ACTIONS = 20_000
"""An import of fewer says more of what any import costs than of the rate."""
_RUNS = 20


@dataclass(frozen=True)
class Rates:
    """Seconds that any import and proof takes, and further ones for each action.

    `source`: `measured` on a small table here, or `catalog`, from its past imports.
    """

    base_seconds: float
    action_seconds: float
    proof_seconds: float
    source: str

    def seconds(self, actions: int, files: int) -> float:
        """What an import of so many actions, and a proof of so many live files, would take."""
        return self.base_seconds + actions * self.action_seconds + files * self.proof_seconds


def known_rates(database: str | SqlConfig) -> Rates | None:
    """From the catalog's own successful imports; None where it has none that tells."""
    here = measured_rates()
    runs = import_runs.c
    query = (
        sa.select(runs.adds + runs.removes, runs.seconds)
        .where(
            runs.status == "succeeded",
            runs.seconds.isnot(None),
            runs.adds + runs.removes >= _MANY_ACTIONS,
        )
        .order_by(runs.run_key.desc())
        .limit(_RUNS)
    )
    try:
        with Catalog(database) as catalog, catalog.read() as connection:
            found = connection.execute(query).all()
    except DeltaLakeError:
        # No catalog yet, or none that can be asked: what this machine does is the best guess.
        return None
    if not found:
        return None
    actions = sum(int(count) for count, _ in found)
    seconds = sum(max(float(spent) - here.base_seconds, 0.0) for _, spent in found)
    return Rates(here.base_seconds, seconds / actions, here.proof_seconds, "catalog")


@cache
def measured_rates() -> Rates:
    """Import and prove made tables in a temporary SQLite file: about a second, once a process."""
    with tempfile.TemporaryDirectory(prefix="dl-rates-") as folder:
        # What is loaded at first use is no part of any rate.
        _timed(Path(folder), "warm", 10)
        # The faster of two: what else the machine did is no part of it either.
        small_import, small_proof = min(_timed(Path(folder), f"small{n}", 10) for n in range(2))
        large_import, large_proof = _timed(Path(folder), "large", _SAMPLE_FILES)
    per_action = max(large_import - small_import, 0.0) / _SAMPLE_FILES
    per_file = max(large_proof - small_proof, 0.0) / _SAMPLE_FILES
    return Rates(small_import + small_proof, per_action, per_file, "measured")


def _timed(folder: Path, name: str, files: int) -> tuple[float, float]:
    log = folder / name / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020d}.json").write_text(_commit(files))
    database = str(folder / "catalog.sqlite")
    began = time.perf_counter()
    import_table(log_dir=str(folder / name), database=database, table_name=name)
    imported = time.perf_counter()
    diff_table(name, database=database)
    return imported - began, time.perf_counter() - imported


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
