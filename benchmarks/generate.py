"""Generates Delta logs: `python -m benchmarks.generate full --adds 1000000 --out DIR`.

The table is partitioned by date and region, each add has statistics on 8 columns and about 650
bytes of JSON, a nightly compaction rewrites some files. `_generator.json` beside `_delta_log`
says what was written, with facts that benchmarks ask for.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import data_files
from benchmarks.checkpoint import CheckpointWriter
from benchmarks.commit_log import CommitLog, add_lines, remove_line
from benchmarks.synthetic import (
    DAY_MS,
    PARTITION_COLUMNS,
    REGIONS,
    Day,
    Files,
    Shape,
    append_files,
    days,
    schema_string,
)

FACTS_FILE = "_generator.json"
TOMBSTONE_MS = 7 * DAY_MS
"""Retention of removes in a checkpoint (delta.deletedFileRetentionDuration's default)."""
SAMPLE = 2_000
MOST_DATA_FILES = 5_000


@dataclass(frozen=True)
class Variant:
    """How the files of a `Shape` are spread over the log."""

    adds_per_commit: int
    commit_info: bool = True
    checkpoint: bool = False
    """A checkpoint at the head of the history."""
    only_checkpoint: bool = False
    """Log cleanup took the commits up to the checkpoint."""
    after: int = 0
    """Commits after the checkpoint, of `adds_per_commit` adds each."""
    data: bool = False


def generate(out: Path, shape: Shape, variant: Variant) -> dict[str, Any]:
    """Write the log of a table into `out` (made anew) and return the facts about it."""
    if variant.data and shape.adds > MOST_DATA_FILES:
        raise ValueError(f"real data files are for at most {MOST_DATA_FILES} adds")
    if out.exists():
        shutil.rmtree(out)
    log_dir = out / "_delta_log"
    log_dir.mkdir(parents=True)
    log = CommitLog(log_dir, -1, shape.seed, dry=variant.only_checkpoint, info=variant.commit_info)
    metadata, protocol = _table_actions(shape)
    log.write(
        [
            json.dumps({"metaData": metadata}, separators=(",", ":")),
            json.dumps({"protocol": protocol}, separators=(",", ":")),
        ],
        metadata["createdTime"],
        "CREATE TABLE",
        '{"partitionBy":"[\\"date\\",\\"region\\"]","properties":"{}"}',
        "{}",
    )
    checkpoint = CheckpointWriter(log_dir, shape.live, shape.seed) if variant.checkpoint else None
    tombstones: list[dict[str, Any]] = []
    sample: list[dict[str, Any]] = []
    add_bytes = 0
    pending: list[str] = []
    pending_ms = 0
    for day in days(shape):
        if variant.data:
            data_files.write_day(out, day)
        modified = day.appended.modified_ms.tolist()
        lines = add_lines(day.appended, data_change=True) if not log.dry else [""] * len(modified)
        add_bytes += sum(map(len, lines))
        for line, time_ms in zip(lines, modified, strict=True):
            pending.append(line)
            pending_ms = time_ms + 1_500
            if len(pending) == variant.adds_per_commit:
                log.append(pending, pending_ms)
                pending = []
        if day.compacted is not None:
            if pending:
                log.append(pending, pending_ms)
                pending = []
            add_bytes += _compaction(log, day, day.compacted, tombstones)
        live = _live_columns(day)
        sample.extend(_sample(live, shape))
        if checkpoint is not None:
            checkpoint.collect(live)
    if pending:
        log.append(pending, pending_ms)
    head = log.version
    if checkpoint is not None:
        checkpoint.finish(
            head,
            metadata={**metadata, "configuration": []},
            protocol=protocol,
            txn=log.txn,
            removes=[r for r in tombstones if r["deletionTimestamp"] > log.last_ms - TOMBSTONE_MS],
        )
    facts = {
        "version": head,
        "adds": shape.adds,
        "removes": shape.removed,
        "live": shape.live,
        "next_ordinal": shape.appended,
        "last_ms": log.last_ms,
        "checkpoint": head if variant.checkpoint else None,
        "mean_add_bytes": None if log.dry else round(add_bytes / shape.adds, 1),
        "shape": asdict(shape),
        "variant": asdict(variant),
        "sample": sample[:: max(1, len(sample) // SAMPLE)],
    }
    _write_facts(out, facts)
    if variant.after:
        facts = append(out, commits=variant.after, adds_per_commit=variant.adds_per_commit)
    return facts


def append(
    out: Path, *, commits: int, adds_per_commit: int, compact_every: int = 5
) -> dict[str, Any]:
    """Append commits to a generated log: streaming appends, each `compact_every`-th a compaction
    that rewrites old files of one partition at a time."""
    facts: dict[str, Any] = json.loads((out / FACTS_FILE).read_text())
    shape = Shape(**facts["shape"])
    if facts["variant"]["data"]:
        raise ValueError("a table with real data files cannot be appended to")
    log = CommitLog(out / "_delta_log", facts["version"], shape.seed, dry=False, info=True)
    sample: list[dict[str, Any]] = facts["sample"]
    now_ms = facts["last_ms"]
    for _ in range(commits):
        rng = np.random.default_rng([shape.seed, 2_000_003, log.version])
        now_ms += 60_000
        compact = (log.version + 1) % compact_every == 0 and len(sample) > 1
        count = 1 if compact else adds_per_commit
        files = append_files(rng, shape.days - 1, facts["next_ordinal"], count)
        facts["next_ordinal"] += count
        lines = add_lines(files, data_change=not compact)
        if compact:
            old = [sample.pop(len(sample) // 2) for _ in range(min(8, len(sample)))]
            lines += [remove_line(o["path"], o["values"], o["size"], now_ms) for o in old]
            log.optimize(lines, 1, len(old), now_ms)
            facts["removes"] += len(old)
            facts["live"] -= len(old)
        else:
            log.append(lines, now_ms)
        facts["adds"] += count
        facts["live"] += count
    facts["version"], facts["last_ms"] = log.version, now_ms
    _write_facts(out, facts)
    return facts


def _compaction(
    log: CommitLog, day: Day, compacted: Files, tombstones: list[dict[str, Any]]
) -> int:
    """Commit a day's compaction; returns the bytes of its adds."""
    time_ms = int(compacted.modified_ms[0]) + 1_500
    paths, values = day.appended.paths(), day.appended.partition_texts()
    removed = day.removed().tolist()
    adds = add_lines(compacted, data_change=False)
    removes = [
        remove_line(paths[i], values[i], int(day.appended.size[i]), time_ms) for i in removed
    ]
    log.optimize(adds + removes, len(adds), len(removes), time_ms)
    # Only a checkpoint written near the end keeps them; the list stays as short as the retention.
    while tombstones and tombstones[0]["deletionTimestamp"] < time_ms - TOMBSTONE_MS:
        del tombstones[: len(removed) or 1]
    tombstones.extend(
        {
            "path": paths[i],
            "deletionTimestamp": time_ms,
            "dataChange": False,
            "extendedFileMetadata": True,
            "partitionValues": list(json.loads(values[i]).items()),
            "size": int(day.appended.size[i]),
        }
        for i in removed
    )
    return sum(map(len, adds))


def _live_columns(day: Day) -> dict[str, list[Any]]:
    removed = set(day.removed().tolist())
    columns: dict[str, list[Any]] = {}
    for files, dead in ((day.appended, removed), (day.compacted, set[int]())):
        if files is None:
            continue
        keep = [i for i in range(len(files)) if i not in dead]
        regions = files.region.tolist()
        texts = files.stats_texts()
        paths = files.paths()
        size, modified = files.size.tolist(), files.modified_ms.tolist()
        for name, values in (
            ("path", [paths[i] for i in keep]),
            ("date", [str(files.day)] * len(keep)),
            ("region", [REGIONS[regions[i]] for i in keep]),
            ("size", [size[i] for i in keep]),
            ("modificationTime", [modified[i] for i in keep]),
            ("stats", [texts[i] for i in keep]),
        ):
            columns.setdefault(name, []).extend(values)
    return columns


def _sample(live: dict[str, list[Any]], shape: Shape) -> list[dict[str, Any]]:
    step = max(1, shape.live // SAMPLE // 2)
    return [
        {
            "path": live["path"][i],
            "size": live["size"][i],
            "values": f'{{"date":"{live["date"][i]}","region":"{live["region"][i]}"}}',
        }
        for i in range(0, len(live["path"]), step)
    ]


def _table_actions(shape: Shape) -> tuple[dict[str, Any], dict[str, Any]]:
    first_ms = int(np.datetime64("2023-12-31T23:00", "ms").astype(np.int64))
    metadata = {
        "id": str(uuid.UUID(int=shape.seed)),
        "format": {"provider": "parquet", "options": {}},
        "schemaString": schema_string(),
        "partitionColumns": list(PARTITION_COLUMNS),
        "configuration": {},
        "createdTime": first_ms,
    }
    return metadata, {"minReaderVersion": 1, "minWriterVersion": 2}


def _write_facts(out: Path, facts: dict[str, Any]) -> None:
    # Replaced, not rewritten: tables are copied by hard links.
    fresh = out / f"{FACTS_FILE}.new"
    fresh.write_text(json.dumps(facts, indent=1))
    fresh.replace(out / FACTS_FILE)


def read_facts(out: Path) -> dict[str, Any]:
    """What `generate` and `append` wrote into a table."""
    facts: dict[str, Any] = json.loads((out / FACTS_FILE).read_text())
    return facts


def _days(asked: int | None, adds: int) -> int:
    """365 days, or fewer for a small table, so that a partition still has files to compact."""
    return asked or min(365, max(1, adds // 250))


def main(arguments: list[str] | None = None) -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generate", description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    kinds = parser.add_subparsers(dest="kind", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--out", type=Path, required=True)
    common.add_argument("--days", type=int, help="dates in the table (each has 5 regions)")
    full = kinds.add_parser("full", parents=[common], help="adds in commits, some compacted away")
    full.add_argument("--adds", type=int, default=1_000_000)
    full.add_argument("--adds-per-commit", type=int, default=500)
    full.add_argument("--removed", type=float, default=0.1, help="fraction of adds")
    full.add_argument("--checkpoint", action="store_true", help="a fresh one at the head")
    full.add_argument("--data", action="store_true", help="real Parquet files (small tables)")
    tiny = kinds.add_parser("tiny", parents=[common], help="one add a commit, nothing else in it")
    tiny.add_argument("--commits", type=int, default=100_000)
    tiny.add_argument("--commit-info", action="store_true", help="also commitInfo and txn")
    many = kinds.add_parser("commits", parents=[common], help="many commits of a few adds")
    many.add_argument("--commits", type=int, default=10_000)
    many.add_argument("--adds-per-commit", type=int, default=10)
    many.add_argument("--checkpoint", action="store_true")
    fresh = kinds.add_parser(
        "checkpointed", parents=[common], help="a fresh checkpoint, cleaned log, few commits"
    )
    fresh.add_argument("--live", type=int, default=1_000_000)
    fresh.add_argument("--adds-per-commit", type=int, default=500)
    fresh.add_argument("--after", type=int, default=5, help="commits after the checkpoint")
    more = kinds.add_parser("append", help="more commits on a generated log")
    more.add_argument("out", type=Path)
    more.add_argument("--commits", type=int, default=10)
    more.add_argument("--adds-per-commit", type=int, default=100)
    given = parser.parse_args(arguments)
    started = time.perf_counter()
    if given.kind == "full":
        shape = Shape(
            given.adds,
            round(given.adds * given.removed),
            _days(given.days, given.adds),
            given.seed,
            data_files.ROWS if given.data else 0,
        )
        variant = Variant(given.adds_per_commit, checkpoint=given.checkpoint, data=given.data)
        facts = generate(given.out, shape, variant)
    elif given.kind == "tiny":
        shape = Shape(given.commits, 0, _days(given.days, given.commits), given.seed)
        facts = generate(given.out, shape, Variant(1, commit_info=given.commit_info))
    elif given.kind == "commits":
        adds = given.commits * given.adds_per_commit
        shape = Shape(adds, 0, _days(given.days, adds), given.seed)
        facts = generate(
            given.out, shape, Variant(given.adds_per_commit, checkpoint=given.checkpoint)
        )
    elif given.kind == "checkpointed":
        shape = Shape(given.live, 0, _days(given.days, given.live), given.seed)
        facts = generate(
            given.out,
            shape,
            Variant(
                given.adds_per_commit, checkpoint=True, only_checkpoint=True, after=given.after
            ),
        )
    else:
        facts = append(given.out, commits=given.commits, adds_per_commit=given.adds_per_commit)
    facts.pop("sample")
    print(json.dumps({**facts, "seconds": round(time.perf_counter() - started, 1)}))


if __name__ == "__main__":
    main()
