"""Names and values of storage options, as people and delta-rs write them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.secret import Secret

SECRET_OPTIONS = frozenset({"key", "secret", "token"})
_BOOLEANS = {"true": "true", "1": "true", "yes": "true", "on": "true",
             "false": "false", "0": "false", "no": "false", "off": "false"}  # fmt: skip

# Canonical name -> other accepted names, lower case; each also with the prefix `aws_`.
_NAMES: dict[str, tuple[str, ...]] = {
    "key": ("access_key_id",),
    "secret": ("secret_access_key",),
    "token": ("session_token",),
    "region": ("region_name", "default_region"),
    "endpoint_url": ("endpoint", "endpoint_url_s3"),
    "profile": (),
    "anon": ("skip_signature",),
    "allow_http": (),
    "virtual_hosted_style_request": (),
}
_BOOLEAN_OPTIONS = frozenset({"anon", "allow_http", "virtual_hosted_style_request"})
_CANONICAL = {
    prefix + name: canonical
    for canonical, others in _NAMES.items()
    for name in (canonical, *others)
    for prefix in ("", "aws_")
}


def normalise_options(options: Mapping[str, object]) -> dict[str, str | Secret]:
    """Canonical names, booleans as "true" or "false", credentials as Secret; None is dropped.

    Accepts s3fs's names (`key`, `secret`, `token`, `endpoint_url`, `anon`), delta-rs's in
    either case (`AWS_ACCESS_KEY_ID`, `aws_region`, `allow_http`, …). INVALID_ARGUMENT for an
    unknown name, for one option given twice with different values, for a value of a wrong
    kind; values are never in the message.
    """
    normal: dict[str, str | Secret] = {}
    given_as: dict[str, str] = {}
    for name, value in options.items():
        if value is None:
            continue
        canonical = _canonical(name)
        converted = _convert(name, canonical, value)
        if canonical in normal and normal[canonical] != converted:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"storage options {given_as[canonical]!r} and {name!r} mean the same and have "
                "different values; give one of them",
                option=name,
            )
        normal[canonical] = converted
        given_as[canonical] = name
    return dict(sorted(normal.items()))


def _canonical(name: str) -> str:
    canonical = _CANONICAL.get(name.lower())
    if canonical is None:
        close = difflib.get_close_matches(name.lower(), _CANONICAL, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"unknown storage option {name!r}{hint}; known are {', '.join(_NAMES)}, and delta-rs's "
            "names such as AWS_ACCESS_KEY_ID",
            option=name,
        )
    return canonical


def _convert(name: str, canonical: str, value: object) -> str | Secret:
    if canonical in SECRET_OPTIONS:
        if isinstance(value, (str, Secret)):
            return Secret.of(value)
        raise _wrong_kind(name, "text")
    if canonical in _BOOLEAN_OPTIONS:
        boolean = _BOOLEANS.get(str(value).lower())
        if boolean is None:
            raise _wrong_kind(name, "true or false")
        return boolean
    if isinstance(value, str):
        return value
    raise _wrong_kind(name, "text")


def _wrong_kind(name: str, wanted: str) -> DeltaLakeError:
    return DeltaLakeError(
        DeltaLakeErrorKind.INVALID_ARGUMENT,
        f"storage option {name!r} has to be {wanted}",
        option=name,
    )
