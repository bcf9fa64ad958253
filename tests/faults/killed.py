"""A process that is killed anywhere in what it does, and what must be there then.

The parent imports, forks and looks; the child works on two tables and ends itself by SIGKILL at a
call chosen beforehand, in whatever thread that is, or is ended by its parent at a chosen time.
"""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import deltalake
import pyarrow as pa

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError
from deltalakedb.mirror import publish, tend
from deltalakedb.mirror.adopt import adopt
from deltalakedb.table.operations import registration
from tests.published import complete_log

SCHEMA = pa.schema([("id", pa.int64())])
_PROPERTIES = {
    "delta.checkpointInterval": "2",
    "delta.enableDeletionVectors": "true",
    "delta.logRetentionDuration": "interval 0 seconds",
}
_OURS = os.sep + "deltalakedb" + os.sep
_LONGEST_SECONDS = 120

Content = tuple[frozenset[int], frozenset[int]]


def rows(*ids: int) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64())})


@dataclass
class Pair:
    """Two tables of one catalog, and what they must hold."""

    database: str
    folder: Path
    authority: str = "sql"
    content: Content = (frozenset(), frozenset())
    next_id: int = 1
    acknowledged: int = 0
    committed_unheard: int = 0
    calls: list[int] = field(default_factory=list)

    @property
    def uris(self) -> list[str]:
        return [f"deltasql://{self.database}?table={name}" for name in ("a", "b")]

    @property
    def places(self) -> list[str]:
        return [str(self.folder / name) for name in ("a", "b")]

    def make(self) -> None:
        for uri, place in zip(self.uris, self.places, strict=True):
            dl.create_table(
                uri, SCHEMA, location=place, properties=_PROPERTIES, authority=self.authority
            )

    def steps(self, chance: random.Random) -> list[tuple[str, Content]]:
        """What the child is to do, and what the tables hold after each."""
        found = []
        a, b = self.content
        for _ in range(6):
            number, self.next_id = self.next_id, self.next_id + 1
            kinds = ["append a", "append b", "checkpoint a", "delete a", "optimize a"]
            kinds += ["both"] * 3 if self.authority == "sql" else []
            kind = chance.choice(kinds)
            if kind == "append a":
                a |= {number}
            elif kind == "append b":
                b |= {number}
            elif kind == "both":
                a, b = a | {number}, b | {-number}
            elif kind == "delete a" and a:
                number = chance.choice(sorted(a))
                a -= {number}
            found.append((f"{kind} {number}", (a, b)))
        return found

    def work(self, steps: list[tuple[str, Content]], say: Any) -> None:
        a, b = (dl.connect_to_table(uri, cache=False) for uri in self.uris)
        for number, (step, _) in enumerate(steps):
            kind, _, value = step.rpartition(" ")
            try:
                if kind == "both":
                    with dl.begin(self.database) as tx:
                        tx.append("a", rows(int(value)))
                        tx.append("b", rows(-int(value)))
                elif kind == "append a":
                    a.append(rows(int(value)))
                elif kind == "append b":
                    b.append(rows(int(value)))
                elif kind == "delete a":
                    a.delete(f"id = {value}")
                elif kind == "optimize a":
                    a.optimize.compact()
                else:
                    a.create_checkpoint()
            except DeltaLakeError as error:
                say(f"failed {number} {error.outcome} {error}")
                return
            say(f"done {number}")
        tend._finish()
        say("finished")

    def look(self) -> Content:
        """By the catalog, after adoption where the log decides; every row is there once."""
        found = []
        for uri in self.uris:
            if self.authority == "log":
                table = dl.connect_to_table(uri, cache=False)
                row = table._head.row
                adopt(table._catalog.reader.url, row, publish.log_of(row, None))
                table.close()
            ids = dl.connect_to_table(uri, cache=False).to_pyarrow_table()["id"].to_pylist()
            assert len(set(ids)) == len(ids), "a row is there twice"
            found.append(frozenset(ids))
        return found[0], found[1]

    def drain(self) -> None:
        """Both logs are completed, and say what the catalog says."""
        for uri, place, expected in zip(self.uris, self.places, self.content, strict=True):
            table = dl.connect_to_table(uri, cache=False)
            row = table._head.row
            complete_log(table)
            table.close()
            theirs = deltalake.DeltaTable(place)
            assert theirs.version() == row.head_version
            query = deltalake.QueryBuilder().register("t", theirs)
            ids = pa.table(query.execute("SELECT id FROM t"))["id"].to_pylist()
            assert frozenset(ids) == expected
            assert len(ids) == len(expected)

    def round(self, chance: random.Random) -> str:
        """Kill one child; how it ended."""
        steps = self.steps(chance)
        by_call = chance.random() < 0.7
        most = max(self.calls, default=4_000)
        at = chance.randrange(1, most) if by_call else 0
        heard = self._child(steps, at, 0.0 if by_call else chance.uniform(0.0, 1.5))
        done = -1
        possible: list[Content] = []
        before = self.content
        for line in heard:
            what, _, rest = line.partition(" ")
            if what == "done":
                done = int(rest)
                self.acknowledged += 1
            elif what == "failed":
                number, outcome, said = rest.split(" ", 2)
                raise AssertionError(f"{steps[int(number)][0]} was {outcome}: {said}")
            elif what == "calls":
                self.calls.append(int(rest))
        if done >= 0:
            before = steps[done][1]
        possible.append(before)
        if done + 1 < len(steps):
            possible.append(steps[done + 1][1])
        found = self.look()
        assert found in possible, (
            f"after {[step for step, _ in steps[: done + 2]]} there is "
            f"{[set(f) ^ set(p) for f, p in zip(found, before, strict=True)]} more or less"
        )
        self.committed_unheard += found != before
        self.content = found
        return "finished" if any(line.startswith("calls") for line in heard) else "killed"

    def _child(self, steps: list[tuple[str, Content]], at: int, seconds: float) -> list[str]:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                _run_and_die(self, steps, at, writing)
            finally:
                os._exit(0)
        os.close(writing)
        answer = select.poll()  # which takes descriptors above 1,023 too
        answer.register(reading, select.POLLIN)
        began = time.monotonic()
        text = b""
        killed = False
        while True:
            if seconds and not killed and time.monotonic() - began > seconds:
                os.kill(child, signal.SIGKILL)
                killed = True
            assert time.monotonic() - began < _LONGEST_SECONDS, "the child hangs"
            if answer.poll(5):
                some = os.read(reading, 1 << 16)
                if not some:
                    break
                text += some
        os.close(reading)
        os.waitpid(child, 0)
        return text.decode().splitlines()


def _run_and_die(pair: Pair, steps: list[tuple[str, Content]], at: int, pipe: int) -> None:
    seen = [0]
    # As a write that takes long does.
    registration.LATENT_SECONDS = 0.0

    def count(frame: FrameType, event: str, _argument: Any) -> None:
        if _OURS in frame.f_code.co_filename:
            seen[0] += 1
            if seen[0] == at:
                os.kill(os.getpid(), signal.SIGKILL)

    def say(line: str) -> None:
        os.write(pipe, line.encode() + b"\n")

    threading.settrace(count)
    sys.settrace(count)
    pair.work(steps, say)
    sys.settrace(None)
    say(f"calls {seen[0]}")
