"""`dl config`, and `dl --config`: what a configuration says, and that commands do it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pyarrow as pa
import pytest
import yaml
from deltalake import write_deltalake

from deltalakedb import logs
from deltalakedb.config.schema import json_schema
from deltalakedb.migrate.points import rollback_points
from tests.cli.commands import dl, dl_json, error_of, process
from tests.config.test_config import GUIDE
from tests.tables import samples

SCHEMA = Path(__file__).parents[2] / "docs" / "configuration.schema.json"


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    logger = logging.getLogger(logs.ROOT)
    before, level = list(logger.handlers), logger.level
    yield
    for handler in [h for h in logger.handlers if h not in before]:
        logger.removeHandler(handler)
        handler.close()
    logger.setLevel(level)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DL_TEST_PASSWORD", "hidden")
    path = tmp_path / "config.yaml"
    path.write_text(GUIDE)
    return path


def test_each_value_is_shown_with_its_origin(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("hidden too")
    file.write_text(
        GUIDE + f"monitoring:\n  log_level: INFO\ncluster: {{kind: '${{file:{tmp_path}/secret}}'}}"
    )
    monkeypatch.setenv("DL_PERFORMANCE__CHUNK_SIZE", "9")
    shown = dl_json("config", "show", file, "--set", "migration.strategy=offline")
    found = {each["setting"]: (each["value"], each["origin"]) for each in shown}
    assert found["database.pool_size"] == ("20", f"{file}:4")
    assert found["database.pool_timeout"] == ("30.0", "default")
    assert found["database.url"] == (
        "postgresql://deltalake_user:***@localhost:5432/deltalake_metadata",
        f"{file}:3, ${{DL_TEST_PASSWORD}}",
    )
    assert found["performance.chunk_size"] == ("9", "environment DL_PERFORMANCE__CHUNK_SIZE")
    assert found["migration.strategy"] == ("offline", "option")
    assert found["cluster.kind"][0] == "***"
    text = dl("config", "show", file).output
    assert "hidden" not in text
    assert "SETTING" in text


def test_check_tells_all_that_is_wrong(file: Path) -> None:
    assert "settings, all of them known" in dl("config", "check", file).output
    file.write_text("databse: {}\nmigration: {strategy: onlin, x: 1}")
    lines = dl("config", "check", file, code=1).output.splitlines()
    assert ["did you mean 'database'?" in lines[0], "'online'" in lines[1]] == [True, True]
    assert len(lines) == 3
    file.write_text("database: {url: 'oracle://u:hidden@h/d'}")
    assert "hidden" not in dl("config", "check", file, code=1).output
    assert "no-such.yaml" in dl("config", "check", "no-such.yaml", code=1).output
    wrong = dl("config", "check", "--set", "migration.stratgy=x", code=1).output
    assert "did you mean 'strategy'" in wrong


def test_the_schema_is_that_of_the_checks(file: Path) -> None:
    assert json.loads(SCHEMA.read_text()) == json_schema()
    assert json.loads(dl("config", "schema").output) == json_schema()
    validator = jsonschema.Draft202012Validator(json_schema())
    assert list(validator.iter_errors(yaml.safe_load(GUIDE))) == []
    for wrong in (
        {"databse": {}},
        {"migration": {"stratgy": "online"}},
        {"migration": {"strategy": "onlin"}},
        {"database": {"pool_size": 0}},
        {"database": {"pool_timeout": "5 parsecs"}},
        {"performance": {"lazy_loading": "maybe"}},
    ):
        assert list(validator.iter_errors(wrong)), wrong
    for right in (
        {"database": {"pool_size": "${POOL:-5}", "pool_timeout": "5m"}},
        {"logging": {"file": None, "level": "debug"}},
        {"cluster": {"kind": "slurm", "options": {"cores": 2}}},
    ):
        assert list(validator.iter_errors(right)) == [], right


def test_commands_have_a_configuration(tmp_path: Path) -> None:
    table = samples.copy("dat-basic_partitioned", tmp_path).rename(tmp_path / "sales")
    (tmp_path / "url").write_text(f"{tmp_path / 'meta.sqlite'}\n")
    (tmp_path / "c.yaml").write_text(
        f"database: {{url: '${{file:{tmp_path}/url}}'}}\n"
        f"logging: {{structured: true, file: {tmp_path}/dl.log}}\n"
    )
    options = ("--config", tmp_path / "c.yaml")
    done = process(*options, "import", "--log-dir", table)
    assert done.returncode == 0, done.stderr
    assert "sales" in dl("tables", DL_CONFIG=str(tmp_path / "c.yaml")).stdout
    assert "sales" in dl("tables", DL_DATABASE_FILE=str(tmp_path / "url")).stdout
    dl(*options, "diff", "--table-id", "sales")
    assert "1 unchanged" in dl(*options, "migrate", "fleet", "--discover", table).stdout
    assert "nothing to roll back" in dl(*options, "rollback", "sales").stdout
    lines = [json.loads(line) for line in (tmp_path / "dl.log").read_text().splitlines()]
    assert [line["step"] for line in lines][:2] == ["import", "diff"]
    lines = lines[:2]
    assert all({"ts", "level", "event", "table", "table_id"} <= line.keys() for line in lines)
    assert all(line["duration_s"] > 0 for line in lines)
    assert lines[0]["run_id"]
    assert lines[0]["version"] == lines[1]["version"]


def test_a_table_is_moved_as_the_configuration_says(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        f"database: {{url: {tmp_path}/meta.sqlite}}\n"
        "migration: {strategy: hybrid, create_rollback_point: false, "
        "validate_after_migration: false}\n"
    )
    config = ("--config", tmp_path / "c.yaml")
    states = []
    for given, name in (((), "said"), (("--strategy", "offline"), "given")):
        table = tmp_path / name
        write_deltalake(str(table), pa.table({"id": [1]}))
        states.append(dl_json(*config, "migrate", "run", table, *given))
    assert [s["state"] for s in states] == ["ready", "sql"]
    assert [s["strategy"] for s in states] == ["hybrid", "offline"]
    assert [s["parity_version"] for s in states] == [None, None]
    assert rollback_points("given", database=str(tmp_path / "meta.sqlite")) == []


def test_a_wrong_configuration_ends_a_command(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("databse: {}")
    assert "did you mean 'database'" in error_of("--config", tmp_path / "c.yaml", "tables")
    (tmp_path / "c.yaml").write_text(f"logging: {{file: {tmp_path}/no/such/folder/dl.log}}")
    assert "can't log to" in error_of("--config", tmp_path / "c.yaml", "tables")
