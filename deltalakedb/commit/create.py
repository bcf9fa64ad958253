"""A new table: registered with its first version in one transaction, or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.dialects.writers import writer_of
from deltalakedb.catalog.loads import ledger
from deltalakedb.catalog.loads.swap import TableFacts, swap
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.records import load_of
from deltalakedb.commit.committer import Ratifier
from deltalakedb.commit.heads import Locked, LockedHead
from deltalakedb.commit.refusal import table_exists
from deltalakedb.commit.staged import StagedCommit, StagedTable
from deltalakedb.commit.version import Committed, Version
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.keys import choose_skipping_columns


def create(
    catalog: Catalog,
    staged: StagedCommit,
    ratifier: Ratifier,
    *,
    url: DatabaseUrl,
    authority: str = "sql",
) -> Committed:
    """Make the table of a staged commit of one table, whose `table` row says what is to be.

    Raises TABLE_EXISTS where its name or its location is another's by now.
    """
    [table] = staged.tables
    row = table.table
    assert table.metadata is not None
    run = ledger.start_run(
        catalog,
        table_id=row.table_id,
        table_name=row.full_name,
        location=row.location,
        mode="created",
        workers=0,
    )
    try:
        ledger.begin_load(catalog, run, _load(run))
        return _register(catalog, run, staged, ratifier, url, authority)
    except BaseException as error:
        ledger.fail_run(catalog, run, error)
        if (
            isinstance(error, DeltaLakeError)
            and queries.lookup_table(catalog, row.full_name) is not None
        ):
            raise table_exists(row.full_name) from error
        raise


def _load(run: ledger.Run) -> int:
    """A new table begins in the heap; when it has grown, it moves to a table of its own."""
    return load_of(run.run_key, heap=True)


def _register(
    catalog: Catalog,
    run: ledger.Run,
    staged: StagedCommit,
    ratifier: Ratifier,
    url: DatabaseUrl,
    authority: str,
) -> Committed:
    [table] = staged.tables
    row = table.table
    done: list[Committed] = []

    def first_version(connection: sa.Connection, table_key: int) -> None:
        head = LockedHead(
            table_key=table_key,
            head_version=-1,
            epoch=1,
            live_load=_load(run),
            num_files=0,
            total_bytes=0,
            authority=authority,
            table_id=row.table_id,
            location=row.location,
            skipping=facts.skipping,
            changes_since=-1,
        )
        writer = writer_of(url, connection.connection.dbapi_connection)
        known = replace(
            row,
            table_key=table_key,
            live_load=_load(run),
            authority=authority,
            skipping=facts.skipping,
        )
        mine = replace(table, table=known)
        locked = Locked({table_key: head}, ledger.now_ms(), "")
        version = Version(writer, staged, mine, locked, [(row.table_id, 0)])
        committed = version.committed(ratifier)
        if authority == "log":
            assert committed.row is not None
            if not ratifier.ratify(known, committed.row, committed.body):
                raise DeltaLakeError(
                    DeltaLakeErrorKind.TABLE_EXISTS,
                    f"{row.location} has become a Delta table meanwhile; import it",
                    location=row.location,
                )
        writer.run(version.statements)
        done.append(committed)

    facts = TableFacts(
        table_id=row.table_id,
        namespace=row.namespace,
        name=row.name,
        location=row.location,
        log_location=row.log_location,
        mode="created",
        head_version=-1,
        known_since=0,
        num_files=0,
        total_bytes=0,
        skipping=_skipping(table),
        unreadable_features="",
    )
    summary: dict[str, Any] = {
        "from_version": 0,
        "to_version": 0,
        "versions": 1,
        "adds": table.adds.num_rows,
        "removes": 0,
        "live_files": table.adds.num_rows,
    }
    swap(
        catalog,
        run,
        facts,
        load_id=_load(run),
        expected=None,
        summary=summary,
        authority=authority,
        within=first_version,
    )
    return done[0]


def _skipping(table: StagedTable) -> str:
    assert table.metadata is not None
    configuration = dict(table.metadata.get("configuration") or {})
    columns = choose_skipping_columns(
        str(table.metadata["schemaString"]),
        list(table.metadata.get("partitionColumns") or []),
        configuration,
    )
    return json.dumps(
        [
            {
                **column.to_json(),
                "least": 0,
                "greatest": 0,
                "width": 0,
                "missing": 0,
                "indexed": False,
            }
            for column in columns
        ]
    )
