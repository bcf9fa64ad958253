"""All sections that a configuration may have, and the settings that are made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from deltalakedb.config.checks import (
    Check,
    anything,
    checks_of,
    invalid,
    mapping,
    nearest,
    read_section,
)
from deltalakedb.config.sections import (
    LoggingSettings,
    MigrationSettings,
    MonitoringSettings,
    PerformanceSettings,
    Settings,
)
from deltalakedb.config.sql import SqlConfig
from deltalakedb.error import DeltaLakeError

_KINDS: Mapping[str, type] = {
    "database": SqlConfig,
    "migration": MigrationSettings,
    "performance": PerformanceSettings,
    "logging": LoggingSettings,
    "monitoring": MonitoringSettings,
}
_PLACE: Mapping[str, Check] = {"url": anything, "connection_string": anything}
SECTIONS: Mapping[str, Mapping[str, Check] | Check] = {
    **{name: checks_of(kind) for name, kind in _KINDS.items()},
    "database": {**_PLACE, **checks_of(SqlConfig)},
    "cluster": mapping,
    "tables": mapping,
}
"""The keys of each section; one whose keys somebody else knows has a check as a whole."""
_SAME = (("level", "log_level"), ("structured", "structured_logging"))
"""Keys of `logging` and of `monitoring` that mean the same."""


def settings_of(config: Mapping[str, Any]) -> Settings:
    """The settings of a configuration's sections but the database's.

    Raises CONFIGURATION_ERROR for an unknown section or key, a value of a wrong kind, and where
    `logging` and `monitoring` contradict each other.
    """
    for fault in faults(config):
        raise fault
    values = {name: read_section(name, config[name], SECTIONS[name]) for name in config}
    monitoring = MonitoringSettings(**values.get("monitoring", {}))
    return Settings(
        migration=MigrationSettings(**values.get("migration", {})),
        performance=PerformanceSettings(**values.get("performance", {})),
        logging=_logging(values.get("logging", {}), monitoring),
        monitoring=monitoring,
    )


def faults(config: Mapping[str, Any]) -> Iterator[DeltaLakeError]:
    """All that is wrong with single settings, each as the error that it would be."""
    for name, section in config.items():
        keys = SECTIONS.get(name)
        if keys is None:
            yield invalid(f"{name!r} is no section; {nearest(name, SECTIONS)}")
            continue
        single = isinstance(section, Mapping) and not isinstance(keys, Check)
        for part in [{key: section[key]} for key in section] if single else [section]:
            try:
                read_section(name, part, keys)
            except DeltaLakeError as fault:
                yield fault


def _logging(logging: Mapping[str, Any], monitoring: MonitoringSettings) -> LoggingSettings | None:
    values = dict(logging)
    for name, other in _SAME:
        same = getattr(monitoring, other)
        if same is not None and values.setdefault(name, same) != same:
            raise invalid(
                f"logging.{name} and monitoring.{other} mean the same and contradict each other; "
                "leave one of them out"
            )
    return LoggingSettings(**values) if values else None


def defaults() -> dict[str, Any]:
    """`section.key` and its value where nobody sets it."""
    found: dict[str, Any] = {}
    for section, kind in _KINDS.items():
        checked = checks_of(kind)
        found |= {f"{section}.{f.name}": f.default for f in fields(kind) if f.name in checked}
    return found
