"""What each ALTER TABLE makes of a table's metadata and protocol: pure.

PROTOCOL.md, "CHECK Constraints", "Column Mapping", "Type Widening"; operations and parameters are
named as Spark names them. Properties and features are in `settings`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pyarrow as pa

from deltalakedb.engine.expression import compile_expression
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.features import (
    CONSTRAINT_PREFIX,
    enabled,
    protocol_for,
)
from deltalakedb.log.metadata import TableSchema
from deltalakedb.log.schema import (
    GENERATION,
    DataType,
    StructType,
    column_mapping_mode,
    parse_schema,
)
from deltalakedb.log.schema_writer import delta_type, schema_string
from deltalakedb.log.statistics.skipping import STATS_COLUMNS, parse_column_list
from deltalakedb.table.operations import columns
from deltalakedb.table.operations.alter import Altered
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.settings import configured
from deltalakedb.write.constraints import check_constraints
from deltalakedb.write.schema import schema_of, with_column_mapping


def struct_of(fields: Any) -> StructType:
    """A field or several, of Arrow or delta-rs, or a schema, as a struct."""
    if isinstance(fields, pa.Field):
        return schema_of(pa.schema([fields]))
    if hasattr(fields, "to_json") and not hasattr(fields, "fields"):
        return _of_json([fields])
    if isinstance(fields, Iterable) and not isinstance(fields, str | pa.Schema):
        listed = list(fields)
        if listed and all(hasattr(each, "to_json") for each in listed):
            return _of_json(listed)
        if all(isinstance(each, pa.Field) for each in listed):
            return schema_of(pa.schema(listed))
    return schema_of(fields)


def _of_json(fields: Sequence[Any]) -> StructType:
    parts = ", ".join(field.to_json() for field in fields)
    return schema_of(f'{{"type": "struct", "fields": [{parts}]}}')


def with_schema(
    base: Base, struct: StructType, operation: str, parameters: Mapping[str, Any], **also: Any
) -> Altered:
    """The table with another schema, and what of the protocol that takes."""
    if struct == base.struct and not also:
        return Altered(metadata=base.metadata, protocol=base.protocol, operation=operation)
    given = also.pop("configuration", base.metadata.configuration)
    mapped, configuration = with_column_mapping(struct, given)
    metadata = replace(
        base.metadata,
        schema=TableSchema(schema_string(mapped)),
        configuration=configuration,
        **also,
    )
    return Altered(
        metadata=metadata,
        protocol=protocol_for(mapped, configuration, base.protocol),
        operation=operation,
        parameters=parameters,
    )


def _check_mapped(base: Base, what: str) -> None:
    if column_mapping_mode(base.metadata.configuration) == "none":
        raise DeltaLakeError(
            DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
            f"{what} of {base.row.full_name} takes column mapping, since its files know columns by "
            "name; set delta.columnMapping.mode to name first",
            feature="columnMapping",
        )


def _check_unused(base: Base, path: columns.Path) -> None:
    """SCHEMA_MISMATCH where an expression of the table names a column."""
    configuration = base.metadata.configuration
    expressions = {
        f"the constraint {name}": sql for name, sql in check_constraints(configuration).items()
    }
    for field in base.struct.fields:
        sql = field.metadata.get(GENERATION)
        if isinstance(sql, str):
            expressions[f"the generated column {field.name}"] = sql
    for what, sql in expressions.items():
        # The engine tells top-level columns: whoever uses one may use what is in it.
        if columns.uses(compile_expression(sql, base.struct).columns, path):
            raise DeltaLakeError(
                DeltaLakeErrorKind.SCHEMA_MISMATCH,
                f"{what} of {base.row.full_name} ({sql}) uses column {'.'.join(path)}; drop that "
                "first",
                column=".".join(path),
            )


def rename(base: Base, column: str, name: str) -> Altered:
    """With another name for a column, partition columns and statistics' columns included."""
    _check_mapped(base, "renaming a column")
    path = columns.path_of(base.struct, column)
    _check_unused(base, path)
    _check_not_listed(base, path)
    partitions = [name if (part,) == path else part for part in base.metadata.partition_columns]
    return with_schema(
        base,
        columns.renamed(base.struct, path, name),
        "RENAME COLUMN",
        {"oldColumnPath": ".".join(path), "newColumnPath": ".".join((*path[:-1], name))},
        partition_columns=partitions,
    )


def drop(base: Base, column: str) -> Altered:
    """Without a column. SCHEMA_MISMATCH for one that the table is partitioned or clustered by."""
    _check_mapped(base, "dropping a column")
    path = columns.path_of(base.struct, column)
    _check_unused(base, path)
    _check_not_listed(base, path)
    if path[0] in base.metadata.partition_columns:
        raise DeltaLakeError(
            DeltaLakeErrorKind.SCHEMA_MISMATCH,
            f"{base.row.full_name} is partitioned by {path[0]}, which can't be dropped; write the "
            "table anew",
            column=path[0],
        )
    if base.protocol.supports_writer_feature("clustering"):
        raise DeltaLakeError(
            DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
            f"{base.row.full_name} is clustered, maybe by {column}; drop the column with the "
            "engine that clusters it",
            feature="clustering",
        )
    return with_schema(
        base,
        columns.without(base.struct, path),
        "DROP COLUMNS",
        {"columns": [".".join(path)]},
    )


