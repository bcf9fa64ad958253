"""An import of any valid table is in parity, in both modes, in one process and on Dask."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from deltalakedb.error import DeltaLakeError
from deltalakedb.importing.run import import_table
from deltalakedb.parity.run import diff_table
from tests.parity.logs import Log
from tests.servers.s3 import SECRET, S3Bucket

if TYPE_CHECKING:
    from pathlib import Path

    from distributed import Client


def _drifted(tables: ModuleType, names: list[str], mode: str, database: str) -> dict[str, str]:
    drifted = {}
    for name in names:
        table = import_table(str(tables.path(name)), database=database, mode=mode).table_id
        try:
            report = diff_table(table, database=database)
        except DeltaLakeError as error:
            drifted[name] = str(error)
        else:
            if report.exit_code or report.file_drift:
                drifted[name] = str(report)
    return drifted


def test_every_valid_table_with_its_history(tables: ModuleType, tmp_path: Path) -> None:
    database = str(tmp_path / "catalog.sqlite")
    assert _drifted(tables, tables.names("valid"), "full-history", database) == {}


def test_every_valid_table_with_a_checkpoint_imported_from_it(
    tables: ModuleType, tmp_path: Path
) -> None:
    """Without a checkpoint both modes read the same."""
    names = [
        name
        for name in tables.names("valid")
        if any((tables.path(name) / "_delta_log").glob("*.checkpoint*"))
    ]
    assert len(names) > 20
    assert _drifted(tables, names, "fast", str(tmp_path / "catalog.sqlite")) == {}


def test_workers_read_a_log_with_credentials_of_the_client(
    s3: S3Bucket, dask_client: Client, tmp_path: Path
) -> None:
    log = Log.write(tmp_path / "people")
    place = s3.upload(log.table, "people")
    database = str(tmp_path / "catalog.sqlite")
    table = import_table(place, database=database, storage_options=s3.options).table_id
    report = diff_table(table, database=database, storage_options=s3.options, client=dask_client)
    assert (report.exit_code, report.num_files) == (0, 5)
    s3.put("people/_delta_log/00000000000000000003.json", log.path(2).read_bytes())
    report = diff_table(table, database=database, storage_options=s3.options, client=dask_client)
    assert (report.exit_code, report.rewritten_commits, report.file_drift) == (2, (3,), 1)
    assert [f.path for f in report.files.missing_in_log] == ["d.parquet"]
    assert SECRET not in str(report)
