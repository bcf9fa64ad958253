"""`python -m benchmarks [--scale 1.0] [--only PART,…] [--keep DIR]`: measure and report."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks import (
    report,
    section_catalog,
    section_change,
    section_conditions,
    section_ducklake,
    section_fleet,
    section_import,
    section_moving,
    section_read,
    section_rows,
    section_transactions,
    section_write,
)
from benchmarks.measure import machine_facts
from benchmarks.servers import ServerMissing
from benchmarks.workbench import Workbench

PARTS = section_import.FIRST | section_read.PARTS | section_import.PARTS
PARTS |= {
    "write": section_write.write,
    "change": section_change.change,
    "conditions": section_conditions.conditions,
    "transactions": section_transactions.transactions,
}
PARTS["rows"] = section_rows.rows
PARTS |= section_ducklake.PARTS | section_catalog.PARTS
ON_DEMAND = section_import.ON_DEMAND | section_catalog.ON_DEMAND | section_moving.ON_DEMAND
ON_DEMAND |= section_fleet.ON_DEMAND


def main(arguments: list[str] | None = None) -> int:
    """Run the asked parts; the report grows with each result. Returns 1 when a part failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full table sizes")
    parser.add_argument(
        "--only",
        help=f"parts by commas: {', '.join([*PARTS, *ON_DEMAND])}; default all but "
        f"{' and '.join(ON_DEMAND)}",
    )
    parser.add_argument("--keep", type=Path, help="folder whose generated tables are reused")
    parser.add_argument("--results", type=Path, default=report.RESULTS, help="where reports go")
    given = parser.parse_args(arguments)
    known = PARTS | ON_DEMAND
    names = given.only.split(",") if given.only else list(PARTS)
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(known)}")

    started = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - started:6.1f} s] {text}", file=sys.stderr, flush=True)

    entries: list[report.Entry] = []
    skipped: list[report.Skipped] = []
    failed = False
    facts = machine_facts() | {"scale": f"{given.scale:g}"}
    with Workbench(given.scale, given.keep, say) as bench:
        for name in names:
            say(f"part {name}")
            try:
                for entry in known[name](bench):
                    entries.append(entry)
                    report.write(facts | bench.facts(), entries, skipped, given.results)
            except ServerMissing as missing:
                skipped.append(report.Skipped(name, str(missing)))
            except Exception as error:  # noqa: BLE001 - one part must not take the others with it
                failed = True
                say(f"part {name} failed: {error}")
                last_line = str(error).strip().splitlines()[-1:] or [type(error).__name__]
                skipped.append(report.Skipped(name, f"failed: {last_line[0]}"))
        facts |= bench.facts()
    markdown_path, _ = report.write(facts, entries, skipped, given.results)
    print(markdown_path.read_text())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
