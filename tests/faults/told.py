"""What appending processes were told (tests.commit.appender), held against what is there."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import deltalake
import pyarrow as pa

import deltalakedb as dl
from tests.published import complete_log

SCHEMA = pa.schema([("who", pa.string()), ("n", pa.int64())])
Row = tuple[str, int]


@dataclass
class Told:
    """Rows by outcome; `versions` are the acknowledged ones."""

    committed: set[Row] = field(default_factory=set)
    failed: set[Row] = field(default_factory=set)
    unknown: set[Row] = field(default_factory=set)
    versions: list[int] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def hear(self, running: Iterable[subprocess.Popen[str]]) -> Told:
        """Wait for the processes `w0`, `w1`, … and take in what they were told."""
        for number, each in enumerate(running):
            said, _ = each.communicate(timeout=300)
            assert each.returncode == 0
            for line in said.splitlines():
                outcome, _, rest = line.partition(" ")
                if outcome == "version":
                    version, what, *_ = rest.split()
                    self.committed.add((f"w{number}", int(what)))
                    self.versions.append(int(version))
                else:
                    what, _, message = rest.partition(" ")
                    assert outcome in ("failed", "unknown"), line
                    mine = self.failed if outcome == "failed" else self.unknown
                    mine.add((f"w{number}", int(what)))
                    self.messages.append(message)
        return self

    def hold(self, rows: Iterable[Row]) -> None:
        """Each acknowledged row is there once, none that was told to have failed, no other."""
        found = list(rows)
        there = set(found)
        assert len(there) == len(found), "a row is there twice"
        assert self.committed <= there
        assert not self.failed & there
        assert there <= self.committed | self.unknown
        assert len(set(self.versions)) == len(self.versions)


def wait_until(holds: Callable[[], bool]) -> None:
    """Look again and again, for minutes at most."""
    deadline = time.monotonic() + 240
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def rows_of(found: pa.Table) -> list[Row]:
    return list(zip(*(found[name].to_pylist() for name in ("who", "n")), strict=True))


def hold_everywhere(told: Told, database: str, place: str, options: dict[str, str]) -> None:
    """The same by the catalog and by delta-rs, once the log is completed."""
    uri = f"deltasql://{database}?table=t"
    table = dl.connect_to_table(uri, cache=False, storage_options=options)
    complete_log(table, options)
    told.hold(rows_of(table.to_pyarrow_table()))
    theirs = {"allow_http": "true", **_as_theirs(options)} if options else None
    told.hold(rows_of(deltalake.DeltaTable(place, storage_options=theirs).to_pyarrow_table()))
    assert dl.diff_table("t", database=database, storage_options=options).parity


def _as_theirs(options: dict[str, str]) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": options["endpoint_url"],
        "AWS_ACCESS_KEY_ID": options["key"],
        "AWS_SECRET_ACCESS_KEY": options["secret"],
        "AWS_REGION": options["region"],
    }
