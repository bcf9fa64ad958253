"""Expressions as values; what they answer is compared with Spark in tests/spark."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from deltalakedb.engine.expression import Expression, compile_expression
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import parse_schema
from tests.engine.samples import EXPRESSIONS, FAILING, REFUSED, ROWS, SCHEMA, WRONG


def values(sql: str) -> list[object]:
    found: list[object] = compile_expression(sql, SCHEMA).evaluate(ROWS).to_pylist()
    return found


def test_every_sample_has_a_value_of_its_type_in_every_row() -> None:
    for sql in EXPRESSIONS:
        expression = compile_expression(sql, SCHEMA)
        found = expression.evaluate(ROWS)
        assert (len(found), found.type) == (ROWS.num_rows, expression.type), sql


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("i / 2", [0.5, 1.0, None, 0.0, -3.5, 50.0]),
        ("i div 2", [0, 1, None, 0, -3, 50]),
        ("i <> 0 and 10 / i > 3", [True, True, None, False, False, False]),
        ("d = d and d > 1", [True, True, False, None, False, True]),
        ("s || t", ["abcb", "x", None, None, " x  ", "𝄞 clef\nclef"]),
        ("substring(s, -5, 4)", ["ab", "", None, "añ%_", " x", "clef"]),
        ("s like '%!%%' escape '!'", [False, False, None, True, False, False]),
        ("dayofweek(day)", [6, 4, None, 2, 5, None]),
        ("i in (1, NULL)", [True, None, None, None, None, None]),
        ("cast(m as int)", [1, None, -3, 0, 9, 12345]),
    ],
)
def test_answers_are_those_of_spark(sql: str, expected: list[object]) -> None:
    assert values(sql) == expected


@pytest.mark.parametrize("sql", FAILING)
def test_a_row_without_a_value_is_an_error(sql: str) -> None:
    with pytest.raises(DeltaLakeError, match="a row has no value for") as caught:
        values(sql)
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_PREDICATE


@pytest.mark.parametrize(("sql", "named"), list(REFUSED.items()))
def test_what_might_differ_from_spark_is_refused_by_name(sql: str, named: str) -> None:
    with pytest.raises(DeltaLakeError) as caught:
        compile_expression(sql, SCHEMA)
    assert named in caught.value.message
    assert caught.value.kind is DeltaLakeErrorKind.UNSUPPORTED_FEATURE


@pytest.mark.parametrize(("sql", "named"), list(WRONG.items()))
def test_mistakes_are_told_from_what_is_not_supported(sql: str, named: str) -> None:
    with pytest.raises(DeltaLakeError) as caught:
        compile_expression(sql, SCHEMA)
    assert named in caught.value.message
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_PREDICATE


def test_a_character_of_unlike_cases_is_an_error_not_another_answer() -> None:
    rows = pa.table({"s": ["aß"]})
    assert compile_expression("lower(s)", SCHEMA).evaluate(rows).to_pylist() == ["aß"]
    with pytest.raises(DeltaLakeError, match="whose other case differs"):
        compile_expression("upper(s)", SCHEMA).evaluate(rows)


def test_fields_of_structs_and_their_nulls() -> None:
    schema = parse_schema(
        '{"type":"struct","fields":[{"name":"Target","nullable":true,"metadata":{},"type":'
        '{"type":"struct","fields":[{"name":"x","type":"long","nullable":true,"metadata":{}}]}},'
        '{"name":"tags","nullable":true,"metadata":{},"type":'
        '{"type":"array","elementType":"string","containsNull":true}}]}'
    )
    rows = pa.table({"Target": [{"x": 1}, None, {"x": None}], "tags": [["a"], None, []]})
    expression = compile_expression("target.x + 1", schema)
    assert expression.columns == ("Target",)
    assert expression.evaluate(rows).to_pylist() == [2, None, None]
    missing = compile_expression("target IS NULL OR tags IS NULL", schema)
    assert missing.evaluate(rows).to_pylist() == [False, True, False]
    with pytest.raises(DeltaLakeError, match="a value of type array"):
        compile_expression("tags = tags", schema)


def test_only_what_is_named_is_looked_at_in_batches_and_tables() -> None:
    expression = compile_expression("I + J > 3", SCHEMA)
    assert expression.columns == ("i", "j")
    batch = ROWS.select(["j", "i"]).to_batches()[0]
    assert expression.evaluate(batch).to_pylist() == [True, False, None, None, False, True]
    assert expression.filter(batch).column("j").to_pylist() == [3, 7]
    chunks = pa.concat_tables([ROWS, ROWS.slice(0, 0), ROWS])
    assert expression.filter(chunks).num_rows == 4
    assert compile_expression("1 + 1", SCHEMA).evaluate(ROWS).to_pylist() == [2] * 6
    assert compile_expression("i", SCHEMA).evaluate(ROWS.slice(0, 0)).to_pylist() == []
    with pytest.raises(DeltaLakeError, match="no condition"):
        compile_expression("i", SCHEMA).filter(ROWS)


def test_the_time_of_a_statement_is_given_to_it() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    for sql, expected in {
        "current_timestamp()": now,
        "CURRENT_TIMESTAMP": now,
        "current_date": date(2026, 1, 2),
        "localtimestamp()": now.replace(tzinfo=None),
    }.items():
        assert set(compile_expression(sql, SCHEMA, now=now).evaluate(ROWS).to_pylist()) == {
            expected
        }


def test_many_threads_and_other_processes() -> None:
    expression: Expression = pickle.loads(pickle.dumps(compile_expression("length(s)", SCHEMA)))
    expected = [3, 0, None, 5, 3, 7]
    with ThreadPoolExecutor(8) as threads:
        for found in threads.map(lambda _: expression.evaluate(ROWS).to_pylist(), range(64)):
            assert found == expected
    # Used before the fork, in the thread that forks.
    assert expression.evaluate(ROWS).to_pylist() == expected
    with multiprocessing.get_context("fork").Pool(2) as forked:
        assert forked.map(_evaluated, [expression] * 4) == [expected] * 4
    assert expression.evaluate(ROWS).to_pylist() == expected


def _evaluated(expression: Expression) -> list[object]:
    found: list[object] = expression.evaluate(ROWS).to_pylist()
    return found


def test_engines_are_imported_with_the_first_expression() -> None:
    code = (
        "import sys, deltalakedb.engine.expression;"
        "assert not {'duckdb', 'sqlglot', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
