"""Which tables a fleet is: named, below folders, of a mapping, or of a configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.reading.queries import all_tables
from deltalakedb.catalog.records import TableRow
from deltalakedb.catalog.schema_version import check_schema_version
from deltalakedb.config.checks import Check, read_section, wrong
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.migrate.discovery import Found, discover
from deltalakedb.migrate.mapping import Entry, entries_of, read_mapping, strategy_of
from deltalakedb.migrate.records import Strategy
from deltalakedb.uri import normalise_location, parse_database


@dataclass(frozen=True)
class Sources:
    """Where a fleet's tables are named. `namespace`: of all that don't come from a mapping."""

    locations: tuple[str, ...] = ()
    discover: tuple[str, ...] = ()
    mapping: str | None = None
    namespace: str | None = None
    strategy: Strategy = "online"
    storage_options: Mapping[str, Any] = field(default_factory=dict)

    def entries(
        self,
        known: Mapping[str, TableRow],
        on_outside: Callable[[str], None] = lambda told: None,
    ) -> list[Entry]:
        """The tables, by location, each once; `known` are the catalog's, by location.

        `on_outside` gets a sentence about each link that leads out of what is discovered.

        Raises INVALID_ARGUMENT when no table is named, CONFIGURATION_ERROR for a mapping that
        isn't right, NOT_FOUND for a place that isn't there.
        """
        found: dict[str, Entry] = {}
        named = [Found(normalise_location(text), "") for text in self.locations]
        for root in self.discover:
            named += discover(root, self.storage_options, on_outside)
        entries = entries_of(named, known, namespace=self.namespace, strategy=self.strategy)
        # What people wrote into a mapping counts before what was found.
        mapped = read_mapping(self.mapping) if self.mapping else []
        places = {entry.location for entry in mapped}
        for entry in entries:
            if entry.location not in places:
                found.setdefault(entry.location, entry)
        if not (self.locations or self.discover or self.mapping):
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                "no table is named: give locations, --discover, --mapping or --config",
            )
        return sorted([*mapped, *found.values()], key=lambda entry: entry.location)


def _texts(name: str, value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(t, str) and t for t in texts):
        raise wrong(name, "a text or a list of texts", value)
    return tuple(texts)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise wrong(name, "a text", value)
    return value


_TEXTS = {"type": ["string", "array"], "items": {"type": "string"}}
_TABLES: Mapping[str, Check] = {
    "discover": Check(_texts, _TEXTS),
    "locations": Check(_texts, _TEXTS),
    "mapping": Check(_text, {"type": "string"}),
    "namespace": Check(_text, {"type": "string"}),
}


def as_configured(given: Sources, config: Mapping[str, Any]) -> Sources:
    """What a command says, then what the sections `tables` and `migration` say.

    Tables that the command names stand alone; a mapping goes with either. Raises
    CONFIGURATION_ERROR for keys of `tables` that aren't known and for an unknown strategy.
    """
    filed = Sources(**read_section("tables", config.get("tables", {}), _TABLES))
    named = str(config.get("migration", {}).get("strategy", Sources.strategy)).lower()
    alone = bool(given.locations or given.discover)
    return replace(
        given,
        locations=given.locations if alone else filed.locations,
        discover=given.discover if alone else filed.discover,
        mapping=given.mapping or filed.mapping,
        namespace=given.namespace or filed.namespace,
        strategy=strategy_of(named, "migration.strategy"),
    )


def known_tables(database: str) -> dict[str, TableRow]:
    """The catalog's tables by location, over a connection that only reads; none without one."""
    try:
        with closing(LightCatalog(parse_database(database))) as catalog:
            [(version,)] = catalog.reader.rows("SELECT version_num FROM dl_schema_version")
            check_schema_version(version, str(catalog.reader.url))
            return {row.location: row for row in all_tables(catalog)}
    except DeltaLakeError as error:
        if error.kind is not DeltaLakeErrorKind.NOT_FOUND:
            raise
        return {}
