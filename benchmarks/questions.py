"""The questions that every reader is asked about a generated table, with the right answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.generate import read_facts
from benchmarks.synthetic import FIRST_DAY, ID_STRIDE, USER_DOMAIN, Shape, days


@dataclass(frozen=True)
class Questions:
    """A partition, a point on the clustered column `id`, one on `uid`, and a middle version.

    `early`: the date of a partition that has all its files at the middle version.
    """

    path: str
    date: str
    region: str
    partition_files: int
    clustered_id: int
    clustered_files: int
    unclustered_uid: int
    unclustered_files: int
    head: int
    middle: int
    early: str
    live: int


def of(table: Path) -> Questions:
    """Derive the questions and right answers of a generated table, before anything was appended."""
    facts: dict[str, Any] = read_facts(table)
    shape = Shape(**facts["shape"])
    middle_day = shape.days // 2
    ordinal = shape.appended // 2
    point = ordinal * ID_STRIDE + 17
    user = USER_DOMAIN // 2 + 12_345
    partition_files = clustered = unclustered = 0
    for day in days(shape):
        keep = np.ones(len(day.appended), dtype=np.bool_)
        keep[day.removed()] = False
        for files, alive in ((day.appended, keep), (day.compacted, None)):
            if files is None:
                continue
            low, high = files.low, files.high
            matches = alive if alive is not None else np.ones(len(files), dtype=np.bool_)
            if day.index == middle_day:
                partition_files += int(np.sum(matches & (files.region == 1)))
            clustered += int(np.sum(matches & (low[0] <= point) & (high[0] >= point)))
            unclustered += int(np.sum(matches & (low[2] <= user) & (high[2] >= user)))
    return Questions(
        path=str(table),
        date=str(FIRST_DAY + middle_day),
        region="eu",
        partition_files=partition_files,
        clustered_id=point,
        clustered_files=clustered,
        unclustered_uid=user,
        unclustered_files=unclustered,
        head=facts["version"],
        middle=facts["version"] // 2,
        early=str(FIRST_DAY + shape.days // 4),
        live=facts["live"],
    )
