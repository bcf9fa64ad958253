"""What is remembered of each table from the night on which it was last proven."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.commit_tables import properties, settings
from deltalakedb.sweep.data_files import DataFile
from deltalakedb.sweep.digest import FileSums, Sum

_NAME = "sweep.proof"
_NIGHT = "sweep.night"
_CHUNK = 500
_FORM = 5
"""Raised whenever sums are made of other columns: then all is proven anew."""


@dataclass(frozen=True)
class Proof:
    """The catalog's rows at `version`, of `load` and `epoch`, were found to say what the log does.

    `since`: the oldest version that the catalog knew then.

    `files`, `rows` and `state`: their digests; `listing`: of the log's listing, `checkpoint` and
    `checksum` the newest ones that were read; `full_at`: when the whole was last compared, and
    `seen_at` when it was last proven, in ms since 1970. `suspects`: data files that
    weren't as they should be, which are looked at until they are; `drifted`: the last look found
    drift, so that the whole is compared until it doesn't. `authority`: who ratified
    then; `skipping`: for which columns the load has keys; `full_night`: the night of `full_at`;
    `said`: what else `dl_tables` said; `pointed`: there was a `_last_checkpoint`; `contents`:
    digests of data files by their keys; `total_bytes`: of the files; `seal`: what the database made
    of their rows before they were read, where it does (digest.seals).
    """

    version: int
    since: int
    load: int
    epoch: int
    files: Sum
    rows: Sum
    state: Mapping[str, Sum]
    listing: str
    checkpoint: str | None
    checksum: str | None
    full_at: int
    seen_at: int
    suspects: tuple[DataFile, ...] = ()
    drifted: bool = False
    authority: str = ""
    skipping: str = ""
    full_night: int = 0
    said: str = ""
    pointed: bool = False
    contents: Mapping[str, str] = field(default_factory=dict)
    total_bytes: int = 0
    seal: Sum | None = None

    @property
    def sums(self) -> FileSums:
        """Of the rows of files that were proven."""
        return FileSums(self.files, self.rows, self.total_bytes)

    def to_json(self) -> dict[str, Any]:
        """As it is kept; `of_json` gives it back."""
        return {
            "form": _FORM,
            **{n: getattr(self, n) for n in _PLAIN},
            "files": str(self.files),
            "rows": str(self.rows),
            "state": {name: str(value) for name, value in self.state.items()},
            "suspects": list(self.suspects),
            "contents": dict(self.contents),
            "seal": None if self.seal is None else str(self.seal),
        }

    @classmethod
    def of_json(cls, found: Mapping[str, Any]) -> Proof:
        """A proof as it was kept. ValueError for one whose sums are of other columns."""
        if found.get("form") != _FORM:
            raise ValueError("a proof of another form")
        return cls(
            **{n: found[n] for n in _PLAIN},
            files=Sum.parse(found["files"]),
            rows=Sum.parse(found["rows"]),
            state={name: Sum.parse(text) for name, text in found["state"].items()},
            suspects=tuple(DataFile(*each) for each in found["suspects"]),
            contents=found["contents"],
            seal=None if found["seal"] is None else Sum.parse(found["seal"]),
        )


_PLAIN = (
    *("version", "since", "load", "epoch"),
    *("listing", "checkpoint", "checksum", "full_at", "seen_at", "drifted"),
    *("authority", "skipping", "full_night", "said", "pointed", "total_bytes"),
)


def known_proofs(catalog: Catalog) -> dict[int, Proof]:
    """Every table's proof by its key, in one question; one that can't be read is none."""
    found = catalog.reader.rows(
        "SELECT table_key, value FROM dl_properties WHERE name = ?", (_NAME,)
    )
    proofs = {}
    for key, text in found:
        try:
            proofs[int(key)] = Proof.of_json(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError):
            # Damaged, or of another version of this program: the table is proven anew.
            continue
    return proofs


def keep_proofs(catalog: Catalog, proofs: Mapping[int, Proof]) -> None:
    """Keep proofs by table key, in place of those that were kept before."""
    keys = sorted(proofs)
    for start in range(0, len(keys), _CHUNK):
        some = keys[start : start + _CHUNK]
        with catalog.write() as connection:
            connection.execute(
                properties.delete().where(
                    properties.c.table_key.in_(some), properties.c.name == _NAME
                )
            )
            connection.execute(
                properties.insert(),
                [
                    {"table_key": key, "name": _NAME, "value": json.dumps(proofs[key].to_json())}
                    for key in some
                ],
            )


def last_night(catalog: Catalog) -> int:
    """The number of the newest sweep of a catalog; 0 before the first."""
    found = catalog.reader.rows("SELECT value FROM dl_settings WHERE name = ?", (_NIGHT,))
    return int(found[0][0]) if found and str(found[0][0]).isdigit() else 0


def keep_night(catalog: Catalog, night: int) -> None:
    """Remember the number of a sweep."""
    mine = settings.c.name == _NIGHT
    with catalog.write() as connection:
        if not connection.execute(settings.update().where(mine).values(value=str(night))).rowcount:
            connection.execute(settings.insert().values(name=_NIGHT, value=str(night)))
