from __future__ import annotations

import json
from typing import Any

import pytest

from deltalakedb.log.statistics.skipping import (
    SkippingColumn,
    choose_skipping_columns,
    parse_column_list,
)


def column(name: str, type: Any = "long", **metadata: Any) -> dict[str, Any]:
    return {"name": name, "type": type, "nullable": True, "metadata": metadata}


def struct(*columns: dict[str, Any]) -> dict[str, Any]:
    return {"type": "struct", "fields": list(columns)}


def chosen(
    *columns: dict[str, Any],
    partitions: tuple[str, ...] = (),
    clustering: tuple[tuple[str, ...], ...] = (),
    **configuration: str,
) -> list[str]:
    names = {
        "stats": "delta.dataSkippingStatsColumns",
        "count": "delta.dataSkippingNumIndexedCols",
        "mapping": "delta.columnMapping.mode",
    }
    settings = {names[k]: v for k, v in configuration.items()}
    found = choose_skipping_columns(json.dumps(struct(*columns)), partitions, settings, clustering)
    return [".".join(c.path) for c in found]


def test_first_eight_leaves_with_an_order() -> None:
    array = {"type": "array", "elementType": "long", "containsNull": True}
    columns = [
        column("flag", "boolean"),
        column("part"),
        column("list", array),
        column("blob", "binary"),
        column("json", "variant"),
        column("nothing", "void"),
        column("s", struct(column("x", "date"), column("y", struct(column("z", "string"))))),
        *[column(f"c{n}") for n in range(5)],
    ]
    assert chosen(*columns, partitions=("Part",)) == [
        "s.x",
        "s.y.z",
        "c0",
        "c1",
        "c2",
        "c3",
        "c4",
        "flag",
    ]
    assert chosen(*columns, *[column(f"d{n}") for n in range(5)])[-1] == "c4"


def test_types_are_those_of_keys() -> None:
    names = ["varchar(9)", "char(1)", "decimal(38,2)", "timestamp_ntz", "double"]
    schema = json.dumps(struct(*[column(name, name) for name in names]))
    found = choose_skipping_columns(schema, (), {})
    assert [c.type for c in found] == [
        "string",
        "string",
        "decimal(38,2)",
        "timestamp_ntz",
        "double",
    ]


def test_collated_text_has_no_keys() -> None:
    collated = column("a", "string", __COLLATIONS={"a": "icu.UNICODE"})
    assert chosen(collated, column("b", "string collate UTF8_LCASE"), column("c")) == ["c"]


def test_number_of_indexed_columns_counts_leaves() -> None:
    columns = [column("blob", "binary"), *[column(f"c{n}") for n in range(5)]]
    assert chosen(*columns, count="3") == ["c0", "c1"]
    assert chosen(*columns, count="0") == []
    assert chosen(*[column(f"c{n}", "binary") for n in range(40)], column("x")) == []
    assert chosen(*[column(f"c{n}", "binary") for n in range(40)], column("x"), count="-1") == ["x"]
    assert chosen(*columns, count="many") == ["c0", "c1", "c2", "c3", "c4"]


def test_named_columns_replace_the_number() -> None:
    columns = [column("a"), column("s", struct(column("x"), column("y.z"))), column("b")]
    assert chosen(*columns, stats="b,s", count="1") == ["b", "s.x", "s.y.z"]
    assert chosen(*columns, stats="S.`y.z`, A") == ["s.y.z", "a"]
    assert chosen(*columns, stats="missing") == []


def test_clustering_columns_come_first_whatever_is_indexed() -> None:
    columns = [column(f"c{n}") for n in range(40)]
    assert chosen(*columns, clustering=(("c35",), ("c3",), ("gone",)))[:3] == ["c35", "c3", "c0"]
    assert chosen(*columns, clustering=(("c5",),), stats="c1,c5") == ["c5", "c1"]


def test_physical_names_under_column_mapping() -> None:
    renamed = column("a", **{"delta.columnMapping.physicalName": "col-1"})
    inner = struct(column("x", **{"delta.columnMapping.physicalName": "col-3"}))
    nested = column("s", inner, **{"delta.columnMapping.physicalName": "col-2"})
    assert chosen(renamed, nested, mapping="name") == ["col-1", "col-2.col-3"]
    assert chosen(renamed, nested) == ["a", "s.x"]
    assert chosen(renamed, nested, mapping="id", stats="s.x") == ["col-2.col-3"]
    assert chosen(renamed, nested, mapping="id", clustering=(("col-2", "col-3"),))[0] == (
        "col-2.col-3"
    )
    assert chosen(renamed, nested, mapping="id", partitions=("a",)) == ["col-2.col-3"]


def test_json_form() -> None:
    one = SkippingColumn(("a", "b.c"), "decimal(10,2)")
    assert SkippingColumn.from_json(json.loads(json.dumps(one.to_json()))) == one


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("a", [("a",)]),
        (" a , b.c ", [("a",), ("b", "c")]),
        ("`a.b`.c,`x``y`,`,`", [("a.b", "c"), ("x`y",), (",",)]),
    ],
)
def test_column_lists(text: str, paths: list[tuple[str, ...]]) -> None:
    assert parse_column_list(text) == paths


@pytest.mark.parametrize("text", ["", " ", "a,,b", "`a", "a`b", "a..b", ".", "a.", "a,"])
def test_malformed_column_lists_count_as_none(text: str) -> None:
    assert parse_column_list(text) is None
    assert chosen(column("a"), column("b"), stats=text, count="1") == ["a"]
