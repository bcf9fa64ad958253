"""Memory that runs out: one clear error, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deltalakedb.importing.run import import_table
from tests.table.opening import table_uri

LONG = 12 << 20
"""Bytes of a string that is in the log, in the statistics and in the data."""

LIMITED = """
import resource, sys
import deltalakedb as dl

what, table, catalog, uri = sys.argv[1:]

def do(name):
    if what == "import":
        dl.import_table(table, database=catalog, table_name=name, rebuild=True)
    elif what == "diff":
        dl.diff_table(name, database=catalog)
    elif what == "plan":
        dl.connect_to_table(uri.replace("large", name)).snapshot().plan("p = 'x'")
    else:
        dl.connect_to_table(uri.replace("large", name)).snapshot().to_pyarrow_table()

sys.stdout.flush()
if what == "import":
    dl.import_table(table.replace("large", "small"), database=catalog, table_name="small")
else:
    do("small")
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (6 << 20), resource.RLIM_INFINITY))
try:
    do("large")
except dl.DeltaLakeError as error:
    print(error.kind.value, error.message)
"""


def make_table(root: Path, text: str) -> None:
    log = root / "_delta_log"
    log.mkdir(parents=True)
    pq.write_table(pa.table({"x": [text]}), root / "a.parquet")
    schema = {
        "type": "struct",
        "fields": [{"name": n, "type": "string", "nullable": True, "metadata": {}} for n in "xp"],
    }
    actions = [
        {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
        {
            "metaData": {
                "id": "m",
                "format": {"provider": "parquet", "options": {}},
                "schemaString": json.dumps(schema),
                "partitionColumns": ["p"],
                "configuration": {},
            }
        },
        {
            "add": {
                "path": "a.parquet",
                "partitionValues": {"p": "x"},
                "size": (root / "a.parquet").stat().st_size,
                "modificationTime": 1,
                "dataChange": True,
                "stats": json.dumps({"numRecords": 1, "maxValues": {"x": text}}),
            }
        },
    ]
    (log / f"{0:020}.json").write_text("\n".join(map(json.dumps, actions)))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("memory")
    catalog = f"sqlite:///{root / 'catalog.db'}"
    for name, text in (("small", "s"), ("large", "x" * LONG)):
        make_table(root / name, text)
        import_table(str(root / name), database=catalog, table_name=name)
    return root / "large", catalog


@pytest.mark.parametrize("what", ["import", "diff", "plan", "rows"])
def test_memory_that_runs_out(large: tuple[Path, str], what: str) -> None:
    table, catalog = large
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, what, str(table), catalog, table_uri(catalog, "large")],
        env={**os.environ, "MALLOC_ARENA_MAX": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-3000:])
    assert done.stdout.startswith("out_of_memory "), done.stdout
    assert "memory ran out" in done.stdout
    assert "large" in done.stdout
