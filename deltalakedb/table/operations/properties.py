"""What a caller may say about a commit, in delta-rs's words."""

from __future__ import annotations

import operator
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from deltalakedb.commit.staged import ISOLATIONS, Isolation, checked_text
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.mirror.tend import Hooks

Mirroring = Literal["published", "async"]
Durability = Literal["default", "synced"]
DURABILITY = "deltalakedb.durability"
"""Table property: `synced` has data files survive a power failure before their commit does."""


@dataclass(frozen=True)
class AppTransaction:
    """An application's own count of its commits (PROTOCOL.md, Transaction Identifiers).

    A write whose `version` is not above the one that the table has for `app_id` isn't made again.
    """

    app_id: str
    version: int
    last_updated: int | None = None


@dataclass(frozen=True)
class CommitProperties:
    """Of one commit. `custom_metadata` goes into its commitInfo."""

    custom_metadata: Mapping[str, Any] | None = None
    max_commit_retries: int | None = None
    app_transactions: Sequence[AppTransaction] | None = None

    @classmethod
    def of(cls, given: Any) -> CommitProperties:
        """Ours, or delta-rs's of the same shape; None for the defaults."""
        if given is None:
            return cls()
        names = ("custom_metadata", "max_commit_retries", "app_transactions")
        if not all(hasattr(given, name) for name in names):
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"commit_properties can't be a {type(given).__name__}; give CommitProperties",
            )
        return cls(*(getattr(given, name) for name in names))


@dataclass(frozen=True)
class PostCommitHookProperties:
    """What may happen after a commit, in this process: checkpoints, and log cleanup after them."""

    create_checkpoint: bool = True
    cleanup_expired_logs: bool | None = None


_RETRIES = 15


def new_token() -> str:
    """A name for a commit that nobody else has."""
    return str(uuid.uuid4())


@dataclass(frozen=True, kw_only=True)
class CommitOptions:
    """How a commit is made, whatever it does.

    `token` names the commit: the same call with the same token commits once. `if_version`: only
    while the table is at that version. `mirror`: whether to wait until the version is in the log.
    `wait`: seconds for the lock; `publish_wait` for the log. `durability`: `synced` has the data
    files and their folders synced before the commit, None leaves that to the table's property.
    """

    properties: CommitProperties = field(default_factory=CommitProperties)
    token: str = field(default_factory=new_token)
    isolation: Isolation = "WriteSerializable"
    if_version: int | None = None
    mirror: Mirroring = "published"
    wait: float = 30.0
    publish_wait: float = 30.0
    hooks: Hooks | None = None
    durability: Durability | None = None

    @classmethod
    def of(
        cls, properties: Any = None, token: str | None = None, hooks: Any = None, **options: Any
    ) -> CommitOptions:
        """From a caller's arguments; None means the default."""
        given = {name: value for name, value in options.items() if value is not None}
        if token is not None:
            given["token"] = token
        if hooks is not None:
            cleanup = getattr(hooks, "cleanup_expired_logs", None)
            given["hooks"] = Hooks(bool(hooks.create_checkpoint), cleanup is not False)
        found = cls(properties=CommitProperties.of(properties), **given)
        if found.mirror not in ("published", "async"):
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"no mirror={found.mirror!r}; use 'published' or 'async'",
            )
        if found.durability not in (None, "default", "synced"):
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"no durability={found.durability!r}; use 'synced' or 'default'",
            )
        if found.isolation not in ISOLATIONS:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"no isolation level {found.isolation!r}; use {', '.join(ISOLATIONS)}",
            )
        return found

    def is_synced(self, configuration: Mapping[str, str]) -> bool:
        """Whether data files are synced before the commit; `configuration` is the table's."""
        return (self.durability or configuration.get(DURABILITY)) == "synced"

    @property
    def retries(self) -> int:
        """How often a commit may be made again for newer files."""
        given = self.properties.max_commit_retries
        return _RETRIES if given is None else given

    @property
    def txns(self) -> tuple[dict[str, Any], ...]:
        """Bodies of the `txn` actions."""
        now = time.time_ns() // 1_000_000
        return tuple(
            {
                "appId": checked_text("an application transaction's app_id", txn.app_id, 512),
                "version": _long("version", txn.version),
                "lastUpdated": now
                if txn.last_updated is None
                else _long("last_updated", txn.last_updated),
            }
            for txn in self.properties.app_transactions or ()
        )


def _long(what: str, number: Any) -> int:
    """A whole number of 64 bits, numpy's too. Raises INVALID_ARGUMENT for what is none."""
    try:
        if not isinstance(number, bool) and -(1 << 63) <= operator.index(number) < 1 << 63:
            return operator.index(number)
    except TypeError:
        pass
    raise DeltaLakeError(
        DeltaLakeErrorKind.INVALID_ARGUMENT,
        f"an application transaction's {what} is {number!r}; use a whole number of 64 bits",
    )
