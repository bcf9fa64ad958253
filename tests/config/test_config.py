"""Configuration files and the settings made of them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deltalakedb.config import (
    CacheConfig,
    ConfigFactory,
    ConfigLoader,
    EvictionPolicy,
    LazyLoadingConfig,
    LoadingStrategy,
    LoggingSettings,
    LogLevel,
    MigrationStrategy,
    SqlConfig,
)
from deltalakedb.config.loading import load_configuration
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.secret import Secret

GUIDE = """
database:
  url: "postgresql://deltalake_user:${DL_TEST_PASSWORD}@localhost:5432/deltalake_metadata"
  pool_size: 20
  max_overflow: 40

migration:
  strategy: "online"
  preserve_partitions: true
  validate_after_migration: true
  create_rollback_point: true

performance:
  enable_caching: true
  cache_size: 1234
  lazy_loading: true
  chunk_size: 567

logging:
  level: "INFO"
  file: "migration.log"
  structured: true
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    def load(text: str) -> dict[str, Any]:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return ConfigLoader.load_yaml_config(path)

    return load


Load = Callable[[str], dict[str, Any]]


def refused(attempt: Callable[[], object]) -> DeltaLakeError:
    with pytest.raises(DeltaLakeError) as caught:
        attempt()
    assert caught.value.kind is DeltaLakeErrorKind.CONFIGURATION_ERROR
    return caught.value


