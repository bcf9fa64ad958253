"""How settings are checked: each field and each key of a section names its check.

A check takes a setting's name and value, and gives the value as it is used, or raises
CONFIGURATION_ERROR.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Annotated, Any, get_origin, get_type_hints

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

Check = Callable[[str, Any], Any]


def whole(least: int) -> Check:
    """A whole number of at least `least`."""

    def check(name: str, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise wrong(name, f"a whole number of at least {least}", value)
        return value

    return check


def seconds(name: str, value: Any) -> Any:
    """A positive number of seconds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e12:
        raise wrong(name, "a positive number of seconds", value)
    return value


def truth(name: str, value: Any) -> Any:
    """True or false."""
    if not isinstance(value, bool):
        raise wrong(name, "true or false", value)
    return value


def path(name: str, value: Any) -> Any:
    """A path; `~` is the home directory."""
    if not isinstance(value, (str, os.PathLike)) or not str(value):
        raise wrong(name, "a path", value)
    return os.path.expanduser(value)


def choice(choices: type[Enum]) -> Check:
    """A member of an enum, or its value in any case, as configuration files hold text."""

    def check(name: str, value: Any) -> Any:
        if isinstance(value, str):
            value = next((each for each in choices if each.value == value.lower()), value)
        if not isinstance(value, choices):
            known = ", ".join(str(each.value) for each in choices)
            raise wrong(name, f"one of {known}", value)
        return value

    return check


def optional(check: Check) -> Check:
    """None, or what `check` takes."""
    return lambda name, value: None if value is None else check(name, value)


def anything(_name: str, value: Any) -> Any:
    """Whatever it is: what is made of it will see."""
    return value


def checks_of(config: type) -> Mapping[str, Check]:
    """The checks of a dataclass's fields, by name: `pool_size: Annotated[int, whole(1)]`."""
    hints = get_type_hints(config, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items() if _is_checked(hint)}


def _is_checked(hint: object) -> bool:
    return get_origin(hint) is Annotated


def check_fields(config: Any) -> None:
    """Check a frozen dataclass's fields, and hold them as they are used."""
    for name, check in checks_of(type(config)).items():
        object.__setattr__(config, name, check(name, getattr(config, name)))


def read_section(name: str, section: object, keys: Mapping[str, Check]) -> dict[str, Any]:
    """The settings of a section, checked; those that aren't there are left out.

    Raises CONFIGURATION_ERROR, naming `section.key`, for a value of a wrong kind and for a key
    that isn't known, with the one that may be meant.
    """
    if not isinstance(section, Mapping):
        raise invalid(f"the section {name!r} is {kind_of(section)}; make it a mapping of settings")
    for key in section:
        if key not in keys:
            close = difflib.get_close_matches(str(key), keys, n=1)
            known = f"known: {', '.join(sorted(keys))}"
            hint = f"did you mean {close[0]!r}?" if close else known
            raise invalid(f"{name}.{key} is no setting; {hint}")
    return {key: keys[key](f"{name}.{key}", value) for key, value in section.items()}


def wrong(name: str, wanted: str, value: object) -> DeltaLakeError:
    """CONFIGURATION_ERROR for a setting's value."""
    return invalid(f"{name} has to be {wanted}, not {value!r}")


def kind_of(value: object) -> str:
    """What a value is, for people."""
    return "nothing" if value is None else f"a {type(value).__name__}"


def invalid(message: str, **facts: Any) -> DeltaLakeError:
    """CONFIGURATION_ERROR."""
    return DeltaLakeError(DeltaLakeErrorKind.CONFIGURATION_ERROR, message, **facts)
