"""From a spec and the environment to a connected S3 client, one per process and settings."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from obstore.store import S3Store

from deltalakedb import fork
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.secret import Secret
from deltalakedb.storage.options import normalise_options
from deltalakedb.storage.s3.error import has_expired, no_credentials, passes
from deltalakedb.storage.spec import StoreSpec

if TYPE_CHECKING:
    from obstore.store import S3Credential

T = TypeVar("T")

MAX_CONNECTIONS = 64
"""Connections of one client that are kept open between requests."""

_BUCKET = re.compile(r"[a-z0-9A-Z][a-zA-Z0-9._-]{1,254}|arn:.*")

# What botocore does not read itself, or not under all the names that delta-rs accepts.
_FROM_ENVIRONMENT = {
    "endpoint_url": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "anon": ("AWS_SKIP_SIGNATURE",),
    "allow_http": ("AWS_ALLOW_HTTP",),
    "virtual_hosted_style_request": ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST",),
}

_CREDENTIALS = {
    "key": "AWS_ACCESS_KEY_ID",
    "secret": "AWS_SECRET_ACCESS_KEY",
    "token": "AWS_SESSION_TOKEN",
}
_MOST_AGAIN = 4
_FIRST_PAUSE = 0.05
"""Seconds before what passes is asked for again; each time twice as many."""
_REFRESH = timedelta(minutes=5)
_DEFAULT_REGION = "us-east-1"
_DEFAULT_ATTEMPTS = 6

_Settings = tuple[object, ...]
_lock = fork.Lock()
_connected: dict[_Settings, S3Store] = {}
_asked_by: int | None = None
"""The process that was the first to ask S3, before any fork of it."""


def connect(spec: StoreSpec, bucket: str) -> S3Store:
    """The client of a bucket for a spec's options; no request is made yet.

    Options come first, then the environment: what delta-rs reads (AWS_ENDPOINT_URL,
    AWS_REGION, AWS_SKIP_SIGNATURE, AWS_ALLOW_HTTP, …), and credentials (AWS_ACCESS_KEY_ID), then
    botocore's chain of them (AWS_PROFILE, ~/.aws, SSO, web identity, instance roles). A client
    holds connections, so it is shared by all stores and threads of a process that have the same
    settings.
    """
    options, settings = _settings(spec, bucket)
    with _lock:
        store = _connected.get(settings)
        if store is None:
            store = _connected[settings] = _build(bucket, options)
        return store


class Client:
    """A bucket's client, asked again where that helps and the library doesn't do so itself."""

    def __init__(self, spec: StoreSpec, bucket: str) -> None:
        self._spec = spec
        self._bucket = bucket
        self._s3 = connect(spec, bucket)

    def ask(self, question: Callable[[S3Store], T]) -> T:
        """Ask S3; what passes, some times with growing pauses.

        Once more with new credentials where those that were given have expired.
        """
        check_process()
        is_renewed = False
        for number in count():
            s3 = self._s3
            try:
                return question(s3)
            except Exception as error:
                if has_expired(error):
                    again = s3 if is_renewed else renewed(self._spec, self._bucket, s3)
                    if again is s3:
                        raise
                    self._s3, is_renewed = again, True
                    continue
                if number >= _MOST_AGAIN or not passes(error):
                    raise
            time.sleep(_FIRST_PAUSE * 2**number * (0.5 + random.random()))
        raise AssertionError


def botocore_client(spec: StoreSpec, bucket: str) -> Any:
    """A client of botocore's with the same settings, for what obstore can't ask."""
    import botocore.session
    from botocore import UNSIGNED
    from botocore.config import Config

    options, _ = _settings(spec, bucket)
    endpoint = _endpoint(options)
    virtual = options.get("virtual_hosted_style_request") == "true"
    style = "virtual" if virtual else "auto" if endpoint is None else "path"
    keys: dict[str, Any] = {}
    if options.get("anon") != "true":
        credentials = _Credentials(bucket, options)
        found = credentials()
        keys = {
            "aws_access_key_id": found["access_key_id"],
            "aws_secret_access_key": found["secret_access_key"],
            "aws_session_token": found["token"],
        }
        region = options.get("region") or credentials.region()
    else:
        region = options.get("region")
    config = Config(
        s3={"addressing_style": style},
        signature_version=None if keys else UNSIGNED,
        connect_timeout=10,
        read_timeout=60,
    )
    return botocore.session.Session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name=region or _DEFAULT_REGION,
        config=config,
        **keys,
    )


def check_process() -> None:
    """Before each request. Raises INVALID_ARGUMENT in a fork of a process that has asked S3.

    The threads of obstore aren't in the fork, which would wait for them forever, whichever client
    it asks.
    """
    global _asked_by
    here = os.getpid()
    if _asked_by is None:
        _asked_by = here
    elif _asked_by != here:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"process {_asked_by} has read or written S3 before its fork {here} was made, in which "
            "S3 would never answer; start processes by spawn or forkserver",
        )


def renewed(spec: StoreSpec, bucket: str, expired: S3Store) -> S3Store:
    """The client in place of one whose credentials S3 has refused as expired.

    They are asked for anew, once for all who share the client, before the time that they were
    said to last; `expired` itself where they are a spec's own, which nobody can renew.
    """
    options, settings = _settings(spec, bucket)
    if "key" in options or "secret" in options:
        return expired
    with _lock:
        store = _connected.get(settings)
        if store is None or store is expired:
            store = _connected[settings] = _build(bucket, options)
        return store


def _settings(spec: StoreSpec, bucket: str) -> tuple[dict[str, str], _Settings]:
    """Options with those of the environment, and what tells one client from another."""
    options = _with_environment(spec.options, os.environ)
    surroundings = tuple(sorted(i for i in os.environ.items() if i[0].startswith("AWS_")))
    return options, (os.getpid(), bucket, tuple(sorted(options.items())), surroundings)


def _with_environment(
    options: Mapping[str, str | Secret], environment: Mapping[str, str]
) -> dict[str, str]:
    known = {
        name: value.reveal() if isinstance(value, Secret) else value
        for name, value in options.items()
    }
    for name, variables in _FROM_ENVIRONMENT.items():
        for variable in variables:
            if name not in known and environment.get(variable):
                value = normalise_options({name: environment[variable]})[name]
                known[name] = str(value)
    return known


def _build(bucket: str, options: Mapping[str, str]) -> S3Store:
    if not _BUCKET.fullmatch(bucket):
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"{'s3://' + bucket!r} is not a valid S3 address; write s3://bucket/prefix; a "
            "bucket's name has lower-case letters, digits, dots and hyphens",
        )
    endpoint = _endpoint(options)
    settings: dict[str, Any] = {
        # Without an endpoint of one's own, buckets are reached by their host names.
        "virtual_hosted_style_request": options.get("virtual_hosted_style_request") == "true"
        or (endpoint is None and "virtual_hosted_style_request" not in options),
    }
    if settings["virtual_hosted_style_request"] and endpoint is not None:
        # The library wants the bucket in the endpoint itself.
        scheme, _, host = endpoint.partition("://")
        endpoint = f"{scheme}://{bucket}.{host}"
    region = options.get("region")
    if options.get("anon") == "true":
        settings["skip_signature"] = True
    else:
        credentials = _Credentials(bucket, options)
        settings["credential_provider"] = credentials
        region = region or credentials.region()
    if endpoint is not None:
        settings["endpoint"] = endpoint
    attempts = os.environ.get("AWS_MAX_ATTEMPTS", "")
    return S3Store(
        bucket,
        region=region or _DEFAULT_REGION,
        client_options={
            "allow_http": True,
            "pool_max_idle_per_host": str(MAX_CONNECTIONS),
            "connect_timeout": timedelta(seconds=10),
            "timeout": timedelta(seconds=60),
        },
        retry_config={
            "max_retries": max(0, int(attempts) - 1) if attempts.isdigit() else _DEFAULT_ATTEMPTS,
            "retry_timeout": timedelta(seconds=60),
        },
        **settings,
    )


class _Credentials:
    """Keys of the options, of the environment, or of botocore's chain, asked for when needed."""

    def __init__(self, bucket: str, options: Mapping[str, str]) -> None:
        self._place = f"s3://{bucket}"
        self._options = options
        self._session: Any = None

    def __call__(self) -> S3Credential:
        options = self._options
        if "key" in options or "secret" in options:
            return self._fixed({name: options.get(name) for name in _CREDENTIALS})
        if "profile" not in options and not os.environ.get("AWS_PROFILE"):
            found = {name: os.environ.get(variable) for name, variable in _CREDENTIALS.items()}
            if found["key"]:
                return self._fixed(found)
        return self._chain()

    def region(self) -> str | None:
        """What the profile says, where the options and the environment say nothing."""
        if "profile" not in self._options and "AWS_PROFILE" not in os.environ:
            return None
        from botocore.exceptions import BotoCoreError

        try:
            region: str | None = self._botocore().get_config_variable("region")
        except BotoCoreError:
            return None  # the profile is not there, which the first request says
        return region

    def _fixed(self, keys: Mapping[str, str | None]) -> S3Credential:
        key, secret = keys["key"], keys["secret"]
        if not key or not secret:
            raise no_credentials(self._place, "the key or the secret is missing")
        return {
            "access_key_id": key,
            "secret_access_key": secret,
            "token": keys["token"],
            "expires_at": None,
        }

    def _botocore(self) -> Any:
        if self._session is None:
            import botocore.session

            self._session = botocore.session.Session(profile=self._options.get("profile"))
        return self._session

    def _chain(self) -> S3Credential:
        try:
            credentials = self._botocore().get_credentials()
            if credentials is None:
                raise no_credentials(self._place, "none were found")
            frozen = credentials.get_frozen_credentials()
        except DeltaLakeError:
            raise
        except Exception as error:
            raise no_credentials(self._place, str(error)) from error
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            # botocore renews what expires; ask it again often enough.
            "expires_at": datetime.now(UTC) + _REFRESH,
        }


def _endpoint(options: Mapping[str, str]) -> str | None:
    """The endpoint with its scheme; http unless `allow_http=false` when it is written out."""
    endpoint = options.get("endpoint_url")
    if endpoint is None:
        return None
    allow_http = options.get("allow_http")
    scheme, separator, rest = endpoint.partition("://")
    if not separator:
        return ("http://" if allow_http == "true" else "https://") + endpoint
    if scheme not in ("http", "https") or "@" in rest.partition("/")[0]:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"storage option endpoint_url={endpoint!r} has to be http://host:port or "
            "https://host:port; credentials go to the options key and secret",
        )
    if scheme == "http" and allow_http == "false":
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"storage option endpoint_url={endpoint!r} is not encrypted, and "
            "allow_http=false forbids that; use https:// or allow_http=true",
        )
    return endpoint
