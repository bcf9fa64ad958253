"""What footers promise of row groups, and footers that are damaged."""

from __future__ import annotations

import datetime as dt
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import deltalakedb as dl
from deltalakedb.log.parquet_footer import footer_of
from deltalakedb.scan.guarantees import surviving
from deltalakedb.scan.row_groups import LeafColumn, row_group_guarantees
from tests.table.opening import table_uri

UTC = dt.UTC
TYPES: list[tuple[pa.DataType, list[Any]]] = [
    (pa.int8(), [-3, 0, 7]),
    (pa.int32(), [-(2**31), 0, 2**31 - 1]),
    (pa.int64(), [-(2**63), 0, 2**63 - 1]),
    (pa.uint32(), [0, 2**31, 2**32 - 1]),
    (pa.bool_(), [False, True]),
    (pa.string(), ["", "ä", "z"]),
    (pa.large_string(), ["a", "b"]),
    (pa.dictionary(pa.int32(), pa.string()), ["a", "b"]),
    (pa.binary(), [b"\0", b"\xff"]),
    (pa.date32(), [dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
    (pa.timestamp("us", "UTC"), [dt.datetime(1, 1, 1, tzinfo=UTC), dt.datetime.now(UTC)]),
    (pa.timestamp("ms"), [dt.datetime(1969, 1, 1), dt.datetime(2024, 1, 1)]),
    (pa.timestamp("ns"), [dt.datetime(1969, 1, 1), dt.datetime(2024, 1, 1)]),
    (pa.decimal128(7, 2), [Decimal("-12345.67"), Decimal("0.01")]),
    (pa.decimal128(38, 3), [Decimal("-" + "9" * 35 + ".999"), Decimal("9" * 35 + ".999")]),
]


def leaf(name: str, index: int, kind: pa.DataType) -> LeafColumn:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return LeafColumn(name, index, kind, lambda bounds: bounds.cast(plain), plain)


@pytest.mark.parametrize("integers", [False, True])
def test_every_value_finds_its_own_row_group(tmp_path: Path, integers: bool) -> None:
    for kind, values in TYPES:
        column = pa.array([*values, None], kind)
        table = pa.table({"other": pa.array([[1]] * len(column)), "x": column})
        path = tmp_path / "x.parquet"
        pq.write_table(table, path, row_group_size=1, store_decimal_as_integer=integers)
        with pa.OSFile(str(path)) as source, pq.ParquetFile(path) as parquet:
            read = leaf("x", 1, parquet.schema_arrow.field("x").type)
            promises = row_group_guarantees(footer_of(source), parquet, [read])
        assert all(promise is not None for promise in promises), kind
        schema = pa.schema([("x", read.wanted)])
        for index, value in enumerate(values):
            same = pc.field("x") == pa.scalar(value, read.wanted)
            assert surviving(promises, same, schema) == [index], (kind, value)
        assert surviving(promises, pc.field("x").is_null(), schema) == [len(values)], kind


READ = """
import random, sys
from pathlib import Path
import deltalakedb as dl

table, catalog, path = sys.argv[1], sys.argv[2], Path(sys.argv[3])
snapshot = dl.connect_to_table(catalog).snapshot()
whole, chance = path.read_bytes(), random.Random(5)
footer = int.from_bytes(whole[-8:-4], "little")
read = refused = 0
for number in range(120):
    damaged = bytearray(whole)
    for _ in range(chance.choice((1, 1, 3))):
        place = chance.randrange(footer) if number % 4 else chance.randrange(len(whole) - 8)
        damaged[-9 - place] = chance.randrange(256)
    path.write_bytes(damaged)
    print(number, flush=True)
    try:
        snapshot.to_pyarrow_table("x > 150 AND y = 'a'")
        snapshot.to_pyarrow_dataset("x > 150").count_rows()
        read += 1
    except dl.DeltaLakeError:
        refused += 1
assert read and refused, (read, refused)
"""


def test_damaged_footers_end_no_process(tmp_path: Path) -> None:
    table = tmp_path / "t"
    rows = pa.table({"x": range(300), "y": ["a", "b", None] * 100, "d": [1.5] * 300})
    deltalake.write_deltalake(table, rows)
    [path] = table.glob("*.parquet")
    pq.write_table(rows, path, row_group_size=100)
    log = table / "_delta_log" / f"{0:020}.json"
    log.write_text(re.sub(r'"size":\d+', f'"size":{path.stat().st_size}', log.read_text()))
    catalog = f"sqlite:///{tmp_path / 'catalog.db'}"
    dl.import_table(str(table), database=catalog, table_name="t")
    done = subprocess.run(
        [sys.executable, "-c", READ, str(table), table_uri(catalog, "t"), str(path)],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, (done.returncode, done.stdout[-20:], done.stderr[-2000:])
