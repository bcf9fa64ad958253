"""How settings are checked: each field and each key of a section names its check.

A check takes a setting's name and value, and gives the value as it is used, or raises
CONFIGURATION_ERROR.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.record import record

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(rf"(\d+(?:\.\d+)?) ?({'|'.join(_UNITS)})")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


@record(frozen=True)
class Check:
    """What a setting may be: `take` does the checking, `schema` says the same as JSON Schema.

    `numeric` ones also take a number's text, as variables of the environment are texts.
    """

    take: Callable[[str, Any], Any]
    schema: Mapping[str, Any]
    numeric: bool = False

    def __call__(self, name: str, value: Any) -> Any:
        """The value as it is used. Raises CONFIGURATION_ERROR, naming `name`."""
        if self.numeric and isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
            value = float(value) if "." in value else int(value)
        return self.take(name, value)


def whole(least: int) -> Check:
    """A whole number of at least `least`."""

    def check(name: str, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise wrong(name, f"a whole number of at least {least}", value)
        return value

    return Check(check, {"type": "integer", "minimum": least}, numeric=True)


def _seconds(name: str, value: Any) -> Any:
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        value = float(match[1]) * _UNITS[match[2]]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e12:
        raise wrong(name, "a positive number of seconds, or a text such as 30s or 5m", value)
    return value


seconds = Check(
    _seconds,
    {
        "anyOf": [
            {"type": "number", "exclusiveMinimum": 0},
            {"type": "string", "pattern": f"^{_DURATION.pattern}$"},
        ]
    },
    numeric=True,
)
"""A positive number of seconds; as text also with a unit, such as `500ms`, `30s`, `5m`, `1h`."""


def _truth(name: str, value: Any) -> Any:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise wrong(name, "true or false", value)
    return value


truth = Check(_truth, {"type": "boolean"})
"""True or false, also as text."""


def _path(name: str, value: Any) -> Any:
    if not isinstance(value, (str, os.PathLike)) or not str(value):
        raise wrong(name, "a path", value)
    return os.path.expanduser(value)


path = Check(_path, {"type": "string", "minLength": 1})
"""A path; `~` is the home directory."""


def choice(choices: type[Enum]) -> Check:
    """A member of an enum, or its value in any case, as configuration files hold text."""
    values = [str(each.value) for each in choices]

    def check(name: str, value: Any) -> Any:
        if isinstance(value, str):
            value = next((e for e in choices if e.value.lower() == value.lower()), value)
        if not isinstance(value, choices):
            raise wrong(name, f"one of {', '.join(values)}", value, near=values)
        return value

    texts = sorted({text for value in values for text in (value, value.upper(), value.lower())})
    return Check(check, {"enum": texts})


def optional(check: Check) -> Check:
    """None, or what `check` takes."""
    return Check(
        lambda name, value: None if value is None else check(name, value),
        {"anyOf": [check.schema, {"type": "null"}]},
    )


def _mapping(name: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise wrong(name, "a mapping", value)
    return value


mapping = Check(_mapping, {"type": "object"})
"""A mapping whose keys somebody else knows."""

anything = Check(lambda _name, value: value, {"type": "string"})
"""A text, mostly: what is made of it will see."""


def checks_of(config: type) -> Mapping[str, Check]:
    """The checks of a dataclass's fields, by name: `pool_size: Annotated[int, whole(1)]`."""
    found = _checks.get(config)
    if found is None:
        hints = get_type_hints(config, include_extras=True)
        checks = {k: get_args(h)[1] for k, h in hints.items() if get_origin(h) is Annotated}
        found = {name: check for name, check in checks.items() if isinstance(check, Check)}
        _checks[config] = found
    return found


_checks: dict[type, Mapping[str, Check]] = {}


def check_fields(config: Any) -> None:
    """Check a frozen dataclass's fields, and hold them as they are used."""
    for name, check in checks_of(type(config)).items():
        object.__setattr__(config, name, check(name, getattr(config, name)))


def read_section(name: str, section: object, keys: Mapping[str, Check] | Check) -> dict[str, Any]:
    """The settings of a section, checked; those that aren't there are left out.

    A section whose keys somebody else knows is checked as a whole.

    Raises CONFIGURATION_ERROR, naming `section.key`, for a value of a wrong kind and for a key
    that isn't known, with the one that may be meant.
    """
    if not isinstance(section, Mapping):
        raise invalid(f"the section {name!r} is {kind_of(section)}; make it a mapping of settings")
    if isinstance(keys, Check):
        return dict(keys(name, section))
    for key in section:
        if key not in keys:
            raise invalid(f"{name}.{key} is no setting; {nearest(key, keys)}")
    return {key: keys[key](f"{name}.{key}", value) for key, value in section.items()}


def _close(name: str, known: list[str]) -> list[str]:
    import difflib

    return difflib.get_close_matches(name, known, n=1)


def nearest(name: object, known: Iterable[str]) -> str:
    """What to say after a name that isn't known: the one that may be meant, or all."""
    names = sorted(known)
    close = _close(str(name), names)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"


def wrong(name: str, wanted: str, value: object, near: Iterable[str] = ()) -> DeltaLakeError:
    """CONFIGURATION_ERROR for a setting's value; `near`: what may be meant."""
    hint = ""
    if isinstance(value, bool):
        hint = "; YAML reads yes, no, on and off as true and false: put a text in quotes"
    elif close := _close(str(value).lower(), list(near)):
        hint = f"; did you mean {close[0]!r}?"
    return invalid(f"{name} has to be {wanted}, not {value!r}{hint}")


def kind_of(value: object) -> str:
    """What a value is, for people."""
    return "nothing" if value is None else f"a {type(value).__name__}"


def invalid(message: str, **facts: Any) -> DeltaLakeError:
    """CONFIGURATION_ERROR."""
    return DeltaLakeError(DeltaLakeErrorKind.CONFIGURATION_ERROR, message, **facts)
