"""From a spec and the environment to a connected S3 client, one per process and settings."""

from __future__ import annotations

import os
from collections.abc import Mapping

from s3fs import S3FileSystem

from deltalakedb import fork
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.redact import redact
from deltalakedb.secret import Secret
from deltalakedb.storage.options import normalise_options
from deltalakedb.storage.spec import StoreSpec

MAX_CONNECTIONS = 64
"""Open connections of one client; botocore's own limit of 10 would throttle `read_many`."""

# What botocore does not read itself, or not under all the names that delta-rs accepts.
_FROM_ENVIRONMENT = {
    "endpoint_url": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "anon": ("AWS_SKIP_SIGNATURE",),
    "allow_http": ("AWS_ALLOW_HTTP",),
    "virtual_hosted_style_request": ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST",),
}

_Settings = tuple[object, ...]
_lock = fork.Lock()
_connected: dict[_Settings, S3FileSystem] = {}


def connect(spec: StoreSpec) -> S3FileSystem:
    """The client for a spec's options; no request is made yet.

    Options come first, then the environment: what delta-rs reads (AWS_ENDPOINT_URL,
    AWS_REGION, AWS_SKIP_SIGNATURE, AWS_ALLOW_HTTP, …), and botocore's chain of credentials
    (AWS_ACCESS_KEY_ID, AWS_PROFILE, ~/.aws, web identity, instance roles). A client takes
    0.1 s to build and holds the connections, so it is shared by all stores and threads of a
    process that have the same settings.
    """
    options = _with_environment(spec.options, os.environ)
    surroundings = tuple(sorted(i for i in os.environ.items() if i[0].startswith("AWS_")))
    # The process id, because neither sockets nor the event loop survive a fork.
    settings: _Settings = (os.getpid(), tuple(sorted(options.items())), surroundings)
    with _lock:
        filesystem = _connected.get(settings)
        if filesystem is None:
            filesystem = _connected[settings] = _build(options)
        return filesystem


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


def _build(options: Mapping[str, str]) -> S3FileSystem:
    config: dict[str, object] = {"max_pool_connections": MAX_CONNECTIONS}
    if options.get("virtual_hosted_style_request") == "true":
        config["s3"] = {"addressing_style": "virtual"}
    session = {"profile": options["profile"]} if "profile" in options else {}
    return S3FileSystem(
        key=options.get("key"),
        secret=options.get("secret"),
        token=options.get("token"),
        anon=options.get("anon") == "true",
        endpoint_url=_endpoint(options),
        client_kwargs={"region_name": options["region"]} if "region" in options else {},
        config_kwargs=config,
        use_listings_cache=False,
        skip_instance_cache=True,
        **session,
    )


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
            f"Storage option endpoint_url={redact(endpoint)!r} has to be http://host:port or "
            "https://host:port; credentials go to the options key and secret.",
        )
    if scheme == "http" and allow_http == "false":
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"Storage option endpoint_url={redact(endpoint)!r} is not encrypted, and "
            "allow_http=false forbids that. Use https:// or allow_http=true.",
        )
    return endpoint
