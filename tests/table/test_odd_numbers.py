"""Numbers at the edge of 64 bits and the nulls of numpy and pandas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from tests.table.opening import GrowingTable, add, first_actions


def test_sizes_beyond_64_bits_are_refused(tmp_path: Path) -> None:
    made = GrowingTable(tmp_path, f"sqlite:///{tmp_path / 'catalog.db'}")
    most = 2**63 - 1
    made.commit(*first_actions(), add("a", size=most), add("b", "2024-05-02", size=most))
    with pytest.raises(DeltaLakeError, match="add up to 2\\^63") as caught:
        made.imported()
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_LOG


@pytest.mark.parametrize("few", [True, False])
def test_a_negative_number_of_records_says_nothing(tmp_path: Path, few: bool) -> None:
    made = GrowingTable(tmp_path, f"sqlite:///{tmp_path / 'catalog.db'}")
    odd = [add(f"odd{i}") for i in range(1 if few else 40)]
    for i, action in enumerate(odd):
        stats = {"numRecords": -1 - i, "minValues": {"id": 0}, "maxValues": {"id": 9}}
        action["add"]["stats"] = json.dumps(stats)
    made.commit(*first_actions(), add("good"), *odd)
    made.imported()
    found = {f.path: f.num_records for f in made.open().snapshot().files}
    assert found.pop(add("good")["add"]["path"]) == 10
    assert set(found.values()) == {None}


@pytest.mark.parametrize("null", [pd.NaT, pd.NA, np.datetime64("NaT"), None], ids=repr)
def test_every_null_is_null(tmp_path: Path, null: Any) -> None:
    made = GrowingTable(tmp_path, f"sqlite:///{tmp_path / 'catalog.db'}")
    made.commit(*first_actions(), add("a"))
    made.imported()
    snapshot = made.open().snapshot()
    assert snapshot.plan([("day", "=", null)]).num_rows == 0
    assert snapshot.plan([("day", "!=", null)]).num_rows == 1
    with pytest.raises(DeltaLakeError, match="can't be ordered"):
        snapshot.plan([("day", ">", null)])
