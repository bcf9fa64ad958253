"""The migration guide's code runs as it is printed; only its places are put in."""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.facade.bridge import DeltaLakeBridge, OriginalFile, QueriedData, SchemaText
from deltalakedb.importing.run import import_table
from tests.table.opening import GrowingTable, add, first_actions, remove, table_uri
from tests.tables import samples

GUIDE = Path(__file__).parents[2] / "docs" / "migration_guide.md"
BLOCKS: list[str] = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.S)


def block(containing: str) -> str:
    [found] = [text for text in BLOCKS if containing in text]
    return found


def run(code: str, places: dict[str, str], **names: Any) -> dict[str, Any]:
    """Execute a block with `places` put in for the guide's; each must be there."""
    for printed, here in places.items():
        assert f'"{printed}"' in code, printed
        code = code.replace(f'"{printed}"', repr(here))
    namespace: dict[str, Any] = {"__name__": "guide", **names}
    exec(compile(code, "migration_guide.md", "exec"), namespace)
    return namespace


@pytest.fixture
def uri(shared: str) -> str:
    return table_uri(shared)


def test_reading_after_the_migration(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = block("# SQL-Backed Delta Lake")
    reading, _, writing = code.partition("# Write data (async support)")
    version = writing.partition("# Get version (cached for performance)\n")[2]
    assert version.startswith("current_version = ")
    found = run(
        reading + version,
        {"deltasql://postgresql://user:pass@localhost:5432/db.mytable": uri},
    )
    assert found["current_version"] == 20
    assert found["df"].num_rows == found["snapshot"].count_rows() == 5920


def test_performance_example(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(
        block("# Configure performance optimizations"),
        {"deltasql://pg://localhost/db.large_table": uri},
    )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == found["metadata"].num_files == 270
    assert re.fullmatch(r"Processing: date=\S+/region=\S+\.parquet \([\d,]+ bytes\)", lines[0])


VALIDATION = "def validate_migration("
DETAILED = "def detailed_validation("


def validated(source: Path, uri: str) -> Callable[[], dict[str, Any]]:
    return lambda: run(
        block(VALIDATION),
        {
            "/path/to/original/table": str(source),
            "deltasql://postgresql://user:pass@localhost:5432/db.migrated_table": uri,
        },
    )


def test_validation(uri: str, generated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert validated(generated, uri)()["validation_result"] is True
    out = capsys.readouterr().out
    assert "File count - Original: 270, Migrated: 270" in out
    assert "Overall validation: ✅ PASSED" in out
    assert "❌" not in out


def test_detailed_validation(uri: str, generated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(
        block(DETAILED),
        {"/path/to/source": str(generated), "deltasql://pg://localhost/db.target": uri},
        dl=dl,
    )
    assert capsys.readouterr().out.splitlines() == ["🔍 Detailed Validation Report:", "Schema: ✅"]


def test_validation_finds_what_is_missing(
    tmp_path: Path, catalog_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = GrowingTable(tmp_path, catalog_url)
    made.commit(*first_actions(), add("a b"), add("c"))
    made.imported()
    made.commit(add("d"), remove("c"))
    run(
        block(DETAILED),
        {
            "/path/to/source": str(made.folder),
            "deltasql://pg://localhost/db.target": table_uri(catalog_url),
        },
        dl=dl,
    )
    out = capsys.readouterr().out
    assert "Missing 1 files:\n   - day=2024-05-01/d.parquet" in out
    assert "Extra 1 files:\n   - day=2024-05-01/c.parquet" in out


@pytest.mark.parametrize(
    "name",
    [
        "kernel-table-with-dv-small",
        "golden-table-with-columnmapping-mode-id",
        "golden-data-reader-partition-values",
        "kernel-parsed-stats",
    ],
)
def test_validation_of_tables_that_are_less_plain(
    name: str, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import_table(str(samples.path(name)), database=sqlite_url)
    uri = table_uri(sqlite_url, name)
    assert validated(samples.path(name), uri)()["validation_result"] is True


def test_monitoring(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    class Stop(Exception):
        pass

    rounds: list[float] = []

    def sleep(seconds: float) -> None:
        rounds.append(seconds)
        if len(rounds) == 2:
            raise Stop

    found = run(block("def monitor_table_health("), {})
    found["time"] = types.SimpleNamespace(time=found["time"].time, sleep=sleep)
    with pytest.raises(Stop):
        found["monitor_table_health"](uri, check_interval=5)
    out = capsys.readouterr().out
    assert out.count("📊 Table Health Check:") == len(rounds) == 2
    assert out.count("   File count: 270\n") == 2
    assert "Cache hit ratio: 100.00%" in out
    assert "Health check failed" not in out
    assert "LOW CACHE HIT RATIO" not in out


def test_the_bridge_opens_what_deltalake_opens(generated: Path) -> None:
    table = DeltaLakeBridge().create_compatible_table(str(generated), version=3)
    assert table.version() == 3
    file = table.files()[0]
    assert isinstance(file, OriginalFile)
    assert file == file.path == f"{file}"
    assert (generated / file).stat().st_size == file.size
    assert file.num_records == 20
    assert table.to_pyarrow_dataset().count_rows() == 20 * len(table.files())
    assert "version=3" in repr(table)
    with pytest.raises(DeltaLakeError, match="no Delta table at") as caught:
        dl.DeltaLakeBridge().create_compatible_table(str(generated / "nothing"))
    assert caught.value.kind is DeltaLakeErrorKind.NOT_FOUND


def test_the_bridge_queries_what_deltalake_can_only_query() -> None:
    path = samples.path("kernel-table-with-dv-small")
    data = DeltaLakeBridge().create_compatible_table(str(path)).to_pyarrow_dataset()
    assert isinstance(data, QueriedData)
    assert data.count_rows() == data.to_table().num_rows == 8
    assert data.head(3).num_rows == 3
    assert data.schema.names == ["value"]


def test_a_schema_text_equals_every_text_of_the_schema() -> None:
    text = SchemaText('{"type":"struct","fields":[{"name":"a","type":"long"}]}')
    same = '{ "fields": [{"type": "long", "name": "a"}], "type": "struct" }'
    assert text == same
    assert hash(text) == hash(SchemaText(same))
    for other in ('{"type":"struct","fields":[]}', "no json", ""):
        assert text != other
    assert (text == 5) is False
