from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import (
    ArrayType,
    MapType,
    PrimitiveType,
    StructType,
    arrow_schema,
    arrow_type,
    column_mapping_mode,
    decimal_parameters,
    is_string,
    iter_leaves,
    parse_schema,
)
from tests.tables import samples


def column(name: str, type: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type, "nullable": True, "metadata": {}, **more}


def text(*columns: dict[str, Any]) -> str:
    return json.dumps({"type": "struct", "fields": list(columns)})


MAPPED = {"delta.columnMapping.id": 7, "delta.columnMapping.physicalName": "col-x"}


def test_nested_types() -> None:
    inner = {"type": "struct", "fields": [column("d", "integer", metadata=MAPPED)]}
    schema = parse_schema(
        text(
            column("a", {"type": "array", "elementType": inner, "containsNull": False}),
            column(
                "m",
                {
                    "type": "map",
                    "keyType": "string",
                    "valueType": "long",
                    "valueContainsNull": True,
                },
            ),
            column("s", inner, nullable=False),
        )
    )
    array, mapping, struct = schema.fields
    assert isinstance(array.type, ArrayType)
    assert not array.type.contains_null
    assert isinstance(mapping.type, MapType)
    assert mapping.type.value == PrimitiveType("long")
    assert isinstance(struct.type, StructType)
    assert not struct.nullable
    assert struct.type.fields[0].physical_name == "col-x"
    assert struct.type.fields[0].column_id == 7
    assert [leaf.path for leaf in iter_leaves(schema)] == [("a",), ("m",), ("s", "d")]
    assert [leaf.physical for leaf in iter_leaves(schema)][2] == ("s", "col-x")
    assert [leaf.physical for leaf in iter_leaves(schema, mapped=False)][2] == ("s", "d")


def test_unknown_metadata_and_types_are_kept() -> None:
    schema = parse_schema(text(column("g", "geometry(4326)", metadata={"x": {"y": [1]}})))
    assert schema.fields[0].metadata == {"x": {"y": [1]}}
    assert schema.fields[0].type == PrimitiveType("geometry(4326)")
    hash(schema)


def test_missing_optional_members_have_defaults() -> None:
    schema = parse_schema('{"type":"struct","fields":[{"name":"a","type":"long"}]}')
    assert schema.fields[0].nullable
    assert schema.fields[0].physical_name == "a"
    assert parse_schema("").fields == ()


@pytest.mark.parametrize(
    "schema_string",
    [
        "{",
        '"long"',
        '{"type":"struct"}',
        '{"type":"struct","fields":[{"type":"long"}]}',
        '{"type":"struct","fields":[{"name":1,"type":"long"}]}',
        '{"type":"struct","fields":[{"name":"a","type":{"type":3}}]}',
        '{"type":"struct","fields":[{"name":"a","type":7}]}',
        '{"type":"array","elementType":"long"}',
    ],
)
def test_malformed_schemas_are_refused(schema_string: str) -> None:
    with pytest.raises(DeltaLakeError) as error:
        parse_schema(schema_string)
    assert error.value.kind is DeltaLakeErrorKind.INVALID_LOG


def test_arrow_schema() -> None:
    schema = parse_schema(
        text(
            *[
                column(name, name)
                for name in (
                    "byte",
                    "short",
                    "integer",
                    "long",
                    "float",
                    "double",
                    "boolean",
                    "binary",
                    "date",
                    "timestamp",
                    "timestamp_ntz",
                    "void",
                    "string",
                    "varchar(9)",
                    "char(3)",
                    "string collate UNICODE",
                    "decimal(38,18)",
                    "decimal",
                    "variant",
                )
            ],
            column("list", {"type": "array", "elementType": "long", "containsNull": False}),
            column(
                "map",
                {
                    "type": "map",
                    "keyType": "string",
                    "valueType": {"type": "struct", "fields": [column("v", "date")]},
                    "valueContainsNull": False,
                },
            ),
            column("must", "long", nullable=False),
        )
    )
    types = {field.name: field.type for field in arrow_schema(schema)}
    assert [types[n] for n in ("byte", "short", "integer", "long")] == [
        pa.int8(),
        pa.int16(),
        pa.int32(),
        pa.int64(),
    ]
    assert (types["float"], types["double"]) == (pa.float32(), pa.float64())
    assert (types["boolean"], types["binary"], types["date"]) == (
        pa.bool_(),
        pa.binary(),
        pa.date32(),
    )
    assert types["timestamp"] == pa.timestamp("us", "UTC")
    assert types["timestamp_ntz"] == pa.timestamp("us")
    assert types["void"] == pa.null()
    for name in ("string", "varchar(9)", "char(3)", "string collate UNICODE"):
        assert types[name] == pa.string()
    assert types["decimal(38,18)"] == pa.decimal128(38, 18)
    assert types["decimal"] == pa.decimal128(10, 0)
    assert [f.name for f in types["variant"]] == ["metadata", "value"]
    assert types["list"].value_type == pa.int64()
    assert not types["list"].value_field.nullable
    assert types["map"].item_type == pa.struct([pa.field("v", pa.date32())])
    assert not types["map"].item_field.nullable
    assert not arrow_schema(schema).field("must").nullable


@pytest.mark.parametrize("name", ["geometry(4326)", "decimal(39,1)", "decimal(4,5)", "interval"])
def test_unknown_types_are_refused_when_rows_are_wanted(name: str) -> None:
    inner = {"type": "struct", "fields": [column("g", name)]}
    with pytest.raises(DeltaLakeError, match=r"outer\.g") as error:
        arrow_schema(parse_schema(text(column("outer", inner))))
    assert error.value.kind is DeltaLakeErrorKind.UNSUPPORTED_FEATURE
    assert name in error.value.message


def test_type_names() -> None:
    assert decimal_parameters("decimal( 10 , 2 )") == (10, 2)
    assert decimal_parameters("decimal(10)") == (10, 0)
    assert decimal_parameters("long") is None
    assert is_string("varchar(3)")
    assert not is_string("stringy")
    assert arrow_type(PrimitiveType("long")) == pa.int64()


@pytest.mark.parametrize(
    ("type", "metadata", "collated"),
    [
        ("string", {}, False),
        ("string", {"__COLLATIONS": {"c": "icu.UNICODE"}}, True),
        ("string", {"__COLLATIONS": {"c": "spark.UTF8_BINARY"}}, False),
        ("string collate UTF8_LCASE", {}, True),
        ("string collate UTF8_BINARY", {}, False),
    ],
)
def test_collations(type: str, metadata: dict[str, Any], collated: bool) -> None:
    assert parse_schema(text(column("c", type, metadata=metadata))).fields[0].collated is collated


def test_column_mapping_mode() -> None:
    assert column_mapping_mode({}) == "none"
    assert column_mapping_mode({"delta.columnMapping.mode": "ID"}) == "id"
    assert column_mapping_mode({"delta.columnMapping.mode": "name"}) == "name"


def test_fields_are_found_by_logical_name() -> None:
    schema = parse_schema(text(column("Aa", "long"), column("b", "long")))
    assert schema.field("aA") is schema.fields[0]
    assert schema.field("c") is None


def test_schemas_of_real_tables() -> None:
    seen = 0
    for name in samples.names("valid"):
        for version in samples.versions(name):
            facts = samples.expected(name)["versions"][str(version)]
            if not facts.get("schema"):
                continue
            schema = parse_schema(json.dumps(facts["schema"]))
            assert arrow_schema(schema).names == [f["name"] for f in facts["schema"]["fields"]]
            seen += 1
    assert seen > 100
