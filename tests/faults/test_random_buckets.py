"""Writers, maintenance and a bucket whose server fails at random: what was told holds."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import TypeVar

import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError
from tests.cli.commands import process
from tests.faults.test_writing_to_buckets import FATES, proxied, theirs
from tests.servers.s3 import REGION, S3Bucket

T = TypeVar("T")

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore:version .* is committed:RuntimeWarning"),
]
SECONDS = 12.0
WRITERS = 3


def vacuumed(table: dl.Table, *, full: bool) -> object:
    return table.vacuum(
        retention_hours=0, enforce_retention_duration=False, dry_run=False, full=full
    )


UPKEEP: tuple[Callable[[dl.Table], object], ...] = (
    dl.Table.create_checkpoint,
    lambda table: table.optimize.compact(),
    partial(vacuumed, full=False),
    partial(vacuumed, full=True),
)


class Chance:
    """A part of all requests meets a fate, and now and then all do for a second."""

    def __init__(self, seed: int, part: float) -> None:
        self._random = random.Random(seed)
        self._part = part
        self._out_until = 0.0
        self._lock = threading.Lock()
        self.is_on = True

    def __call__(self, method: str, _path: str) -> str:
        with self._lock:
            if not self.is_on:
                return ""
            if time.monotonic() < self._out_until:
                return "request"
            if self._random.random() > self._part:
                return ""
            if self._random.random() < 0.01:
                self._out_until = time.monotonic() + 1.0
            return self._random.choice([*FATES, "half"] if method == "GET" else FATES)


class Model:
    """What each row was told to have become: `committed`, `failed` or `unknown`; and its end."""

    def __init__(self) -> None:
        self.added: dict[int, str] = {}
        self.deleted: dict[int, str] = {}

    @staticmethod
    def told(told: dict[int, str], row: int, act: Callable[[], object]) -> None:
        told[row] = "unknown"
        try:
            act()
        except DeltaLakeError as error:
            told[row] = error.outcome
        else:
            told[row] = "committed"

    def wrong(self, found: Counter[int]) -> list[tuple[int, int, str, str]]:
        """Rows that are there too often or too seldom."""
        wrong = []
        for row in {*self.added, *found}:
            told, gone = self.added.get(row, "failed"), self.deleted.get(row, "failed")
            least = 1 if told == "committed" and gone == "failed" else 0
            most = 0 if told == "failed" or gone == "committed" else 1
            if not least <= found[row] <= most:
                wrong.append((row, found[row], told, gone))
        return wrong


@pytest.mark.parametrize("authority", ["sql", "log"])
@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_told_holds(
    s3: S3Bucket, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, authority: str, seed: int
) -> None:
    # So that more comes through to the product than the library repeats.
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    chance = Chance(seed, 0.15)
    chance.is_on = False
    uri = f"deltasql://{sqlite_url}?table=t"
    with proxied(s3, chance) as proxy:
        options = {**s3.options, "endpoint_url": proxy.endpoint_url}
        table = dl.create_table(
            uri,
            pa.schema([("x", pa.int64())]),
            location=s3.url("t"),
            properties={"delta.enableDeletionVectors": "true", "delta.checkpointInterval": "7"},
            storage_options=options,
        )
        if authority == "log":
            table.set_authority("log")
        chance.is_on = True
        model = Model()
        deadline = time.monotonic() + SECONDS
        errors: list[BaseException] = []

        def work(number: int) -> None:
            choice = random.Random(100 * seed + number)
            mine: list[int] = []
            try:
                for row in range(1_000_000 * number, 1_000_000 * (number + 1)):
                    if time.monotonic() > deadline:
                        return
                    one(choice.random(), row, mine, choice)
            except Exception as error:  # noqa: BLE001 - told at the end
                errors.append(error)

        def one(chosen: float, row: int, mine: list[int], choice: random.Random) -> None:
            if chosen < 0.6:
                rows = pa.table({"x": [row]})
                Model.told(model.added, row, lambda: on(lambda table: table.append(rows)))
                mine += [row] if model.added[row] == "committed" else []
            elif chosen < 0.8 and mine:
                old = mine.pop(choice.randrange(len(mine)))
                Model.told(model.deleted, old, lambda: on(lambda table: table.delete(f"x = {old}")))
            else:
                Model.told({}, row, lambda: on(choice.choice(UPKEEP)))

        def on(act: Callable[[dl.Table], T]) -> T:
            with closing(dl.connect_to_table(uri, storage_options=options)) as opened:
                return act(opened)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        chance.is_on = False
        assert not errors
        assert len(proxy.lost) > 10
        assert Counter(model.added.values())["committed"] > 5
        drained = process(
            *("mirror", "drain", "t", "--database", sqlite_url),
            env={
                **os.environ,
                "AWS_ENDPOINT_URL": s3.endpoint_url,
                "AWS_ACCESS_KEY_ID": s3.options["key"],
                "AWS_SECRET_ACCESS_KEY": s3.options["secret"],
                "AWS_REGION": REGION,
            },
        )
        assert drained.returncode == 0, drained.stderr
        found = Counter(on(lambda table: table.to_pyarrow_table()).column("x").to_pylist())
        assert not model.wrong(found)
        assert theirs(s3, "t") == found
        assert dl.diff_table("t", database=sqlite_url, storage_options=options).parity
        assert not s3.client.list_multipart_uploads(Bucket=s3.name).get("Uploads")
        table.close()
