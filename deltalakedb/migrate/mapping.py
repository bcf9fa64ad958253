"""The mapping: which table goes where, as a file that a dry run writes and people edit."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from deltalakedb.catalog.records import TableRow
from deltalakedb.catalog.table_name import check_table_name, full_name, is_uuid
from deltalakedb.config.yaml_text import parse_yaml
from deltalakedb.display.text import count_text
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.migrate.discovery import Found
from deltalakedb.migrate.records import STRATEGIES, Strategy
from deltalakedb.uri import normalise_location

COLUMNS = ("location", "namespace", "name", "strategy", "skip", "owner")
"""Of the file, those that are read."""
TOLD = ("version", "files", "bytes", "seconds", "writers", "features", "refusal")
"""Of the file, those that an assessment adds for people; nobody reads them."""
_TRUE = frozenset({"1", "true", "yes", "y", "x", "skip"})
_FALSE = frozenset({"", "0", "false", "no", "n"})


@dataclass(frozen=True)
class Entry:
    """A table and what is to become of it. `owner`: whom to ask, in the report."""

    location: str
    namespace: str
    name: str
    strategy: Strategy = "online"
    skip: bool = False
    owner: str = ""

    @property
    def full_name(self) -> str:
        return full_name(self.namespace, self.name)


def entries_of(
    found: Iterable[Found],
    known: Mapping[str, TableRow],
    *,
    namespace: str | None = None,
    strategy: Strategy = "online",
) -> list[Entry]:
    """An entry for each table found.

    A table that the catalog has (`known`, by location) keeps its name. Another one is called after
    its folder, in the namespace asked for, or that of the folders between.
    """
    entries = []
    for each in found:
        row = known.get(each.location)
        if row is not None:
            entries.append(Entry(each.location, row.namespace, row.name, strategy))
            continue
        between, _, folder = each.below.rpartition("/")
        last = folder or each.location.rstrip("/").rpartition("/")[2] or "table"
        name = f"table-{last}" if is_uuid(last) else last
        space = ".".join(p for p in between.split("/") if p) if namespace is None else namespace
        entries.append(Entry(each.location, space, name, strategy))
    return entries


def read_mapping(path: str) -> list[Entry]:
    """The entries of a CSV file, or of a YAML one (`.yaml`, `.yml`: a list of mappings).

    Raises CONFIGURATION_ERROR with the line for columns and values that aren't known.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _invalid(f"the mapping {path} can't be read: {error}") from None
    if path.endswith((".yaml", ".yml")):
        rows = _yaml_rows(text, path)
    else:
        reader = csv.DictReader(io.StringIO(text), strict=True)
        try:
            _check_twice(reader.fieldnames or (), f"{path}, line 1")
            rows = [(reader.line_num, row) for row in reader]
        except csv.Error as error:
            raise _invalid(f"{path}, line {reader.line_num}: {error}") from None
        if not rows:
            _check_columns(reader.fieldnames or (), f"{path}, line 1")
    return [_entry(row, f"{path}, line {line}") for line, row in rows]


