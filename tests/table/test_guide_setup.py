"""The migration guide's settings, connections and error handling, run as printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import deltalakedb as dl
from deltalakedb.config import ConfigFactory, ConfigLoader
from tests.table.opening import table_uri
from tests.table.test_guide import GUIDE, block, run

[YAML] = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.S)
PRINTED_URL = "postgresql://deltalake_user:password@localhost:5432/deltalake_metadata"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: str) -> str:
    """The guide's configuration file, in the working directory, with a database that is there."""
    monkeypatch.chdir(tmp_path)
    assert PRINTED_URL in YAML
    text = YAML.replace(PRINTED_URL, shared)
    (tmp_path / "migration_config.yaml").write_text(text)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "development.yaml").write_text(text)
    return shared


def test_database_setup(settings: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(block("# Test database connection"), {})
    assert capsys.readouterr().out == "✅ Database connection successful\n"
    assert found["connection"].engine.pool.size() == 20
    config = found["config"]
    assert ConfigFactory.create_cache_config(config["performance"]) == dl.CacheConfig(max_size=1000)


def test_a_database_that_is_not_there(
    settings: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = "postgresql://deltalake_user:h1dden@127.0.0.1:1/deltalake_metadata"
    (tmp_path / "migration_config.yaml").write_text(YAML.replace(PRINTED_URL, nowhere))
    with pytest.raises(SystemExit) as caught:
        run(block("# Test database connection"), {}, exit=_exit)
    assert caught.value.code == 1
    out = capsys.readouterr().out
    assert out.startswith(
        "❌ Database connection failed: postgresql+psycopg2://deltalake_user:***@"
    )
    assert "h1dden" not in out


def _exit(code: int) -> None:
    raise SystemExit(code)


def test_connection_errors(shared: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = block("# Test connection with detailed error reporting")
    if shared.startswith("sqlite"):
        code = code.replace("SELECT version()", "SELECT sqlite_version()")
    found = run(code, {"postgresql://user:pass@localhost:5432/db": shared})
    assert capsys.readouterr().out == "✅ Connection successful\n"
    assert found["conn"].engine.pool.timeout() == 60
    run(code, {"postgresql://user:pass@localhost:5432/db": "postgresql://u:h1dden@127.0.0.1:1/x"})
    out = capsys.readouterr().out
    assert "❌ Connection failed: " in out
    assert "Database server is running" in out
    assert "h1dden" not in out


def test_configuration_management(settings: str) -> None:
    code = block("def get_config_for_environment(")
    uri = table_uri("pg://localhost/db")
    found = run(code, {"deltasql://pg://localhost/db.mytable": uri}, dl=dl)
    assert found["table"].version == 20


def test_the_production_configuration(monkeypatch: pytest.MonkeyPatch, shared: str) -> None:
    config: Any = run(block("# Recommended production configuration"), {})["production_config"]
    monkeypatch.setenv("DL_DATABASE", shared)
    sql = ConfigFactory.create_sql_config(config["database"])
    with dl.SqlConnection(sql) as connection:
        assert connection.execute("SELECT name FROM dl_tables") == [("sales",)]
        assert connection.engine.pool.size() == 50  # type: ignore[attr-defined]
    assert ConfigFactory.create_cache_config(config["performance"]) == dl.CacheConfig(max_size=5000)
    lazy = ConfigFactory.create_lazy_loading_config(config["performance"])
    assert lazy == dl.LazyLoadingConfig(dl.LoadingStrategy.LAZY, chunk_size=2000)


def test_a_configuration_file_is_what_it_prints(settings: str) -> None:
    config = ConfigLoader.load_yaml_config("migration_config.yaml")
    assert list(config) == ["database", "migration", "performance", "logging"]


def test_error_handling(shared: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(block("def robust_table_operation("), {}, fallback_operation=lambda uri: "fallback")
    operation = found["robust_table_operation"]
    assert operation(table_uri(shared)).num_rows == 5920
    assert capsys.readouterr().out == ""
    assert operation(table_uri(shared, "nobody")) == "fallback"
    assert "❌ Operation failed: no table nobody in " in capsys.readouterr().out


def test_reading_with_a_fallback(
    generated: Path, shared: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(block("def read_with_fallback("), {"/tables/sales": str(generated)})

    class Reader:
        def __init__(self, uri: str) -> None:
            self._uri = uri

        def read_latest(self) -> Any:
            return dl.connect_to_table(self._uri).to_pyarrow_table()

    read = found["read_with_fallback"]
    assert read(Reader(table_uri(shared))).num_rows == 5920
    assert read(Reader(table_uri(shared, "nobody"))).num_rows == 5920