def test_the_guides_file(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DL_TEST_PASSWORD", "p@ss: '#")
    config = load(GUIDE)
    assert set(config) == {"database", "migration", "performance", "logging"}
    assert config["migration"]["preserve_partitions"] is True
    sql = ConfigFactory.create_sql_config(config["database"])
    assert (sql.pool_size, sql.max_overflow) == (20, 40)
    assert sql.reveal_url() == (
        "postgresql+psycopg2://deltalake_user:p%40ss%3A%20%27%23@localhost:5432/deltalake_metadata"
    )
    assert "p@ss" not in repr(config)
    assert "p@ss" not in repr(sql)
    cache = ConfigFactory.create_cache_config(config["performance"])
    assert cache == CacheConfig(max_size=1234)
    lazy = ConfigFactory.create_lazy_loading_config(config["performance"])
    assert lazy == LazyLoadingConfig(LoadingStrategy.LAZY, chunk_size=567)


def test_the_guides_production_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    database = {"pool_size": 50, "max_overflow": 100, "pool_timeout": 60, "pool_recycle": 3600}
    monkeypatch.setenv("DL_DATABASE", "/var/lib/meta.sqlite")
    config = ConfigFactory.create_sql_config(database)
    assert config.reveal_url() == "sqlite:////var/lib/meta.sqlite"
    assert config.pool_timeout == 60
    monkeypatch.delenv("DL_DATABASE")
    assert "database.url" in refused(lambda: ConfigFactory.create_sql_config(database)).message


def test_variables(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", "x: [1]")
    monkeypatch.delenv("NOT_SET", raising=False)
    config = load("cluster: {a: '<${A}${A}>', b: ['$${A}', '$A', '${A}'], c: 5}")
    assert config["cluster"] == {"a": "<x: [1]x: [1]>", "b": ["${A}", "$A", "x: [1]"], "c": 5}
    error = refused(lambda: load("cluster:\n  files:\n    - ${NOT_SET}"))
    assert "cluster.files[0]" in error.message
    assert "'NOT_SET'" in error.message


def test_unreadable_files_tell_where(load: Load, tmp_path: Path) -> None:
    missing = refused(lambda: ConfigLoader.load_yaml_config(tmp_path / "none.yaml"))
    assert "none.yaml' does not exist" in missing.message
    refused(lambda: ConfigLoader.load_yaml_config(tmp_path))
    bad = refused(lambda: load("database:\n  url: 'pg://u:hidden@h/d\nlogging: [1\n"))
    assert (bad.facts["line"], bad.facts["column"]) == (4, 1)
    assert "line 4, column 1" in bad.message
    assert "hidden" not in bad.message
    colon = refused(lambda: load("database:\n  url: a: hidden\n"))
    assert "line 2, column 9" in colon.message
    assert "hidden" not in colon.message
    assert "not valid YAML" in refused(lambda: load("a: \x01")).message
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    latin = refused(lambda: ConfigLoader.load_yaml_config(tmp_path / "latin.yaml"))
    assert "could not be read" in latin.message
    for text in ("", "- a\n- b", "just text"):
        assert "where sections are expected" in refused(partial(load, text)).message


def test_yaml_runs_no_code(load: Load) -> None:
    refused(lambda: load("database: !!python/object/apply:os.getcwd []"))


def test_a_variable_may_have_a_default_or_be_a_file(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.setenv("SIZE", "7")
    (tmp_path / "password").write_text("p@ss:1\n")
    config = load(
        "database:\n"
        f"  url: postgresql://u:${{file:{tmp_path}/password}}@${{NOT_SET:-db.example}}:5432/d\n"
        "  pool_size: ${SIZE}\n"
        "  max_overflow: ${EMPTY:-9}\n"
        "  echo: ${NOT_SET:-true}\n"
        "performance: {chunk_size: '${NOT_SET:-12}'}"
    )
    sql = ConfigFactory.create_sql_config(config["database"])
    assert sql.reveal_url() == "postgresql+psycopg2://u:p%40ss%3A1@db.example:5432/d"
    assert (sql.pool_size, sql.max_overflow, sql.echo) == (7, 9, True)
    assert config["performance"]["chunk_size"] == 12
    missing = refused(lambda: load("logging: {file: '${file:/no/such}'}"))
    assert "logging.file refers to the file '/no/such'" in missing.message


def test_the_database_may_be_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DL_DATABASE", raising=False)
    (tmp_path / "url").write_text("postgresql://u:hidden@h/db\n")
    monkeypatch.setenv("DL_DATABASE_FILE", str(tmp_path / "url"))
    config = ConfigFactory.create_sql_config({})
    assert config.reveal_url() == "postgresql+psycopg2://u:hidden@h/db"
    monkeypatch.setenv("DL_DATABASE_FILE", str(tmp_path / "gone"))
    assert "gone" in refused(lambda: ConfigFactory.create_sql_config({})).message


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("databse: {url: x}", ["'databse' is no section; did you mean 'database'?"]),
        ("xyz: {}", ["known: cluster, database,"]),
        ("migration: {stratgy: online}", ["migration.stratgy is no setting", "'strategy'"]),
        ("migration: {strategy: onlin}", ["one of offline, online, hybrid", "mean 'online'"]),
        ("migration: {strategy: off}", ["put a text in quotes"]),
        ("performance: {cache_size: '5x'}", ["performance.cache_size", "not '5x'"]),
        ("logging: {level: LOUD}", ["one of DEBUG, INFO,"]),
        ("monitoring: {structured_logging: 1}", ["true or false"]),
        ("cluster: 5", ["the section 'cluster' is a int"]),
        ("logging: {level: INFO, level: DEBUG}", ["logging.level stands there twice"]),
        ("logging: {}\nlogging: {}", ["line 2, column 1", "logging stands there twice"]),
        ("cluster: {options: {a: 1, a: 2}}", ["cluster.options.a stands there twice"]),
        (
            "logging: {level: INFO}\nmonitoring: {log_level: DEBUG}",
            ["logging.level and monitoring.log_level", "contradict"],
        ),
    ],
)
def test_what_is_not_known_is_refused(load: Load, text: str, messages: list[str]) -> None:
    error = refused(lambda: load(text))
    for message in messages:
        assert message in error.message


def test_all_that_is_wrong_is_told(load: Load) -> None:
    error = refused(lambda: load("databse: {}\nmigration: {a: 1, strategy: x}"))
    assert len(error.__notes__) == 2


def test_the_environment_overrides_a_file(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DL_MIGRATION__STRATEGY", "offline")
    monkeypatch.setenv("DL_MIGRATION__PRESERVE_PARTITIONS", "false")
    monkeypatch.setenv("DL_DATABASE__POOL_TIMEOUT", "2m")
    monkeypatch.setenv("DL_CLUSTER__OPTIONS__CORES", "3")
    config = load("migration: {strategy: online}\ncluster: {kind: slurm, options: {memory: 1GB}}")
    assert config["migration"] == {"strategy": "offline", "preserve_partitions": False}
    assert config["database"] == {"pool_timeout": 120}
    assert config["cluster"] == {"kind": "slurm", "options": {"memory": "1GB", "cores": 3}}
    monkeypatch.setenv("DL_MIGRATION__STRATGY", "offline")
    error = refused(lambda: load("migration: {}"))
    assert "DL_MIGRATION__STRATGY" in error.message
    assert "did you mean 'strategy'" in error.message
    monkeypatch.delenv("DL_MIGRATION__STRATGY")
    monkeypatch.setenv("DL_MIGRATOIN__STRATEGY", "offline")
    assert "did you mean 'migration'" in refused(lambda: load("migration: {}")).message


def test_a_section_knows_the_others(load: Load) -> None:
    config = load("database: {url: x}\nmigration: {strategy: hybrid}")
    sql = ConfigFactory.create_sql_config(config["database"])
    assert sql.settings is not None
    assert sql.settings.migration.strategy is MigrationStrategy.HYBRID
    assert pickle.loads(pickle.dumps(sql)).settings == sql.settings
    assert ConfigFactory.create_sql_config({"url": "x"}).settings is None
    made = ConfigLoader.load_mapping({"monitoring": {"log_level": "debug"}})
    assert ConfigFactory.create_settings(made).logging == LoggingSettings(LogLevel.DEBUG)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"url": "x", "pool_sise": 5}, "did you mean 'pool_size'"),
        ({"url": "x", "qqq": 5}, "known:"),
        ({"url": "x", "connection_string": "y"}, "mean the same"),
        ({"url": 5}, "database.url"),
        ({"url": "x", "pool_size": 0}, "pool_size has to be a whole number of at least 1"),
        ({"url": "x", "pool_size": "many"}, "not 'many'"),
        ({"url": "x", "pool_size": True}, "pool_size"),
        ({"url": "x", "max_overflow": -2}, "max_overflow"),
        ({"url": "x", "pool_timeout": 0}, "pool_timeout has to be a positive number"),
        ({"url": "x", "pool_timeout": float("nan")}, "pool_timeout"),
        ({"url": "x", "pool_recycle": 1.5}, "pool_recycle"),
        ({"url": "x", "echo": "yes"}, "echo has to be true or false"),
        ("text", "make it a mapping"),
        (None, "make it a mapping"),
    ],
)
def test_bad_database_sections(section: Any, message: str) -> None:
    assert message in refused(lambda: ConfigFactory.create_sql_config(section)).message


