"""Arrow columns made without `pyarrow.array` are those that it would make."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltalakedb.log.columns import array_of, column_of, numbers_of, table_of

_VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(),
}


@pytest.mark.parametrize("kind", _VALUES, ids=str)
@given(data=st.data())
def test_same_as_pyarrow(kind: pa.DataType, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | _VALUES[kind], max_size=40))
    made = column_of(values, kind)
    made.validate(full=True)
    assert made.equals(pa.array(values, kind))


def test_numpy_mask() -> None:
    mask = np.array([True, False, True] * 7)
    assert array_of(mask).to_pylist() == mask.tolist()


def test_numbers_of_slices_and_chunks() -> None:
    array = pa.array(range(10), pa.int64())
    assert numbers_of(array.slice(3, 4)).tolist() == [3, 4, 5, 6]
    chunked = pa.chunked_array([array.slice(8), array.slice(0, 0), array.slice(1, 2)])
    assert numbers_of(chunked).tolist() == [8, 9, 1, 2]
    assert numbers_of(pa.chunked_array([], pa.int64())).tolist() == []


def test_rows_of_a_query() -> None:
    schema = pa.schema([("a", pa.int64()), ("b", pa.string())])
    assert table_of([(1, "x"), (None, None)], schema).to_pylist() == [
        {"a": 1, "b": "x"},
        {"a": None, "b": None},
    ]
    assert table_of([], schema).num_rows == 0


def test_pandas_is_not_looked_for() -> None:
    program = (
        "import sys, pyarrow as pa\n"
        "from deltalakedb.log.columns import table_of\n"
        "table_of([(1, 'x'), (None, None)], pa.schema([('a', pa.int64()), ('b', pa.string())]))\n"
        "print('pandas' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
