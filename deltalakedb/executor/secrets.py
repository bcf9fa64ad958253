"""A Dask worker plugin that hands secrets to workers, also to those that come later."""

from __future__ import annotations

import hashlib
from base64 import b85decode, b85encode
from collections.abc import Mapping, Sequence
from typing import Any

from distributed import WorkerPlugin

from deltalakedb.secret import Secret, register


class SecretDelivery(WorkerPlugin):  # type: ignore[misc]  # distributed is untyped
    """Registers secrets in each worker; `encoded` maps references to encoded values."""

    idempotent = True

    def __init__(self, encoded: Mapping[str, bytes]) -> None:
        self._encoded = dict(encoded)
        names = "".join(sorted(self._encoded)).encode()
        self.name = f"deltalakedb-secrets-{hashlib.blake2b(names, digest_size=8).hexdigest()}"

    def setup(self, worker: Any) -> None:
        for reference, value in self._encoded.items():
            register(reference, _decoded(value))


def deliver(client: Any, secrets: Sequence[Secret]) -> None:
    """Make secrets known to all present and future workers of a client's cluster.

    What travels is encoded, so that nobody reads it over a shoulder in a pickle, a log or the
    dashboard. That is no encryption: whoever listens to the cluster's connections, or may submit
    tasks to it, can have the values. TLS between its processes protects the former.
    """
    if secrets:
        client.register_plugin(SecretDelivery({s.reference: _encoded(s) for s in secrets}))


def _encoded(secret: Secret) -> bytes:
    return b85encode(secret.reveal().encode("utf-8", "surrogateescape"))


def _decoded(value: bytes) -> str:
    return b85decode(value).decode("utf-8", "surrogateescape")
