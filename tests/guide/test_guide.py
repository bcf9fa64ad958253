"""The whole migration guide, block by block, in the order in which it is printed.

Hosts, passwords and paths are put in, and for each block the table below says what it is given
besides: names that earlier blocks have made, and those that the guide leaves to its reader.
Three blocks aren't run as they once were printed; what they said, and why it can't work, is tested.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import deltalake
import psycopg2
import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.migrate.points import rollback_points
from tests.cli.commands import DL
from tests.guide.blocks import Block, blocks, taken_names
from tests.servers.mariadb import MariaDbServer
from tests.servers.postgres import PostgresServer
from tests.tables import samples

BLOCKS = blocks()
PASSWORD = "h1dden"
DATABASE = "deltalake_metadata"
USER = "deltalake_user"
SQLITE = "/var/lib/deltalake/metadata.sqlite"
TABLES = {
    "/path/to/existing/delta/table": "golden-only-checkpoint-files",
    "/path/to/table": "rs-simple_table",
    "/path/to/source": "golden-time-travel-start-start20-start40",
    "/path/to/delta/tables/orders": "dat-with_checkpoint",
    "/path/to/delta/tables/items": "kdef-kernel-pagination-all-jsons",
    "/tables/sales": "rs-checkpoint-cdf-table",
    "/slow/table": "golden-basic-with-inserts-overwrite-restore",
    "/watched/table": "dask-simple2",
}
"""Printed paths, and the real table that is there; the last two are `source_uri` of blocks that
leave it to the reader."""
_TELL = """sed 's/.*"table_id":"\\([^"]*\\)".*/\\1/'"""
ID = f"$(dl tables --database '{SQLITE}' --format json | {_TELL})"
"""What stands for a table's uuid in commands: the shell asks the catalog for it."""


