"""A Dask worker plugin that hands sealed secrets to workers, also to those that come later."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from distributed import WorkerPlugin

from deltalakedb.secret import Secret, register, seal, unseal


class SecretDelivery(WorkerPlugin):  # type: ignore[misc]  # distributed is untyped
    """Registers secrets in each worker; `sealed` maps references to sealed values."""

    idempotent = True

    def __init__(self, sealed: Mapping[str, bytes]) -> None:
        self._sealed = dict(sealed)
        names = "".join(sorted(self._sealed)).encode()
        self.name = f"deltalakedb-secrets-{hashlib.blake2b(names, digest_size=8).hexdigest()}"

    async def setup(self, worker: Any) -> None:
        identity = await worker.scheduler.identity(n_workers=0)
        key = str(identity["id"]).encode()
        for reference, value in self._sealed.items():
            register(reference, unseal(value, key))


def deliver(client: Any, secrets: Sequence[Secret]) -> None:
    """Make secrets known to all present and future workers of a client's cluster.

    What travels is sealed with the scheduler's id, so that no pickle or log shows it; only TLS
    protects the wire itself.
    """
    if not secrets:
        return
    key = str(client.scheduler_info(n_workers=0)["id"]).encode()
    sealed = {s.reference: seal(s.reveal(), key) for s in secrets}
    client.register_plugin(SecretDelivery(sealed))
