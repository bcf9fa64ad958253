"""Runs one function in this fresh process: `python -m benchmarks.probe module:function ARG…`.

The module is imported before the clock starts, and so are the modules that the environment
variable PROBE_IMPORTS names (by commas): those that the function would import by itself, which
`imported` tells. The function's result must be JSON. Prints one line
`{"seconds", "peak_mb", "result", "imported"}`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import time

from benchmarks.memory import high_water_mb


def main() -> None:
    """Import, run, print."""
    module_name, _, function_name = sys.argv[1].partition(":")
    function = getattr(importlib.import_module(module_name), function_name)
    for name in filter(None, os.environ.get("PROBE_IMPORTS", "").split(",")):
        # Some packages put modules in place that can't be imported by name.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    before = set(sys.modules)
    started = time.perf_counter()
    result = function(*sys.argv[2:])
    seconds = time.perf_counter() - started
    if isinstance(result, dict) and "seconds" in result:
        # The function timed the part that counts by itself.
        seconds = result["seconds"]
    peak_mb = high_water_mb()
    imported = [name for name in sys.modules if name not in before]
    answer = {"seconds": seconds, "peak_mb": peak_mb, "result": result, "imported": imported}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
