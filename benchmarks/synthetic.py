"""The files of a synthetic Delta table, a day at a time, as integer vectors and as JSON text.

Everything follows from the seed: the same `Shape` gives the same bytes on every machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

REGIONS = ("ap", "eu", "me", "sa", "us")
FIRST_DAY = np.datetime64("2024-01-01")
DAY_MS = 86_400_000
ID_STRIDE = 20_000
"""id of file `ordinal` starts at ordinal * ID_STRIDE: narrow, increasing, disjoint."""
USER_DOMAIN = 1_000_000_000
"""user ranges lie anywhere in the domain and are 1/10,000 of it wide on average."""
COMPACTED_FILES = 8
"""Files that one compaction rewrites into one."""

STATS_COLUMNS: tuple[tuple[str, str], ...] = (
    ("id", "long"),
    ("ts", "timestamp"),
    ("uid", "long"),
    ("due", "date"),
    ("amt", "decimal(10,2)"),
    ("lat", "double"),
    ("sku", "string"),
    ("qty", "integer"),
)
PARTITION_COLUMNS = ("date", "region")
SCORE_SCALE = 10**6


@dataclass(frozen=True)
class Shape:
    """What the table looks like: `adds` in total, of which compaction removed `removed`.

    `rows` fixes the records of every file (real data files); 0 draws 2,000 to 20,000 a file.
    """

    adds: int
    removed: int = 0
    days: int = 365
    seed: int = 7
    rows: int = 0

    @property
    def compactions(self) -> int:
        return -(-self.removed // COMPACTED_FILES)

    @property
    def appended(self) -> int:
        """Files that came by appends; the others came by compaction."""
        return self.adds - self.compactions

    @property
    def live(self) -> int:
        return self.adds - self.removed

    def __post_init__(self) -> None:
        if self.adds < 1 or self.days < 1:
            raise ValueError("a table needs at least one add and one day")
        per_region = self.appended // self.days // len(REGIONS)
        groups = -(-self.compactions // self.days)
        if self.removed and -(-groups // len(REGIONS)) * COMPACTED_FILES > per_region:
            raise ValueError(
                f"{self.removed} removes do not fit {self.days} days of "
                f"{per_region} files a region: give fewer days or fewer removes"
            )


@dataclass(frozen=True)
class Files:
    """Vectors over n files of one day; `low` and `high` are (8, n), one row a stats column.

    Dates are days since 1970, timestamps ms, decimals cents, doubles in units of 1e-6, strings the
    number that they spell in hexadecimal, so a union of files is a plain minimum and maximum.
    """

    day: np.datetime64
    region: Ints
    names: list[str]
    size: Ints
    modified_ms: Ints
    num_records: Ints
    low: Ints
    high: Ints
    nulls: Ints

    def __len__(self) -> int:
        return len(self.names)

    def paths(self) -> list[str]:
        heads = [f"date={self.day}/region={name}/" for name in REGIONS]
        return [heads[r] + n for r, n in zip(self.region.tolist(), self.names, strict=True)]

    def partition_texts(self) -> list[str]:
        """JSON text of partitionValues of each file."""
        texts = [f'{{"date":"{self.day}","region":"{name}"}}' for name in REGIONS]
        return [texts[r] for r in self.region.tolist()]

    def stats_texts(self) -> list[str]:
        """Raw JSON text of the statistics of each file, as Spark orders it."""
        low, high = _texts(self.low), _texts(self.high)
        return [
            f'{{"numRecords":{n},"minValues":{{{a}}},"maxValues":{{{b}}},"nullCount":{{'
            f'"id":0,"ts":0,"uid":{u},"due":{s},"amt":{m},"lat":{c},"sku":{d},"qty":0}}}}'
            for n, a, b, (u, s, m, c, d) in zip(
                self.num_records.tolist(), low, high, self.nulls.T.tolist(), strict=True
            )
        ]


def _texts(bounds: Ints) -> list[str]:
    times = np.datetime_as_string(bounds[1].view("datetime64[ms]")).tolist()
    dates = np.datetime_as_string(bounds[3].view("datetime64[D]")).tolist()
    return [
        f'"id":{e},"ts":"{t}Z","uid":{u},"due":"{s}","amt":{m // 100}.{m % 100:02d},'
        f'"lat":0.{c:06d},"sku":"{d:06x}","qty":{q}'
        for e, t, u, s, m, c, d, q in zip(
            bounds[0].tolist(),
            times,
            bounds[2].tolist(),
            dates,
            bounds[4].tolist(),
            bounds[5].tolist(),
            bounds[6].tolist(),
            bounds[7].tolist(),
            strict=True,
        )
    ]


def _names(rng: np.random.Generator, count: int) -> list[str]:
    text = rng.bytes(16 * count).hex()
    return [
        f"part-{i % 200:05d}-{text[p : p + 8]}-{text[p + 8 : p + 12]}-{text[p + 12 : p + 16]}-"
        f"{text[p + 16 : p + 20]}-{text[p + 20 : p + 32]}.c000.snappy.parquet"
        for i, p in enumerate(range(0, 32 * count, 32))
    ]


def append_files(
    rng: np.random.Generator, day_index: int, first_ordinal: int, count: int, rows: int = 0
) -> Files:
    """`count` files of one day whose ordinals start at `first_ordinal`, regions in turn."""
    day = FIRST_DAY + day_index
    day_ms = int(day.astype("datetime64[ms]").astype(np.int64))
    ordinal = np.arange(first_ordinal, first_ordinal + count, dtype=np.int64)
    region = ordinal % len(REGIONS)
    num_records = rng.integers(2_000, ID_STRIDE, count) if not rows else np.full(count, rows)
    arrival = day_ms + np.arange(count, dtype=np.int64) * (DAY_MS - 600_000) // max(count, 1)
    low = np.empty((len(STATS_COLUMNS), count), dtype=np.int64)
    high = np.empty_like(low)
    low[0] = ordinal * ID_STRIDE
    high[0] = low[0] + num_records - 1
    low[1] = arrival + rng.integers(0, 1000, count)
    high[1] = low[1] + rng.integers(60_000, 300_000, count)
    # The files that one compaction may join are of one shard of users, or unions would be wide.
    shard = np.arange(count) // (COMPACTED_FILES * len(REGIONS)) * len(REGIONS) + region
    width = USER_DOMAIN // 5_000
    low[2] = rng.integers(0, USER_DOMAIN, count + len(REGIONS))[shard]
    low[2] += rng.integers(0, width, count)
    high[2] = low[2] + rng.integers(1, width, count)
    low[3] = int(day.astype(np.int64)) + rng.integers(1, 4, count)
    high[3] = low[3] + rng.integers(1, 14, count)
    low[4] = rng.integers(1, 5_000, count)
    high[4] = rng.integers(10_000, 999_999, count)
    low[5] = rng.integers(0, SCORE_SCALE // 2, count)
    high[5] = rng.integers(SCORE_SCALE // 2, SCORE_SCALE, count)
    low[6] = rng.integers(0, 2**23, count)
    high[6] = rng.integers(2**23, 2**24, count)
    low[7] = rng.integers(1, 5, count)
    high[7] = rng.integers(50, 100, count)
    most_nulls = max(1, rows // 2) if rows else 10
    return Files(
        day=day,
        region=region,
        names=_names(rng, count),
        size=num_records * 800 + rng.integers(0, 100_000, count),
        modified_ms=arrival + 300_000,
        num_records=num_records,
        low=low,
        high=high,
        nulls=rng.integers(0, most_nulls, (5, count)),
    )


@dataclass(frozen=True)
class Day:
    """A day of the table: appended files, and the compaction that closes it.

    `members[k]` are the positions in `appended` that `compacted` file k replaces.
    """

    index: int
    first_ordinal: int
    appended: Files
    compacted: Files | None
    members: list[Ints]

    def removed(self) -> Ints:
        if not self.members:
            return np.empty(0, dtype=np.int64)
        return np.concatenate(self.members)


def _compact(rng: np.random.Generator, files: Files, members: list[Ints]) -> Files:
    flat = np.concatenate(members)
    starts = np.cumsum([0] + [len(m) for m in members[:-1]])
    close_ms = int(files.modified_ms.max()) + 240_000
    return Files(
        day=files.day,
        region=files.region[flat[starts]],
        names=_names(rng, len(members)),
        size=np.add.reduceat(files.size[flat], starts),
        modified_ms=np.full(len(members), close_ms, dtype=np.int64),
        num_records=np.add.reduceat(files.num_records[flat], starts),
        low=np.minimum.reduceat(files.low[:, flat], starts, axis=1),
        high=np.maximum.reduceat(files.high[:, flat], starts, axis=1),
        nulls=np.add.reduceat(files.nulls[:, flat], starts, axis=1),
    )


def days(shape: Shape) -> Iterator[Day]:
    """The days of the table in order."""
    for index in range(shape.days):
        rng = np.random.default_rng([shape.seed, index])
        first = shape.appended * index // shape.days
        count = shape.appended * (index + 1) // shape.days - first
        files = append_files(rng, index, first, count, shape.rows)
        group_first = shape.compactions * index // shape.days
        groups = shape.compactions * (index + 1) // shape.days - group_first
        members: list[Ints] = []
        for group in range(groups):
            region = group % len(REGIONS)
            start = np.argmax(files.region == region) if count else 0
            positions = start + len(REGIONS) * (
                np.arange(COMPACTED_FILES) + group // len(REGIONS) * COMPACTED_FILES
            )
            last = group_first + group == shape.compactions - 1
            short = shape.compactions * COMPACTED_FILES - shape.removed if last else 0
            members.append(positions[: COMPACTED_FILES - short].astype(np.int64))
        compacted = _compact(rng, files, members) if members else None
        yield Day(index, first, files, compacted, members)


def schema_string() -> str:
    """The table's schema as Delta writes it, partition columns last."""
    fields: list[dict[str, Any]] = [
        {"name": name, "type": kind, "nullable": True, "metadata": {}}
        for name, kind in (*STATS_COLUMNS, ("date", "date"), ("region", "string"))
    ]
    return json.dumps({"type": "struct", "fields": fields}, separators=(",", ":"))
