"""A configuration from its places: options, the environment, a file, defaults, in that order."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from deltalakedb.config.checks import Check, invalid, kind_of, nearest, read_section
from deltalakedb.config.known import SECTIONS, defaults, faults, settings_of
from deltalakedb.config.sections import Settings
from deltalakedb.config.variables import from_file, substitute
from deltalakedb.config.yaml_text import parse_yaml, read_yaml
from deltalakedb.redact import HIDDEN, redact, redact_url

_OVERRIDE = re.compile(r"DL_([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)__([A-Z][A-Z0-9_]*)")
_URLS = ("database.url", "database.connection_string")


class Section(dict[str, Any]):
    """A mapping of the configuration that prints without its passwords.

    `settings` are those of the whole configuration, so that what is made of one section knows the
    others; None for a mapping that was made otherwise.
    """

    settings: Settings | None = None

    def __repr__(self) -> str:
        return redact(dict.__repr__(self))


@dataclass(frozen=True)
class Setting:
    """One setting as it holds: where its value comes from, and how both are shown."""

    name: str
    value: Any
    origin: str
    shown: str


@dataclass(frozen=True)
class Configuration:
    """Sections as they hold, the settings made of them, and each one's origin by its name."""

    sections: Section
    settings: Settings
    origins: Mapping[str, str]
    hidden: frozenset[str] = frozenset()

    def listed(self) -> list[Setting]:
        """Every setting that there is, by sections, those that nobody set with their defaults."""
        found: dict[str, Any] = {}
        for name in SECTIONS:
            found |= {k: v for k, v in defaults().items() if k.startswith(f"{name}.")}
            found |= {f"{name}.{k}": v for k, v in self.sections.get(name, {}).items()}
        return [
            Setting(name, value, self._origin(name), self._shown(name, value))
            for name, value in found.items()
        ]

    def _origin(self, name: str) -> str:
        below = [o for n, o in self.origins.items() if n == name or n.startswith(f"{name}.")]
        return ", ".join(dict.fromkeys(below)) or "default"

    def _shown(self, name: str, value: Any) -> str:
        if any(n == name or n.startswith((f"{name}.", f"{name}[")) for n in self.hidden):
            return HIDDEN
        if isinstance(value, Enum):
            value = value.value
        if name in _URLS:
            return redact_url(str(value))
        if isinstance(value, bool) or value is None:
            return {True: "true", False: "false", None: "none"}[value]
        return redact(str(value))


def load_configuration(
    path: str | os.PathLike[str] | None = None,
    options: Mapping[str, str] | None = None,
    *,
    sections: Mapping[str, Any] | None = None,
) -> Configuration:
    """The configuration of a YAML file (or of `sections`), the environment and `options`.

    `DL_SECTION__KEY=value` in the environment overrides the file, `options` (`section.key`: text)
    both. Raises CONFIGURATION_ERROR: see `ConfigLoader.load_yaml_config`.
    """
    origins: dict[str, str] = {}
    hidden: set[str] = set()
    shown = "the configuration" if path is None else os.fspath(path)
    given: object = sections if sections is not None else {}
    lines: dict[str, int] = {}
    if path is not None:
        given, lines = read_yaml(shown)
    if not isinstance(given, Mapping):
        raise invalid(
            f"{shown!r} holds {kind_of(given)} where sections are expected, such as "
            "'database:' with 'url:' below it"
        )
    found = _Found(shown, lines, origins, hidden)
    config: dict[str, Any] = {k: found.resolved(v, str(k)) for k, v in given.items()}
    for variable, value in sorted(os.environ.items()):
        if match := _OVERRIDE.fullmatch(variable):
            place = [match[1], *match[2].split("__")]
            _set(config, [p.lower() for p in place], value, f"environment {variable}", origins)
    for option, value in (options or {}).items():
        _set(config, option.split("."), value, "option", origins)
    _no_faults(config, shown)
    settings = settings_of(config)
    whole = Section({k: Section(_values(k, v)) for k, v in config.items()})
    for section in (whole, *whole.values()):
        section.settings = settings
    return Configuration(whole, settings, origins, frozenset(hidden))


def _no_faults(config: Mapping[str, Any], path: str) -> None:
    """Raises CONFIGURATION_ERROR with all that is wrong: one error, and a note for each other."""
    found = list(faults(config))
    if not found:
        return
    first = invalid(f"{path!r}: {found[0].message}")
    for fault in found[1:]:
        first.add_note(f"also: {fault.message}")
    raise first


@dataclass(frozen=True)
class _Found:
    """Values of a file with their variables resolved; where each comes from is noted."""

    path: str
    lines: Mapping[str, int]
    origins: dict[str, str]
    hidden: set[str]

    def resolved(self, value: object, where: str) -> Any:
        if isinstance(value, Mapping):
            return Section({k: self.resolved(v, f"{where}.{k}") for k, v in value.items()})
        if isinstance(value, list):
            return [self.resolved(each, f"{where}[{i}]") for i, each in enumerate(value)]
        line = self.lines.get(where)
        origin = f"{self.path}:{line}" if line else self.path
        if isinstance(value, str):
            value, used = substitute(value, self.path, where)
            origin = ", ".join([origin, *used])
            if any(map(from_file, used)):
                self.hidden.add(where)
        self.origins[where] = origin
        return value


def _values(name: str, section: Mapping[str, Any]) -> dict[str, Any]:
    """A section's values as they are used; of those with names of their own the names."""
    checked = read_section(name, section, SECTIONS[name])
    return {k: v.value if isinstance(v, Enum) else v for k, v in checked.items()}


def _set(
    config: dict[str, Any], place: list[str], text: str, origin: str, origins: dict[str, str]
) -> None:
    """Set what an option or a variable names. Raises CONFIGURATION_ERROR, naming both."""
    section, *below = place
    name = ".".join(place)
    known = SECTIONS.get(section)
    if known is None:
        raise invalid(f"{origin}: {section!r} is no section; {nearest(section, SECTIONS)}")
    value: Any = text
    if isinstance(known, Check):
        value, _ = parse_yaml(text, origin)
    elif len(below) != 1 or below[0] not in known:
        key = ".".join(below)
        raise invalid(f"{origin}: {section}.{key} is no setting; {nearest(key, known)}")
    if not below:
        raise invalid(f"{origin} names a section; name one of its settings: {section}.KEY")
    target = config
    for part in [section, *below[:-1]]:
        here = target.get(part)
        target[part] = target = Section(here if isinstance(here, Mapping) else {})
    target[below[-1]] = value
    for former in [n for n in origins if n == name or n.startswith((f"{name}.", f"{name}["))]:
        del origins[former]
    origins[name] = origin
