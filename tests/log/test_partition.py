from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.partition import (
    PartitionValue,
    parse_partition_value,
    partition_id,
    partition_values_text,
)
from deltalakedb.log.schema import PrimitiveType, column_mapping_mode, iter_leaves, parse_schema
from tests.tables import samples


def test_canonical_text() -> None:
    text = partition_values_text({"b": "", "a": 'ü"\\', "c": None})
    assert text == '{"a":"ü\\"\\\\","b":null,"c":null}'
    assert text == partition_values_text({"c": "", "a": 'ü"\\', "b": None})
    assert partition_values_text({}) == "{}"


def test_ids_are_signed_and_stable() -> None:
    assert partition_id("{}") == 1389868326933519382
    assert partition_id('{"a":"1"}') != partition_id('{"a":"2"}')
    assert all(-(2**63) <= partition_id(str(n)) < 2**63 for n in range(100))
    assert {partition_id(str(n)) < 0 for n in range(100)} == {True, False}


@pytest.mark.parametrize(
    ("text", "type", "value"),
    [
        (None, "long", None),
        ("", "string", None),
        ("", "timestamp", None),
        ("-128", "byte", -128),
        ("32767", "short", 32767),
        ("0042", "integer", 42),
        ("-9223372036854775808", "long", -(2**63)),
        ("1.5E10", "double", 1.5e10),
        ("-Infinity", "float", -math.inf),
        ("TRUE", "boolean", True),
        ("false", "boolean", False),
        ("2020-02-29", "date", date(2020, 2, 29)),
        ("2020-2-9", "date", date(2020, 2, 9)),
        ("2020-02-29 00:00:00", "date", date(2020, 2, 29)),
        ("1970-01-01 00:00:00", "timestamp", datetime(1970, 1, 1, tzinfo=UTC)),
        ("1970-01-01", "timestamp", datetime(1970, 1, 1, tzinfo=UTC)),
        (
            "1970-01-01 00:00:00.123456",
            "timestamp",
            datetime(1970, 1, 1, 0, 0, 0, 123456, tzinfo=UTC),
        ),
        (
            "1970-01-01T00:00:00.1Z",
            "timestamp",
            datetime(1970, 1, 1, 0, 0, 0, 100000, tzinfo=UTC),
        ),
        ("2000-01-01T10:00:00+05:30", "timestamp", datetime(2000, 1, 1, 4, 30, tzinfo=UTC)),
        ("2000-01-01 10:00:00-0800", "timestamp", datetime(2000, 1, 1, 18, tzinfo=UTC)),
        ("2021-11-18 02:30:00.5", "timestamp_ntz", datetime(2021, 11, 18, 2, 30, 0, 500000)),
        ("12.3", "decimal(10,2)", Decimal("12.30")),
        ("-0.05", "decimal(5,2)", Decimal("-0.05")),
        ("1E+3", "decimal(5,0)", Decimal("1000")),
        ("0.120", "decimal(5,2)", Decimal("0.12")),
        ("\\u0001\\u00FFa", "binary", b"\x01\xffa"),
        ("\x01\x02é", "binary", b"\x01\x02\xc3\xa9"),
        (" spaced ", "string", " spaced "),
        ("x", "varchar(3)", "x"),
    ],
)
def test_typed_values(text: str | None, type: str, value: PartitionValue) -> None:
    found = parse_partition_value(text, type)
    assert found == value
    assert found.__class__ is value.__class__
    assert str(found) == str(value)


def test_nan_is_a_value() -> None:
    found = parse_partition_value("NaN", "double")
    assert isinstance(found, float)
    assert math.isnan(found)


@pytest.mark.parametrize(
    ("text", "type"),
    [
        ("128", "byte"),
        ("1.0", "integer"),
        ("1_000", "long"),
        ("yes", "boolean"),
        ("2020-13-01", "date"),
        ("2020-01-01x", "date"),
        ("2020-01-01 25:00:00", "timestamp"),
        ("noon", "timestamp_ntz"),
        ("abc", "decimal(3,1)"),
        ("0.123", "decimal(5,2)"),
        ("1234.00", "decimal(5,2)"),
        ("1_0", "decimal(5,2)"),
        ("1_0", "double"),
        ("2023-02-29", "date"),
        ("+10000-01-01", "date"),
        ("99999999-01-01", "timestamp"),
        ("NaN", "decimal(3,1)"),
        ("x", "double"),
    ],
)
def test_values_of_another_type_are_refused(text: str, type: str) -> None:
    with pytest.raises(DeltaLakeError, match=r"partition value") as error:
        parse_partition_value(text, type)
    assert error.value.kind is DeltaLakeErrorKind.INVALID_LOG


def test_partition_values_of_real_tables() -> None:
    seen = 0
    for name in samples.names("valid", trait="partitioned"):
        for version in samples.versions(name):
            facts = samples.expected(name)["versions"][str(version)]
            if not facts.get("schema"):
                continue
            mapped = column_mapping_mode(facts["configuration"]) != "none"
            leaves = iter_leaves(parse_schema(json.dumps(facts["schema"])), mapped=mapped)
            types = {leaf.physical: leaf.type for leaf in leaves}
            for file in facts.get("files", ()):
                for column, text in file["partition_values"].items():
                    type = types.get((column,))
                    if isinstance(type, PrimitiveType):
                        assert (parse_partition_value(text, type.name) is None) is (text is None)
                        seen += 1
    assert seen > 100
