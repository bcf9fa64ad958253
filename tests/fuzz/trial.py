"""Reads damaged logs, one after another, as users do; a process of its own (`python -m`).

Takes a case a line on its standard input and answers each with a line of JSON: what was raised.
"""

from __future__ import annotations

import json
import random
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing.run import import_table
from deltalakedb.parity.run import diff_table
from deltalakedb.table.connect import connect_to_table
from tests.fuzz.damage import damage, damaged_files

_MEMORY = 8 << 30


def tried(table: Path, seed: int, work: Path) -> dict[str, Any]:
    """What came of one damaged copy of a table: {"how", "raised", "raw"}."""
    chance = random.Random(seed)
    copy = work / "table"
    shutil.copytree(table, copy)
    log = copy / "_delta_log"
    target = chance.choice(damaged_files(log))
    database = f"sqlite:///{work / 'catalog.sqlite'}"
    caught_up = chance.random() < 0.4 and _import_before(copy, target, database, work)
    how = f"{target.name}: {damage(target, chance)}" + (" (catching up)" if caught_up else "")
    found = _Outcome(how)
    modes = ["full-history"] if caught_up else ["fast", "full-history"]
    for number, mode in enumerate(modes):
        url = database if not number else f"sqlite:///{work / 'other.sqlite'}"
        if found.of(f"import {mode}", lambda m=mode, u=url: _imported(copy, u, m)):  # type: ignore[misc]
            _read(found, url)
    return found.told()


def _imported(table: Path, database: str, mode: str) -> bool:
    import_table(str(table), database=database, table_name="t", mode=mode)
    return True


def _import_before(table: Path, target: Path, database: str, work: Path) -> bool:
    """Import the table as it was before the commit to be damaged; False if it can't be."""
    if len(target.name) != 25 or not target.name.endswith(".json"):
        return False
    aside = work / "aside"
    aside.mkdir()
    later = [p for p in target.parent.iterdir() if p.is_file() and p.name[:20] >= target.name[:20]]
    for path in later:
        path.rename(aside / path.name)
    try:
        return _imported(table, database, "full-history")
    except DeltaLakeError:
        return False
    finally:
        for path in later:
            (aside / path.name).rename(path)


def _read(found: _Outcome, database: str) -> None:
    found.of("diff", lambda: diff_table("t", database=database))
    uri = f"deltasql://{database}?table=t"
    snapshot = found.of("open", lambda: connect_to_table(uri, cache=False).snapshot())
    if snapshot is None:
        return
    found.of("plan", snapshot.plan)
    found.of("rows", lambda: snapshot.to_pyarrow_table())
    found.of("count", snapshot.count_rows)
    found.of("adds", lambda: snapshot.get_add_actions(flatten=True))
    found.of("metadata", lambda: (snapshot.metadata, snapshot.protocol, snapshot.transactions))
    found.of("history", lambda: connect_to_table(uri, cache=False).history())
    found.of("page", snapshot._repr_html_)
    names = found.of("columns", lambda: snapshot.metadata.schema.struct.fields) or ()
    for field in names[:2]:
        name = "`" + field.name.replace("`", "``") + "`"
        found.of("null", lambda n=name: snapshot.plan(f"{n} IS NOT NULL"))  # type: ignore[misc]


class _Outcome:
    def __init__(self, how: str) -> None:
        self._how = how
        self._raised: list[str] = []
        self._raw: list[str] = []

    def of(self, what: str, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except DeltaLakeError as error:
            self._raised.append(f"{what}: {error.kind.name}: {error}")
            if error.kind is DeltaLakeErrorKind.INTERNAL_ERROR:
                self._raw.append(f"{what}: {error}")
        except BaseException:  # noqa: BLE001 - that is what is looked for
            self._raw.append(f"{what}: {traceback.format_exc(limit=-12)}")
        return None

    def told(self) -> dict[str, Any]:
        return {"how": self._how, "raised": self._raised, "raw": self._raw}


def main() -> None:
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    answers = sys.stdout
    sys.stdout = sys.stderr
    for line in sys.stdin:
        table, seed = json.loads(line)
        with tempfile.TemporaryDirectory(prefix="dl-fuzz-") as work:
            found = tried(Path(table), seed, Path(work))
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
