"""Keys of many statistics at once are those of each statistic by itself."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deltalakedb.log.keys import (
    NEG_INF,
    POS_INF,
    SkippingColumn,
    key_of,
    keys_from_stats,
    keys_of_few,
)
from deltalakedb.log.statistics import keys as stats_keys
from deltalakedb.log.statistics.template import template_of

COLUMNS = [
    SkippingColumn(("id",), "long"),
    SkippingColumn(("x",), "double"),
    SkippingColumn(("f",), "float"),
    SkippingColumn(("day",), "date"),
    SkippingColumn(("at",), "timestamp"),
    SkippingColumn(("local",), "timestamp_ntz"),
    SkippingColumn(("s", "name"), "string"),
    SkippingColumn(("flag",), "boolean"),
]
MONEY = [SkippingColumn(("money",), "decimal(12,2)"), SkippingColumn(("wide",), "decimal(38,4)")]

Row = tuple[int | None, list[tuple[int, int]]]


def reference(text: str | None, columns: list[SkippingColumn]) -> Row:
    """Record count and (lo, hi) of each column, straight from the definition."""
    found: Any = None
    if text is not None:
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(text, parse_float=Decimal)
    if not isinstance(found, dict):
        return None, [(NEG_INF, POS_INF)] * len(columns)

    def at(kind: str, path: tuple[str, ...]) -> Any:
        value = found.get(kind)
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    records = at("numRecords", ())
    records = records if type(records) is int and abs(records) < 2**63 else None
    bounds = []
    for column in columns:
        low, high = at("minValues", column.path), at("maxValues", column.path)
        lo, hi = key_of(low, column.type, upper=False), key_of(high, column.type, upper=True)
        nulls = at("nullCount", column.path)
        if low is None and high is None and type(nulls) is int and records and nulls == records > 0:
            lo, hi = POS_INF, NEG_INF
        bounds.append((lo, hi))
    return records, bounds


def check(texts: list[str | None], columns: list[SkippingColumn], stats: Any = None) -> None:
    keys = keys_from_stats(pa.array(texts, pa.string()) if stats is None else stats, columns)
    got = list(zip(*[zip(lo, hi, strict=True) for lo, hi in bounds_of(keys)], strict=True))
    few = keys_of_few(texts, columns)
    assert few.num_records == keys.num_records.to_pylist()
    assert list(zip(few.lo, few.hi, strict=True)) == bounds_of(keys)
    for row, text in enumerate(texts):
        records, bounds = reference(text, columns)
        assert keys.num_records[row].as_py() == records, text
        assert list(got[row]) == bounds, text


def bounds_of(keys: Any) -> list[tuple[list[int], list[int]]]:
    pairs = zip(keys.lo, keys.hi, strict=True)
    return [(lo.to_pylist(), hi.to_pylist()) for lo, hi in pairs]


WORDS = ["", "a", 'say "hi"', "back\\slash", "x\\", "Foo, Inc.", "{[:]}", "日本語のテキスト", "é"]


def moment(rng: random.Random, zone: str) -> str:
    clock = f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}"
    fraction = rng.choice(["", ".5", f".{rng.randint(0, 999):03}", f".{rng.randint(0, 999999):06}"])
    day = f"{rng.randint(1, 9999):04}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    return f"{day}{rng.choice('T ')}{clock}{fraction}{zone}"


def usual(rng: random.Random) -> dict[str, Callable[[], Any]]:
    number = lambda: rng.choice([rng.uniform(-1e6, 1e6), rng.random(), rng.randint(-9, 9), 1e-7])  # noqa: E731
    return {
        "id": lambda: rng.choice([rng.randint(-(2**63), 2**63 - 1), rng.randint(-5, 5)]),
        "x": number,
        "f": number,
        "day": lambda: f"{rng.randint(1, 9999):04}-{rng.randint(1, 12):02}-28",
        "at": lambda: moment(rng, rng.choice(["Z", "+05:30", "-0800"])),
        "local": lambda: moment(rng, rng.choice(["", "Z"])),
        "name": lambda: rng.choice(WORDS) + rng.choice(["", "-tail-of-some-length", '"', "\\"]),
        "flag": lambda: rng.random() < 0.5,
        "money": lambda: rng.randint(-(10**12) + 1, 10**12 - 1) / 100,
        "wide": lambda: rng.uniform(-1e20, 1e20),
    }


def odd(rng: random.Random) -> Any:
    return rng.choice(
        [
            *(None, "NaN", "Infinity", "-Infinity", "", "x", 2**64, -1.5, 1e300, True, [1]),
            *({"a": 1}, "2020-02-30", "0000-00-00", "1970-01-01", moment(rng, "")),
            moment(rng, "+01:00"),
        ]
    )


def statistics(rng: random.Random, shape: random.Random, oddity: float) -> dict[str, Any]:
    """One row of the shape that `shape` (a fresh copy each time) decides."""
    values = usual(rng)
    members = [name for name in values if shape.random() < 0.8]
    nulls = [name for name in values if shape.random() < 0.8]
    rows = rng.randint(0, 3)
    out: dict[str, Any] = {"numRecords": rows}
    for kind in ("minValues", "maxValues"):
        chosen = {n: odd(rng) if rng.random() < oddity else values[n]() for n in members}
        name = chosen.pop("name", None)
        out[kind] = chosen | ({} if name is None else {"s": {"name": name}})
    out["nullCount"] = {n: rng.randint(0, 3) for n in nulls if n != "name"} | {
        "s": {"name": rng.randint(0, 3)}
    }
    if shape.random() < 0.5:
        out["tightBounds"] = rng.random() < 0.5
    if shape.random() < 0.1:
        del out[shape.choice(["numRecords", "minValues", "maxValues", "nullCount"])]
    return out


def damaged(rng: random.Random, text: str) -> str | None:
    # Anywhere but inside a number: not all of those are looked at (see stats_template).
    at = rng.choice([n + 1 for n, character in enumerate(text) if character in '",:{}'])
    return rng.choice(
        [
            None,
            "",
            "null",
            "[1]",
            text[:at],
            text + "}",
            text[:at] + rng.choice('",:{}\\0 -+.xeN\n') + text[at:],
            text.replace(":1", ":01", 1),
            text.replace(":", ":+", 1),
            text.replace(":2", ":0x2", 1),
            text.replace(":3", ":NaN", 1),
            text.replace(":3", ":-Infinity", 1),
            text.replace(":1,", ":1.,", 1),
            text.replace(":1", ":.1", 1),
            text.replace(":1", ":-", 1),
        ]
    )


def batch(seed: int, shapes: int, rows: int, oddity: float, damage: float) -> list[str | None]:
    rng = random.Random(seed)
    texts: list[str | None] = []
    for shape in range(shapes):
        style = random.Random(f"{seed} {shape}")
        separators = style.choice([(",", ":"), (", ", ": ")])
        ascii_only = style.random() < 0.3
        for _ in range(rows):
            found = statistics(rng, random.Random(f"{seed}.{shape}"), oddity)
            text = json.dumps(found, separators=separators, ensure_ascii=ascii_only)
            texts.append(damaged(rng, text) if rng.random() < damage else text)
    rng.shuffle(texts)
    return texts


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    shapes=st.integers(1, 4),
    rows=st.sampled_from([1, 40, 100]),
    oddity=st.sampled_from([0.0, 0.0, 0.002, 0.1]),
    damage=st.sampled_from([0.0, 0.0, 0.01, 0.3]),
    money=st.booleans(),
)
@example(seed=1, shapes=3, rows=3000, oddity=0.0, damage=0.0, money=False)
@example(seed=2, shapes=2, rows=100, oddity=1.0, damage=0.0, money=True)
def test_vectorised_is_one_by_one(
    seed: int, shapes: int, rows: int, oddity: float, damage: float, money: bool
) -> None:
    check(batch(seed, shapes, rows, oddity, damage), COLUMNS + MONEY if money else COLUMNS)


def one_shape(rows: int) -> list[str | None]:
    return [
        f'{{"numRecords":{n % 3},"minValues":{{"id":{n},"s":{{"name":"k{n}"}}}},'
        f'"maxValues":{{"id":{n + 1},"s":{{"name":"k{n}"}}}},"nullCount":{{"id":0}}}}'
        for n in range(rows)
    ]


def test_statistics_of_one_shape_are_never_decoded_singly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The speed of imports hangs on this."""

    def refuse(*_: object) -> None:
        raise AssertionError("decoded one by one")

    monkeypatch.setattr(stats_keys._Part, "_decode", refuse)
    escaped = [t.replace('"k', '"\\"k\\u00e9, {') for t in one_shape(100) if t is not None]
    check([*one_shape(20_000), *escaped, None], COLUMNS)


