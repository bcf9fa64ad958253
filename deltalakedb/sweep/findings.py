"""What a sweep may find, by name: what it means, and the command for whoever is woken by it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

KINDS = {
    "files-lost": "the catalog lacks files that the log has",
    "files-added": "the catalog has files that the log lacks",
    "files-changed": "the catalog says something else of files than the log",
    "pruning-changed": "statistics or pruning keys in the catalog aren't those that came in",
    "totals-wrong": "the counts at the head aren't those of its files",
    "metadata-changed": "schema, properties or other metadata differ",
    "protocol-changed": "the protocol differs",
    "txns-changed": "application transactions differ",
    "domains-changed": "domain metadata differs",
    "partitions-changed": "the catalog's partitions were changed without a commit",
    "history-changed": "the catalog's history was changed without a commit",
    "table-changed": "what the catalog says of the table itself was changed without an import",
    "authority-changed": "who ratifies the table's commits was changed without a cutover",
    "head-moved": "the catalog's head went back, or its load was replaced without an import",
    "commit-lost": "commits are gone from the log",
    "commit-rewritten": "commits of the log aren't what was committed",
    "commit-times-changed": "commits have other file times, by which old versions are found",
    "commit-damaged": "a commit of the log can't be read",
    "foreign-commit": "others wrote to a log that the catalog ratifies",
    "log-gone": "the log isn't there",
    "log-unreadable": "the log can't be read",
    "table-replaced": "another table is at this place now",
    "checkpoint-damaged": "the newest checkpoint can't be read",
    "checkpoint-wrong": "the newest checkpoint says something else than the catalog",
    "last-checkpoint-wrong": "_last_checkpoint doesn't say what checkpoint there is",
    "checksum-wrong": "what the writers' .crc file gives isn't the catalog's",
    "data-file-gone": "data files of the newest version aren't there",
    "data-file-size": "data files have another size than the log says",
    "data-file-damaged": "data files can't be read, or have another number of rows",
    "data-file-changed": "data files have other bytes than on an earlier night",
    "vector-gone": "deletion vectors of the newest version aren't there",
    "vector-damaged": "deletion vectors of the newest version can't be read",
    "outbox-lost": "what waits for the log, or is said to be in it, was changed without a commit",
    "outbox-stuck": "versions wait in the outbox, and nobody publishes them",
    "unpublished": "versions that are committed are not in the log yet",
    "log-ahead": "the log has versions that the catalog lacks",
}
"""Stable names, by which alerts and tests know them."""

LAG = frozenset({"unpublished", "log-ahead", "outbox-stuck"})
"""What passes by itself: no drift, as long as it is short."""

_COMMANDS = {
    "commit-lost": "dl diff {table}",
    "foreign-commit": "dl mirror resolve {table}",
    "unpublished": "dl mirror drain {table}",
    "outbox-lost": "dl mirror status {table}",
    "outbox-stuck": "dl mirror drain {table}",
    "authority-changed": "dl authority {table}",
    "log-ahead": "dl import --table-id {table}",
    "checkpoint-damaged": "dl maintain {table}",
    "checkpoint-wrong": "dl maintain {table}",
    "last-checkpoint-wrong": "dl maintain {table}",
    "data-file-gone": "dl files {table}",
    "data-file-size": "dl files {table}",
    "data-file-damaged": "dl files {table}",
    "data-file-changed": "dl files {table}",
    "vector-gone": "dl files {table}",
    "vector-damaged": "dl files {table}",
}
_REBUILD = frozenset(
    {
        "files-lost",
        "files-added",
        "files-changed",
        "pruning-changed",
        "totals-wrong",
        "partitions-changed",
        "history-changed",
        "table-changed",
        "table-replaced",
        "commit-times-changed",
    }
)


@dataclass(frozen=True)
class Finding:
    """Something that isn't as it should be. `kind`: of KINDS; `text`: where, and what exactly."""

    kind: str
    text: str

    def command(self, table: str) -> str:
        """What to run first."""
        name = shlex.quote(table)
        if self.kind in _REBUILD:
            return f"dl diff {name}  # then: dl import --table-id {name} --rebuild"
        return _COMMANDS.get(self.kind, "dl diff {table}").format(table=name)

    def to_json(self) -> dict[str, Any]:
        """The machine-readable form."""
        return {"kind": self.kind, "means": KINDS[self.kind], "text": self.text}
