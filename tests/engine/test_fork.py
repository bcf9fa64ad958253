"""What the engine has made before a fork, and a child that collects it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_FORKING = """
import gc, os, signal, sys
import numpy as np
import pyarrow as pa
from deltalakedb.engine.joining import Join, Side, compile_condition
from deltalakedb.log.schema import PrimitiveType, StructField, StructType

gc.disable()
columns = StructType((StructField("id", PrimitiveType("long"), True, {}),))
condition = compile_condition("t.id = s.id + 1", Side("s", columns), Side("t", columns))
count = 100_000


class Cycle:
    pass


def rows():
    numbers = np.arange(count)
    return numbers, pa.record_batch({"id": numbers})


def make(left):
    garbage = Cycle()
    garbage.itself = garbage
    join = Join(condition.expression, "s", sys.argv[1], memory_limit=1 << 28)
    join.take(iter([rows()]))
    join.match(iter([(0, *rows())]))
    garbage.unmatched = join.unmatched(1)
    assert next(garbage.unmatched).tolist() == [count - 1]
    if left == "closed":
        join.close()
    garbage.join = join


make("open")
make("closed")
child = os.fork()
if child == 0:
    signal.alarm(60)
    gc.collect()
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
gc.collect()
"""


def test_a_child_leaves_the_engine_to_its_parent(tmp_path: Path) -> None:
    """A database that ends in a child would wait for threads that aren't there."""
    found = subprocess.run(
        [sys.executable, "-c", _FORKING, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (found.returncode, found.stdout) == (0, "7\n"), found.stderr