def _check_not_listed(base: Base, path: columns.Path) -> None:
    text = base.metadata.configuration.get(STATS_COLUMNS)
    listed = parse_column_list(text) if text else None
    if listed and columns.uses([".".join(each) for each in listed], path):
        raise DeltaLakeError(
            DeltaLakeErrorKind.SCHEMA_MISMATCH,
            f"the property {STATS_COLUMNS} of {base.row.full_name} lists column {'.'.join(path)}; "
            "change that first",
            column=".".join(path),
        )


def widen(base: Base, column: str, type: Any) -> Altered:
    """With a wider type of a column."""
    if not enabled(base.metadata.configuration, "delta.enableTypeWidening"):
        raise DeltaLakeError(
            DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
            f"changing a type in {base.row.full_name} takes type widening; set "
            "delta.enableTypeWidening to true first",
            feature="typeWidening",
        )
    path = columns.path_of(base.struct, column)
    _check_unused(base, path)
    wanted = _type_of(type)
    return with_schema(
        base,
        columns.widened(base.struct, path, wanted),
        "CHANGE COLUMN",
        {"column": orjson.dumps({"name": ".".join(path), "type": str(type)}).decode()},
    )


def _type_of(given: Any) -> DataType:
    if isinstance(given, pa.DataType):
        return delta_type(given)
    if hasattr(given, "to_json"):
        given = orjson.loads(given.to_json())
    field = {"name": "c", "type": given, "nullable": True, "metadata": {}}
    parsed = parse_schema(orjson.dumps({"type": "struct", "fields": [field]}).decode())
    return parsed.fields[0].type


def constrain(base: Base, constraints: Mapping[str, str]) -> Altered:
    """With more CHECK constraints. INVALID_ARGUMENT for names that are taken."""
    if not constraints:
        raise _invalid("give constraints as {name: SQL}")
    there = {name.lower() for name in check_constraints(base.metadata.configuration)}
    for name, sql in constraints.items():
        if name.lower() in there:
            raise _invalid(
                f"{base.row.full_name} has a constraint {name} already; drop it, or choose another "
                "name"
            )
        compiled = compile_expression(sql, base.struct)
        if compiled.type_name != "boolean":
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_PREDICATE,
                f"the constraint {name} ({sql}) is of type {compiled.type_name}; write a condition",
                expression=sql,
            )
    added = {CONSTRAINT_PREFIX + name: sql for name, sql in constraints.items()}
    [(first, sql), *_] = constraints.items()
    parameters = (
        {"name": first, "expr": sql}
        if len(constraints) == 1
        else {"constraints": dict(constraints)}
    )
    found = configured(base, added, "ADD CONSTRAINT", parameters)
    return replace(found, constraints=dict(constraints))


def unconstrain(base: Base, name: str, *, must_exist: bool) -> Altered:
    """Without a CHECK constraint."""
    configuration = base.metadata.configuration
    key = next((k for k in configuration if k.lower() == (CONSTRAINT_PREFIX + name).lower()), None)
    if key is None:
        if must_exist:
            listed = ", ".join(sorted(check_constraints(configuration))) or "none"
            raise _invalid(
                f"{base.row.full_name} has no constraint {name}; its constraints: {listed}"
            )
        return _same(base, "DROP CONSTRAINT")
    rest = {k: v for k, v in configuration.items() if k != key}
    return Altered(
        metadata=replace(base.metadata, configuration=rest),
        protocol=base.protocol,
        operation="DROP CONSTRAINT",
        parameters={"name": name, "expr": configuration[key]},
    )


def call(base: Base, name: str) -> Altered:
    """With another name in the metadata."""
    if not name or len(name) > 255:
        raise _invalid("a table's name has 1 to 255 characters")
    return _with(base, "SET TABLE NAME", {"name": name}, name=name)


def describe(base: Base, description: str) -> Altered:
    """With another description."""
    if len(description) > 4000:
        raise _invalid("a table's description has at most 4,000 characters")
    return _with(
        base, "SET TABLE DESCRIPTION", {"description": description}, description=description
    )


def _with(base: Base, operation: str, parameters: Mapping[str, Any], **changes: Any) -> Altered:
    return Altered(
        metadata=replace(base.metadata, **changes),
        protocol=base.protocol,
        operation=operation,
        parameters=parameters,
    )


def _same(base: Base, operation: str) -> Altered:
    return Altered(metadata=base.metadata, protocol=base.protocol, operation=operation)


def _invalid(what: str) -> DeltaLakeError:
    return DeltaLakeError(DeltaLakeErrorKind.INVALID_ARGUMENT, what)