def write_mapping(
    path: str, entries: Sequence[Entry], told: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Write entries so that `read_mapping` gives them back; `told`: of a location, by TOLD.

    A file that is there already may have been edited: CONFIGURATION_ERROR.
    """
    rows = [
        {**asdict(e), "skip": "yes" if e.skip else "", **(told or {}).get(e.location, {})}
        for e in entries
    ]
    columns = [*COLUMNS, *(TOLD if told is not None else ())]
    out = io.StringIO(newline="")
    if path.endswith((".yaml", ".yml")):
        import yaml

        kept = [{name: row[name] for name in columns if row.get(name, "") != ""} for row in rows]
        yaml.safe_dump(kept, out, sort_keys=False, allow_unicode=True)
    else:
        writer = csv.DictWriter(
            out, columns, restval="", extrasaction="ignore", lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(rows)
    try:
        with open(path, "x", encoding="utf-8", newline="") as file:
            file.write(out.getvalue())
    except FileExistsError:
        raise _invalid(
            f"{path} is there already, and may have been edited; remove it, or name another file"
        ) from None
    except OSError as error:
        raise _invalid(f"the mapping {path} can't be written: {error}") from None


def check_entries(entries: Sequence[Entry], known: Mapping[str, TableRow]) -> None:
    """Refuse what can't come out right, all of it at once, before anything is done.

    Two entries of one location, or of one name; names that a table of the catalog (`known`, by
    location) at another location has; another name for a table that is catalogued. Raises
    CONFIGURATION_ERROR.
    """
    faults = []
    taken = {row.full_name: location for location, row in known.items()}
    named: dict[str, str] = {}
    places: set[str] = set()
    for entry in entries:
        if entry.skip:
            continue
        if entry.location in places:
            faults.append(f"{entry.location} stands there twice")
            continue
        places.add(entry.location)
        row = known.get(entry.location)
        try:
            check_table_name(entry.namespace, entry.name, advice="give another in the mapping")
        except DeltaLakeError as error:
            faults.append(f"{entry.location}: {error.message}")
            continue
        if row is not None and row.full_name != entry.full_name:
            faults.append(
                f"{entry.location} is catalogued as {row.full_name}, not {entry.full_name}; "
                "rename it with `dl rename`"
            )
            continue
        other = named.setdefault(entry.full_name, entry.location)
        if other != entry.location:
            faults.append(f"{entry.full_name} would be both {other} and {entry.location}")
        elif taken.get(entry.full_name, entry.location) != entry.location:
            faults.append(
                f"{entry.full_name} is the table at {taken[entry.full_name]} already, and would "
                f"be {entry.location} too"
            )
    if faults:
        shown = "; ".join(faults[:20])
        more = f"; and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise _invalid(
            f"{count_text(len(faults), 'name')} can't be given: {shown}{more}. Write a mapping "
            "with `dl migrate --dry-run --write-mapping FILE`, edit it, and run with --mapping FILE"
        )


def _yaml_rows(text: str, path: str) -> list[tuple[int, dict[str, Any]]]:
    found, lines = parse_yaml(text, path)
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise _invalid(f"{path} has to be a list, with `- location: …` for each table")
    return [
        (
            min((lines[f"[{number}].{name}"] for name in row), default=1),
            {str(k): "" if v is None else str(v) for k, v in row.items()},
        )
        for number, row in enumerate(found)
    ]


def _entry(row: Mapping[str, Any], where: str) -> Entry:
    _check_columns(row, where)
    texts = {name: (row.get(name) or "").strip() for name in COLUMNS}
    if not texts["location"]:
        raise _invalid(f"{where}: location is empty")
    entry = Entry(
        normalise_location(texts["location"]),
        texts["namespace"],
        texts["name"] or texts["location"].rstrip("/").rpartition("/")[2],
        owner=texts["owner"],
    )
    skip = texts["skip"].lower()
    if skip not in _TRUE | _FALSE:
        raise _invalid(f"{where}: skip is {texts['skip']!r}; write yes, or leave it empty")
    strategy = strategy_of(texts["strategy"] or entry.strategy, where)
    return replace(entry, strategy=strategy, skip=skip in _TRUE)


def strategy_of(text: str, where: str) -> Strategy:
    """A strategy by its name. Raises CONFIGURATION_ERROR, naming where the text stands."""
    for strategy in STRATEGIES:
        if text == strategy:
            return strategy
    raise _invalid(f"{where}: there is no strategy {text!r}; use one of {', '.join(STRATEGIES)}")


def _check_columns(names: Iterable[Any], where: str) -> None:
    known = (*COLUMNS, *TOLD)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
            if name is None:
                raise _invalid(f"{where}: more values than columns; quote any with a comma in it")
            raise _invalid(f"{where}: no column {name!r} is known{hint}")
    if "location" not in names:
        raise _invalid(f"{where}: there is no column location")


def _check_twice(names: Sequence[str], where: str) -> None:
    """Of columns with one name the last would be taken in silence."""
    for name in names:
        if names.count(name) > 1:
            raise _invalid(f"{where}: column {name!r} stands there twice; keep one of them")


def _invalid(message: str) -> DeltaLakeError:
    return DeltaLakeError(DeltaLakeErrorKind.CONFIGURATION_ERROR, message)