def test_a_bad_url_is_noticed_at_once() -> None:
    with pytest.raises(DeltaLakeError, match="no database that is known") as caught:
        SqlConfig(connection_string="oracle://u:hidden@h/db")
    assert "hidden" not in caught.value.message


def test_a_sql_config_shows_and_pickles_no_password() -> None:
    config = SqlConfig(connection_string="postgresql://u:hidden@h/db", pool_size=7)
    assert repr(config).startswith(
        "SqlConfig(connection_string='postgresql://u:***@h/db', pool_size=7"
    )
    pickled = pickle.dumps(config)
    assert b"hidden" not in pickled
    assert pickle.loads(pickled) == config
    assert config.secret.reveal() == "postgresql://u:hidden@h/db"
    # As on a scheduler that passes it on without having the secret.
    without = SqlConfig(connection_string=Secret.from_reference("0" * 16))
    assert "connection_string='***'" in repr(without)


def test_cache_config() -> None:
    config = CacheConfig(max_size=2000, eviction_policy=EvictionPolicy.LFU, ttl_seconds=600)
    assert config.eviction_policy is EvictionPolicy.LFU
    from_text: Any = "fifo"
    assert CacheConfig(eviction_policy=from_text).eviction_policy is EvictionPolicy.FIFO
    assert ConfigFactory.create_cache_config({}) == CacheConfig()
    assert ConfigFactory.create_cache_config({"enable_caching": False, "cache_size": 5}) is None


def test_lazy_loading_config() -> None:
    config = LazyLoadingConfig(LoadingStrategy.PAGINATED, chunk_size=500, cache_size=100)
    assert (config.default_strategy, config.chunk_size) == (LoadingStrategy.PAGINATED, 500)
    from_text: Any = "Streaming"
    assert LazyLoadingConfig(from_text).default_strategy is LoadingStrategy.STREAMING
    eager = ConfigFactory.create_lazy_loading_config({"lazy_loading": False})
    assert eager.default_strategy is LoadingStrategy.EAGER


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: CacheConfig(max_size=0), "max_size"),
        (lambda: CacheConfig(max_bytes=-1), "max_bytes"),
        (lambda: CacheConfig(ttl_seconds=0), "ttl_seconds"),
        (lambda: CacheConfig(eviction_policy="random"), "one of lru, lfu, fifo"),  # type: ignore[arg-type]
        (lambda: CacheConfig(directory=""), "directory"),
        (lambda: LazyLoadingConfig(chunk_size=0), "chunk_size"),
        (lambda: LazyLoadingConfig(cache_size=-1), "cache_size"),
        (lambda: LazyLoadingConfig(default_strategy=5), "one of eager"),  # type: ignore[arg-type]
        (lambda: ConfigFactory.create_cache_config({"enable_caching": "on"}), "enable_caching"),
        (lambda: ConfigFactory.create_cache_config({"cache_size": 0}), "performance.cache_size"),
        (lambda: ConfigFactory.create_cache_config({"cachesize": 5}), "mean 'cache_size'"),
        (
            lambda: ConfigFactory.create_lazy_loading_config({"page": 5}),
            "performance.page is no",
        ),
        (lambda: ConfigFactory.create_lazy_loading_config({"chunk_size": "x"}), "chunk_size"),
        (lambda: ConfigFactory.create_lazy_loading_config({"lazy_loading": 1}), "lazy_loading"),
    ],
)
def test_bad_values_are_refused_by_name(attempt: Callable[[], object], message: str) -> None:
    assert message in refused(attempt).message


def test_a_default_is_told_from_what_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DL_TEST_SIZE", "7")
    text = "database: {pool_size: '${DL_TEST_SIZE:-5}', max_overflow: '${DL_TEST_NONE:-9}'}\n"
    (tmp_path / "c.yaml").write_text(text)
    origins = {
        each.name: each.origin for each in load_configuration(str(tmp_path / "c.yaml"), {}).listed()
    }
    assert origins["database.pool_size"].endswith("c.yaml:1, ${DL_TEST_SIZE}")
    assert origins["database.max_overflow"].endswith("c.yaml:1, the default of ${DL_TEST_NONE}")
