"""Arrow's newer layouts become its oldest ones, with the same values."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from deltalakedb.log.plain_arrow import plain_batch

VIEWS = pa.list_view(pa.string_view())
LISTS = pa.list_(pa.string())
VALUES: list[list[str | None] | None] = [["a", None], None, [], ["b" * 20, "c"], ["d"]]


def nested(value: Any) -> dict[str, Any]:
    return {"of": value, "n": 1}


CASES = [
    (VIEWS, LISTS, VALUES),
    (pa.large_list_view(pa.int32()), pa.list_(pa.int32()), [[1], None, [2, 3], []]),
    (
        pa.struct([("of", VIEWS), ("n", pa.int64())]),
        pa.struct([("of", LISTS), ("n", pa.int64())]),
        [nested(["a"]), None, nested(None), nested([])],
    ),
    (pa.list_view(VIEWS), pa.list_(LISTS), [[["a"], None], None, [], [[], ["b", "c"]]]),
    (pa.large_list(VIEWS), pa.list_(LISTS), [[["a"], None], None, [], [[], ["b", "c"]]]),
    (
        pa.list_view(pa.map_(pa.string(), pa.int8())),
        pa.list_(pa.map_(pa.string(), pa.int8())),
        [[]],
    ),
    (pa.map_(pa.string(), VIEWS), pa.map_(pa.string(), LISTS), [[("k", ["a"])], None, []]),
]


@pytest.mark.parametrize(("given", "plain", "values"), CASES, ids=[str(case[0]) for case in CASES])
def test_lists_of_views(given: pa.DataType, plain: pa.DataType, values: list[Any]) -> None:
    """Arrow 26 casts them into arrays with too few offsets, on which it dies later."""
    whole = pa.record_batch([pa.array(values, given)], ["x"])
    for start in range(len(values)):
        found = plain_batch(whole.slice(start)).column(0)
        found.validate(full=True)
        assert [f.type for f in pa.schema([("x", found.type)])] == [plain]
        assert found.to_pylist() == values[start:]


def test_views_out_of_order() -> None:
    """Offsets of views may go back, overlap and leave elements out."""
    views = pa.ListViewArray.from_arrays([2, 0, 1], [1, 2, 2], pa.array([1, 2, 3, 4]))
    found = plain_batch(pa.record_batch([views], ["x"])).column(0)
    found.validate(full=True)
    assert found.to_pylist() == [[3], [1, 2], [2, 3]]
