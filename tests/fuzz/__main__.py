"""`make fuzz FUZZ_ARGS="--seconds 600 --seed 7"`: damaged logs for as long as one likes."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import threading
from pathlib import Path

from tests.fuzz.run import Fuzz

TABLES = Path(__file__).parents[1] / "tables" / "tables"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--count", type=int, default=1 << 60, help="logs at most")
    parser.add_argument("--seed", type=int, default=None, help="default: a new one")
    parser.add_argument("--one", type=int, default=None, help="only this number of the seed")
    parser.add_argument("--workers", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--verbose", action="store_true", help="every log and what it raised")
    chosen = parser.parse_args()
    seed = secrets.randbelow(1 << 32) if chosen.seed is None else chosen.seed
    print(f"seed {seed}", flush=True)
    fuzz = Fuzz(TABLES, seed, chosen.seconds, chosen.count, chosen.one, verbose=chosen.verbose)
    threads = [threading.Thread(target=fuzz.work) for _ in range(chosen.workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for fault in fuzz.faults:
        print(fault, flush=True)
    print(f"seed {seed}: {fuzz.tried} logs, {len(fuzz.faults)} faults")
    return 1 if fuzz.faults else 0


if __name__ == "__main__":
    sys.exit(main())
