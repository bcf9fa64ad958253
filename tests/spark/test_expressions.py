"""The engine's answers are Spark's: values, types and errors."""

from __future__ import annotations

import math
import random
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deltalakedb.engine.expression import compile_expression
from deltalakedb.engine.functions import _LOWER, _UPPER
from deltalakedb.log.schema import parse_schema
from tests.engine.samples import EXPRESSIONS, FAILING, ROWS, SCHEMA
from tests.servers.spark import SparkError, SparkServer

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def rows(spark_server: SparkServer, tmp_path_factory: pytest.TempPathFactory) -> SparkServer:
    """A Spark that has ROWS as `rows`, numbered by `n`."""
    file = tmp_path_factory.mktemp("rows") / "rows.parquet"
    numbered = ROWS.append_column("row", pa.array(range(ROWS.num_rows), pa.int32()))
    pq.write_table(numbered, file)
    spark_server.run(f"CREATE OR REPLACE TEMP VIEW rows USING parquet OPTIONS (path '{file}')")
    return spark_server


def same(ours: list[object], theirs: list[object]) -> bool:
    return all(
        a == b
        or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))
        for a, b in zip(ours, theirs, strict=True)
    )


def test_values_and_types(rows: SparkServer) -> None:
    chosen = ", ".join(f"({sql}) AS e{n}" for n, sql in enumerate(EXPRESSIONS))
    found = rows.rows(f"SELECT {chosen} FROM rows ORDER BY row")
    wrong = []
    for n, sql in enumerate(EXPRESSIONS):
        theirs = found.column(f"e{n}")
        ours = compile_expression(sql, SCHEMA).evaluate(ROWS)
        if not same(ours.to_pylist(), theirs.to_pylist()) or ours.type != theirs.type:
            wrong.append((sql, ours.type, ours.to_pylist(), theirs.type, theirs.to_pylist()))
    assert wrong == []


@pytest.mark.parametrize("sql", FAILING)
def test_errors(rows: SparkServer, sql: str) -> None:
    with pytest.raises(SparkError):
        rows.rows(f"SELECT ({sql}) AS e FROM rows")


def test_round_of_many_numbers(spark_server: SparkServer, tmp_path: Path) -> None:
    """Also of those that stand halfway between two answers as they are written."""
    drawn = random.Random(7)
    halves = [drawn.randrange(10**9) / 10 ** drawn.randrange(1, 9) for _ in range(3_000)]
    halves += [round(n + 0.005, 3) for n in range(2_000)] + [n + 0.5 for n in range(-500, 500)]
    anywhere = [drawn.uniform(-1, 1) * 10.0 ** drawn.randrange(-12, 18) for _ in range(4_000)]
    numbers = pa.table({"n": range(10_000), "d": halves + anywhere})
    pq.write_table(numbers, tmp_path / "numbers.parquet")
    place = f"parquet.`{tmp_path / 'numbers.parquet'}`"
    schema = parse_schema(
        '{"type":"struct","fields":[{"name":"d","type":"double","nullable":true,"metadata":{}}]}'
    )
    for digits in (0, 1, 2, 3, 7):
        sql = f"round(d, {digits})"
        ours = compile_expression(sql, schema).evaluate(numbers).to_pylist()
        theirs = spark_server.rows(f"SELECT n, {sql} AS e FROM {place} ORDER BY n")["e"].to_pylist()
        assert [(numbers["d"][n], a, b) for n, (a, b) in enumerate(zip(ours, theirs, strict=True))
                if str(a) != str(b)] == []  # fmt: skip


def test_upper_and_lower_of_every_character(spark_server: SparkServer, tmp_path: Path) -> None:
    """What isn't refused is as in Spark, wherever in a word it stands."""
    points = [n for n in range(1, 0x1F000) if not 0xD800 <= n < 0xE000]
    texts = pa.table({"n": points, "c": [chr(n) for n in points]})
    pq.write_table(texts, tmp_path / "characters.parquet")
    place = f"parquet.`{tmp_path / 'characters.parquet'}`"
    for function in ("upper", "lower"):
        for text in ("c", "concat('a', c, 'B')", "concat('A', c)"):
            sql = f"{function}({text})"
            ours = _cased(sql, texts)
            found = spark_server.rows(f"SELECT n, {sql} AS e FROM {place}").to_pydict()
            theirs = dict(zip(found["n"], found["e"], strict=True))
            assert {n: theirs[n] for n in ours} == ours
            assert len(ours) > len(points) - 200


def _cased(sql: str, texts: pa.Table) -> dict[int, str]:
    special = _UPPER if sql.startswith("upper") else _LOWER
    kept = duckdb.from_arrow(texts).filter(f"NOT regexp_matches(c, '{special}')").to_arrow_table()
    schema = parse_schema(
        '{"type":"struct","fields":[{"name":"c","type":"string","nullable":true,"metadata":{}}]}'
    )
    values = compile_expression(sql, schema).evaluate(kept)
    return dict(zip(kept.column("n").to_pylist(), values.to_pylist(), strict=True))
