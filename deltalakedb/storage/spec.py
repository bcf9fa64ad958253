"""Where a store is and how to get in: small, frozen, picklable without its secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.redact import redact
from deltalakedb.secret import Secret
from deltalakedb.storage.options import normalise_options
from deltalakedb.uri import normalise_location


@dataclass(frozen=True, repr=False)
class StoreSpec:
    """A store's place and options; `open_store` it where it is used (it crosses to workers).

    `url` is a local path (taken literally, made absolute), a `file://` URL (percent-decoded
    once) or `s3://bucket/prefix` (literal; `s3a://` is the same). Afterwards it is in the
    canonical form of `uri.normalise_location`. `options` are those of
    `storage.options.normalise_options`; they matter to S3 only, and are kept for a local
    store because absolute paths in a log may lead from it to S3. What the options don't say
    comes from the environment of the process that opens the store.

    Pickles and reprs hold no credentials: see `deltalakedb.secret`.
    """

    url: str
    options: Mapping[str, str | Secret] = field(default_factory=dict)

    def __post_init__(self) -> None:
        url = normalise_location(self.url)
        scheme, separator, rest = url.partition("://")
        if separator and scheme != "s3":
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"storage {url!r} is of a kind that is not supported; "
                "use a local path, file:// or s3://bucket/prefix",
                url=url,
            )
        if separator:
            _check_bucket(url, rest)
        object.__setattr__(self, "url", url)
        object.__setattr__(self, "options", normalise_options(self.options))

    @property
    def is_s3(self) -> bool:
        return self.url.startswith("s3://")

    def child(self, name: str) -> StoreSpec:
        """The spec of the directory `name` below this one (literal, relative)."""
        return self.at(self.url.rstrip("/") + "/" + name)

    def at(self, url: str) -> StoreSpec:
        """Another place with the same options."""
        return StoreSpec(url, self.options)

    def secrets(self) -> tuple[Secret, ...]:
        """The credentials inside, for whoever delivers them to workers."""
        return tuple(value for value in self.options.values() if isinstance(value, Secret))

    def __hash__(self) -> int:
        return hash((self.url, tuple(self.options)))

    def __repr__(self) -> str:
        shown = {
            name: str(value) if isinstance(value, Secret) else redact(value)
            for name, value in self.options.items()
        }
        return f"StoreSpec({redact(self.url)!r}, {shown})"


def _check_bucket(url: str, rest: str) -> None:
    bucket = rest.partition("/")[0]
    if not bucket or "@" in bucket or (":" in bucket and not bucket.startswith("arn:")):
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"{url!r} names no bucket; write s3://bucket/prefix and give credentials as "
            "storage options (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or in the environment",
            url=url,
        )