@pytest.mark.parametrize("type", [pa.string(), pa.large_string()])
def test_slices_chunks_and_nulls(type: pa.DataType) -> None:
    texts = [None, *one_shape(100), None, "broken", *one_shape(40), None]
    check(texts[3:120], COLUMNS, pa.array(texts, type).slice(3, 117))
    pieces = [pa.array(texts[:50], type), pa.array([], type), pa.array(texts[50:], type)]
    check(texts, COLUMNS, pa.chunked_array(pieces))
    check([None] * 40, COLUMNS, pa.array([None] * 40, type))
    check([], COLUMNS, pa.array([], type))
    check([], COLUMNS, pa.chunked_array([], type))
    assert keys_from_stats(pa.array(texts, type), []).num_records.null_count == 4


def test_empty_texts() -> None:
    texts = ['{"minValues":{"local":"","s":{"name":""}}}'] * 40
    check([*texts], COLUMNS)
    check(texts[:1], COLUMNS)


def test_values_at_the_very_end_of_the_buffer() -> None:
    texts = [f'{{"numRecords":1,"maxValues":{{"s":{{"name":"v{n}"}}}}}}' for n in range(50)]
    check(list(texts), COLUMNS)


def test_integers_beyond_64_bits_and_fractions() -> None:
    texts = [f'{{"minValues":{{"id":{v}}},"maxValues":{{"id":{v}}}}}' for v in (2**63, -1.5, 5.0)]
    check([*texts, *texts] * 20, COLUMNS)