class Guide:
    """Runs blocks: Python in one namespace, as in one session, commands by a shell."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.names: dict[str, Any] = {"__name__": "guide"}
        for printed, name in TABLES.items():
            place = self.place(printed)
            place.parent.mkdir(parents=True, exist_ok=True)
            samples.copy(name, folder / "copies").rename(place)
        self.place(SQLITE).parent.mkdir(parents=True)
        shims = folder / "bin"
        shims.mkdir()
        if shutil.which("rsync") is None:
            # With its meaning of a source that ends in a slash: what is in the folder.
            (shims / "rsync").write_text('#!/bin/sh\nexec cp -a -T "$2" "$3"\n')
            (shims / "rsync").chmod(0o755)
        self._environment = {
            **os.environ,
            "PATH": f"{shims}:{DL.parent}:{os.environ['PATH']}",
            # The index that pip asks is a folder, and it says what it would do.
            "PIP_NO_INDEX": "1",
            "PIP_DRY_RUN": "1",
            "PIP_FIND_LINKS": str(_wheels(folder / "wheels")),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    def place(self, printed: str) -> Path:
        """Where a printed path is here."""
        return self.folder / printed.lstrip("/")

    def put_in(self, text: str) -> str:
        """The text with hosts, passwords and paths of here."""
        server = self.url.rpartition("/")[0]
        text = text.replace(f"postgresql://{USER}:password@localhost:5432", server)
        text = text.replace("postgresql://user:pass@localhost:5432/db", self.url)
        text = text.replace("pg://localhost/db", "pg://" + self.url.partition("://")[2])
        text = text.replace("'your_password'", f"'{PASSWORD}'")
        text = re.sub(r"<uuid[^>]*>", lambda _: ID, text)
        text = text.replace("/backups/delta/sales", f"{self.place('/backups/delta/sales')}/")
        text = text.replace("/backup/delta_tables_backup", str(self.place("/backup/tables")))
        text = re.sub(
            r"(?<![\w/])/(?:path/to|tables)/[\w/]+", lambda m: str(self.place(m[0])), text
        )
        return text.replace(SQLITE, str(self.place(SQLITE)))

    def python(self, block: Block) -> str:
        """What a block prints."""
        code = compile(self.put_in(block.text), f"migration_guide.md:{block.line}", "exec")
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(code, self.names)
        return out.getvalue()

    def bash(self, block: Block) -> str:
        """What a block's commands print."""
        done = subprocess.run(
            ["bash", "-e", "-c", self.put_in(block.text)],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self._environment,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, (block.line, done.stdout, done.stderr)
        return done.stdout

    def yaml(self, block: Block) -> str:
        """The block is a file, which its first line names."""
        name = block.text.splitlines()[0].removeprefix("# ")
        text = self.put_in(block.text)
        (self.folder / name).write_text(text)
        # The environment of the last block has its configuration of the same kind.
        (self.folder / "config").mkdir()
        (self.folder / "config" / "development.yaml").write_text(text)
        return text

    def migrated(self, name: str, printed: str) -> None:
        """A table in the catalog, for blocks that open one."""
        moved = dl.DeltaTableMigrator(str(self.place(printed)), self.url).migrate_table(name)
        assert moved.success, moved.error_message

    def created(self, *names: str) -> None:
        """Tables of the catalog's own."""
        for name in names:
            location = str(self.folder / "created" / name)
            schema = pa.schema({"id": pa.int64()})
            dl.create_table(f"deltasql://{self.url}?table={name}", schema, location=location)


@dataclass(frozen=True)
class Run:
    """How a block is run.

    `starts`: its first line of code, by which it is known; `earlier`: names that earlier blocks
    have made; `given`: names that the guide leaves to its reader; `before`: what has to be there;
    `shows`: what it has to print, in order.
    """

    starts: str
    earlier: tuple[str, ...] = ()
    given: Mapping[str, Callable[[Guide], object]] = field(default_factory=dict)
    before: Callable[[Guide], object] = lambda guide: None
    shows: tuple[str, ...] = ()


def _target(guide: Guide) -> object:
    return guide.names["sql_config"]


def _at(printed: str) -> Callable[[Guide], object]:
    return lambda guide: str(guide.place(printed))


def _source(guide: Guide) -> None:
    guide.migrated("target", "/path/to/source")


def _original(guide: Guide) -> None:
    shutil.copytree(
        guide.place("/path/to/existing/delta/table"), guide.place("/path/to/original/table")
    )


def _backup(guide: Guide) -> None:
    shutil.copytree(guide.place("/tables/sales"), guide.place("/backups/delta/sales"))
    max((guide.place("/tables/sales") / "_delta_log").glob("*.json")).unlink()


RUNS = (
    Run("pip install deltalakedb\npip install deltalake", shows=("deltalakedb", "aiosqlite")),
    Run("CREATE DATABASE deltalake_metadata"),
    Run("pip install deltalakedb\n", shows=("deltalakedb",)),
    Run("import shutil"),
    Run("database:"),
    Run(
        "import deltalakedb as dl\nfrom deltalakedb.config",
        shows=("✅ Database connection successful",),
    ),
    Run(
        "dl import \\\n  --database",
        shows=("Imported", "location:        s3://warehouse/sales", "Unchanged"),
    ),
    Run(
        "import deltalakedb as dl\n\n# Define source and target",
        earlier=("sql_config",),
        shows=(
            "- Versions: 3\n",
            "- Files: 7\n",
            "Estimated migration time: 0.",
            "✅ Migration completed successfully!",
            "- Migrated 7 files",
            f"{USER}:***@",
        ),
    ),
    Run(
        "import deltalakedb as dl\nimport os\nfrom pathlib",
        earlier=("sql_config",),
        shows=("Found 2 Delta tables", "batch 1/1", "migrated successfully", "migrated success"),
    ),
    Run("dl diff \\\n  --database", shows=("Parity: ",)),
    Run("dl diff \\\n  --database", shows=('"dl_version_delta": 0',)),
    Run(
        "import deltalakedb as dl\n\ndef validate_migration",
        before=_original,
        shows=("Schema match: ✅", "File count match: ✅", "sample match: ✅", "✅ PASSED"),
    ),
    Run("import deltalake as dl"),
    Run(
        "import deltalakedb as dl\n\n# SQL-Backed",
        before=lambda guide: guide.migrated("mytable", "/path/to/table"),
    ),
    Run(
        "import deltalakedb as dl\n\n# Create transaction manager",
        before=lambda guide: guide.created("sales", "inventory", "audit_log"),
        shows=("✅ Distributed transaction committed",),
    ),
    Run(
        "import deltalakedb as dl\n\n# Configure performance",
        before=lambda guide: guide.migrated("large_table", "/tables/sales"),
        shows=("Processing: birthday=", " bytes)"),
    ),
    Run(
        "import deltalakedb as dl\n\ntry:\n    config = dl.SqlConfig",
        shows=("✅ Connection successful",),
    ),
    Run(
        "migrator = dl.DeltaTableMigrator(source_uri, target_config)\n\n# Use parallel",
        earlier=("dl",),
        given={"source_uri": _at("/slow/table"), "target_config": _target},
    ),
    Run(
        "memory_config = dl.MemoryOptimizationConfig",
        earlier=("dl",),
        given={"source_uri": _at("/slow/table"), "target_config": _target},
    ),
    Run(
        "def detailed_validation",
        earlier=("dl",),
        before=_source,
        shows=("Detailed Validation Report", "Schema: ✅"),
    ),
    Run(
        "import deltalakedb as dl\n\n# Monitor migration",
        given={"source_uri": _at("/watched/table"), "target_config": _target},
        shows=("- Duration: ", "- Files/sec: ", "- MB/sec: ", "- Peak memory: "),
    ),
    Run("dl diff \\\n  --database", shows=('"parity":true',)),
    Run("rsync -a", before=_backup, shows=("Unchanged",)),
    Run("from deltalake import DeltaTable"),
    Run("production_config = {"),
    Run(
        "import deltalakedb as dl\nfrom deltalakedb.error",
        given={"time": lambda guide: __import__("time"), "fallback_operation": lambda guide: str},
    ),
    Run("import deltalakedb as dl\nimport time\n\ndef monitor_table_health"),
    Run("import os\nfrom deltalakedb.config", earlier=("dl",)),
)
"""All blocks of the guide."""


def _code(block: Block) -> str:
    """A block from its first line that is no comment on."""
    return re.sub(r"\A(\s*(#|--)[^\n]*\n)*", "", block.text).lstrip("\n")


def test_the_table_has_every_block() -> None:
    assert [
        b.line for b, run in zip(BLOCKS, RUNS, strict=True) if not _code(b).startswith(run.starts)
    ] == []
    for block, run in zip(BLOCKS, RUNS, strict=True):
        taken = taken_names(block.text) if block.language == "python" else set()
        assert taken == {*run.earlier, *run.given}, block.line


@pytest.fixture
def guide(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Guide]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DL_CACHE_DIR", str(tmp_path / "cache"))
    port = postgres_server.port
    yield Guide(tmp_path, f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}/{DATABASE}")
    postgres_server.drop_database(DATABASE)
    postgres_server.sql(f"DROP ROLE IF EXISTS {USER}")


@pytest.mark.system
def test_every_block_runs(
    guide: Guide, postgres_server: PostgresServer, mariadb_server: MariaDbServer
) -> None:
    try:
        for block, run in zip(BLOCKS, RUNS, strict=True):
            run.before(guide)
            guide.names |= {name: make(guide) for name, make in run.given.items()}
            if block.language == "sql":
                first, second = _halves(guide.put_in(block.text))
                for statement in first:
                    postgres_server.sql(statement)
                for statement in second:
                    mariadb_server.sql(statement)
                continue
            printed = getattr(guide, block.language)(block)
            where = 0
            for text in run.shows:
                where = printed.find(text, where)
                assert where >= 0, (block.line, text, printed)
                where += len(text)
            assert "❌" not in printed, (block.line, printed)
            assert PASSWORD not in printed or block.language == "yaml", block.line
    finally:
        mariadb_server.sql(f"DROP DATABASE IF EXISTS {DATABASE}")
        mariadb_server.sql(f"DROP USER IF EXISTS '{USER}'@'%'")
    _check_what_was_done(guide)


def _check_what_was_done(guide: Guide) -> None:
    """More than that nothing failed."""
    names = guide.names
    assert (guide.place("/backup/tables") / "orders" / "_delta_log").is_dir()
    # Written before the migration by delta-rs, and after it through SQL; the log has both.
    table = deltalake.DeltaTable(str(guide.place("/path/to/table")))
    assert table.to_pyarrow_table().num_rows == 4 * names["df"].num_rows // 2
    assert names["result"].success
    assert names["migrator"].migrate_table("optimized_table").success
    # The printed grants were enough: the catalog has a schema of its user's own.
    with dl.SqlConnection(names["sql_config"]) as connection:
        assert connection.execute("SELECT current_schema()") == [(USER,)]
    point, *_ = rollback_points("migrated_table", database=guide.url)
    assert point.version == 2
    log = [json.loads(line) for line in (guide.folder / "migration.log").read_text().splitlines()]
    assert {"import", "diff"} <= {line["step"] for line in log}
    assert PASSWORD not in (guide.folder / "migration.log").read_text()
    uri = f"deltasql://{guide.url}?table=mytable"
    operation, read = names["robust_table_operation"], names["read_with_fallback"]
    assert operation(uri).num_rows == table.to_pyarrow_table().num_rows
    assert operation(uri + "s") == uri + "s"
    assert (
        read(None).num_rows
        == deltalake.DeltaTable(str(guide.place("/tables/sales"))).to_pyarrow_table().num_rows
    )
    production = dl.ConfigLoader.load_mapping(names["production_config"])
    assert dl.ConfigFactory.create_settings(production).performance.max_concurrent_tasks == 20


def _halves(text: str) -> tuple[list[str], list[str]]:
    """PostgreSQL's and MySQL's statements of the block."""
    first, _, second = text.partition("-- MySQL\n")
    return tuple(  # type: ignore[return-value]
        [s.strip() for s in re.sub(r"^--.*\n", "", half, flags=re.M).split(";") if s.strip()]
        for half in (first, second)
    )


# The three that aren't run as they were printed


def test_a_backup_into_a_folder_that_was_made_before(tmp_path: Path) -> None:
    """Printed without `dirs_exist_ok`: it makes the folder that copying then refuses."""
    [block] = [b for b in BLOCKS if "copytree" in b.text]
    printed = block.text.replace(", dirs_exist_ok=True", "")
    assert printed != block.text
    (tmp_path / "tables").mkdir()
    code = printed.replace("/path/to/delta/tables", str(tmp_path / "tables"))
    code = code.replace("/backup/delta_tables_backup", str(tmp_path / "backup"))
    with pytest.raises(FileExistsError):
        exec(code, {})


def test_a_method_that_deltalake_does_not_have() -> None:
    """Printed as `table.write(df, mode="append")`, which deltalake never had: a function does."""
    [block] = [b for b in BLOCKS if b.text.startswith("import deltalake as dl")]
    assert 'dl.write_deltalake(table, df, mode="append")' in block.text
    assert not hasattr(deltalake.DeltaTable, "write")


def test_statements_of_two_databases_in_one_block(postgres_server: PostgresServer) -> None:
    """Each database takes its own half, and not the other one's."""
    [block] = [b for b in BLOCKS if b.language == "sql"]
    _, second = _halves(block.text)
    with pytest.raises(psycopg2.errors.SyntaxError):
        postgres_server.sql(second[1])


def _wheels(folder: Path) -> Path:
    """What the environment lacks of the packages that the guide names: wheels with nothing in."""
    folder.mkdir()
    info = "aiosqlite-1.0.dist-info"
    with zipfile.ZipFile(folder / "aiosqlite-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: aiosqlite\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return folder