@pytest.mark.parametrize("columns", [COLUMNS, MONEY])
def test_what_is_almost_json_keeps_its_count(columns: list[SkippingColumn]) -> None:
    """Java's readers take bare NaN and half a surrogate pair; only their own keys stay open."""
    texts = [
        '{"numRecords":5,"minValues":{"x":NaN,"id":1},"maxValues":{"x":Infinity,"id":2}}',
        '{"numRecords":6,"minValues":{"s":{"name":"\\ud83d"},"money":1.5}}',
        '{"numRecords":7,"minValues":{"x":-Infinity',
        "[" * 5000,
    ]
    for many in (texts, texts * 20):
        check(many, columns)
    assert keys_from_stats(pa.array(texts), columns).num_records.to_pylist() == [5, 6, None, None]


def test_repeated_keys_count_by_the_last() -> None:
    text = '{"numRecords":1,"minValues":{"id":1},"maxValues":{"id":2},"minValues":{"id":0}}'
    check([text] * 40, COLUMNS)


def test_text_that_looks_like_structure() -> None:
    payload = '{\\"id\\":9},\\"maxValues\\":{\\"id\\":7}'
    text = '{"numRecords":1,"minValues":{"s":{"name":"PAYLOAD"},"id":1},"maxValues":{"id":N}}'
    check([text.replace("PAYLOAD", payload).replace("N}", f"{n}}}") for n in range(50)], COLUMNS)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"x",
        b"1",
        b"[]",
        b'{"a":[1]}',
        b'{"a":1,"a":2}',
        b'{"a\\n":1}',
        b'{"a":1}x',
        b'{"a":01}',
    ],
)
def test_what_is_no_template(text: bytes) -> None:
    assert template_of(text) is None


def test_template() -> None:
    found = template_of(b'{"n": 1, "o": {"s": "\\"", "t": true}, "z": ""} ')
    assert found is not None
    assert found.pieces == (b'{"n": ', b', "o": {"s": "', b'", "t": true}, "z": "', b'"} ')
    assert [(v.path, v.quoted) for v in found.values] == [
        (("n",), False),
        (("o", "s"), True),
        (("z",), True),
    ]
    assert found.literals == {("o", "t"): True}
    assert found.quotes == 14
