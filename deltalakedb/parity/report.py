"""What a diff found: for people, for programs, for monitoring."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deltalakedb.parity.details import DifferentFile, FileFacts
from deltalakedb.parity.diff import Difference

LIST_LIMIT = 100
"""Entries of each list of a report; the full counts stand beside."""
_SHOWN = 10

_METRICS = {
    "dl_mirror_lag_seconds": "Seconds since the first version that one side lacks was committed.",
    "dl_file_drift_count": "Files that catalog and log list differently.",
    "dl_metadata_drift": "1 if metadata, properties, transactions or domains differ.",
    "dl_protocol_drift": "1 if the protocol differs.",
    "dl_commit_drift_count": "Commits of the log that were rewritten or lost since their import.",
    "dl_version_delta": "Head version of the catalog minus that of the log.",
}


@dataclass(frozen=True)
class FileLists:
    """Differing files: the first `LIST_LIMIT` of each kind by path, and how many there are."""

    missing_in_catalog: tuple[FileFacts, ...] = ()
    missing_in_log: tuple[FileFacts, ...] = ()
    different: tuple[DifferentFile, ...] = ()
    missing_in_catalog_count: int = 0
    missing_in_log_count: int = 0
    different_count: int = 0

    @property
    def total(self) -> int:
        return self.missing_in_catalog_count + self.missing_in_log_count + self.different_count


@dataclass(frozen=True, repr=False)
class DiffReport:
    """The outcome of `diff_table`.

    `compared_version`: the highest version that both sides have, None when lost commits leave none;
    `num_files`: the log's live files there. `differences`: whatever else than files differs;
    `rewritten_commits`, `missing_commits`: versions whose commit file is not, or no longer, what
    the catalog took in.
    """

    table_id: str
    name: str
    log_location: str
    compared_version: int | None
    catalog_version: int
    log_version: int
    num_files: int
    lag_seconds: float
    lag_threshold_seconds: float
    max_drift_files: int
    files: FileLists
    differences: tuple[Difference, ...]
    rewritten_commits: tuple[int, ...]
    missing_commits: tuple[int, ...]
    notes: tuple[str, ...]
    seconds: float

    @property
    def file_drift(self) -> int:
        """How many files differ."""
        return self.files.total

    @property
    def protocol_drift(self) -> bool:
        return any(d.kind == "protocol" for d in self.differences)

    @property
    def metadata_drift(self) -> bool:
        """Whether metadata, properties, transactions, domains or the catalog's totals differ."""
        return any(d.kind != "protocol" for d in self.differences)

    @property
    def commit_drift(self) -> int:
        """How many commits of the log were rewritten or lost."""
        return len(self.rewritten_commits) + len(self.missing_commits)

    @property
    def parity(self) -> bool:
        """Whether the sides agree where they meet; up to `max_drift_files` files may differ."""
        return (
            self.file_drift <= self.max_drift_files
            and not self.differences
            and not self.commit_drift
        )

    @property
    def lag_exceeded(self) -> bool:
        return self.lag_seconds > self.lag_threshold_seconds

    @property
    def exit_code(self) -> int:
        """0 parity, and lag within the threshold; 2 drift; 3 only lag."""
        if not self.parity:
            return 2
        return 3 if self.lag_exceeded else 0

    def to_json(self) -> dict[str, Any]:
        """The machine-readable form of `dl diff --format json`."""
        files = self.files
        return {
            "table_id": self.table_id,
            "name": self.name,
            "compared_version": self.compared_version,
            "catalog_version": self.catalog_version,
            "log_version": self.log_version,
            "parity": self.parity,
            "lag_seconds": round(self.lag_seconds, 3),
            "file_drift": self.file_drift,
            "missing_in_catalog": [f.to_json() for f in files.missing_in_catalog],
            "missing_in_catalog_count": files.missing_in_catalog_count,
            "missing_in_log": [f.to_json() for f in files.missing_in_log],
            "missing_in_log_count": files.missing_in_log_count,
            "different": [f.to_json() for f in files.different],
            "different_count": files.different_count,
            "metadata_drift": self.metadata_drift,
            "protocol_drift": self.protocol_drift,
            "differences": [d.to_json() for d in self.differences[:LIST_LIMIT]],
            "differences_count": len(self.differences),
            "rewritten_commits": list(self.rewritten_commits[:LIST_LIMIT]),
            "rewritten_commits_count": len(self.rewritten_commits),
            "missing_commits": list(self.missing_commits[:LIST_LIMIT]),
            "missing_commits_count": len(self.missing_commits),
            "num_files": self.num_files,
            "notes": list(self.notes),
            "seconds": round(self.seconds, 3),
            "exit_code": self.exit_code,
        }

    def metrics(self) -> dict[str, Any]:
        """The metrics by name, with `table_id` and `name` as their labels."""
        return {
            "table_id": self.table_id,
            "name": self.name,
            "dl_mirror_lag_seconds": round(self.lag_seconds, 3),
            "dl_file_drift_count": self.file_drift,
            "dl_metadata_drift": int(self.metadata_drift),
            "dl_protocol_drift": int(self.protocol_drift),
            "dl_commit_drift_count": self.commit_drift,
            "dl_version_delta": self.catalog_version - self.log_version,
        }

    def prometheus(self) -> str:
        """The metrics in Prometheus' text format."""
        found = self.metrics()
        labels = ",".join(f'{n}="{_label_value(found[n])}"' for n in ("table_id", "name"))
        lines: list[str] = []
        for name, described in _METRICS.items():
            lines += [
                f"# HELP {name} {described}",
                f"# TYPE {name} gauge",
                f"{name}{{{labels}}} {found[name]}",
            ]
        return "\n".join(lines) + "\n"

    def _title(self) -> str:
        version = self.compared_version
        where = "no version" if version is None else f"version {version}"
        if not self.parity:
            return f"Drift: catalog and log of {self.name} differ at {where}"
        if self.lag_exceeded:
            return f"Lag: catalog and log of {self.name} agree at {where}, but their heads differ"
        return f"Parity: catalog and log of {self.name} agree at {where}"

    def _facts(self) -> list[tuple[str, str]]:
        heads = f"catalog {self.catalog_version}, log {self.log_version}"
        if self.lag_seconds:
            heads += (
                f"; {self.lag_seconds:,.1f} s behind (threshold {self.lag_threshold_seconds:g} s)"
            )
        files = f"{self.num_files:,} in the log"
        if self.file_drift:
            counts = self.files
            files += (
                f"; {self.file_drift:,} differ: {counts.missing_in_catalog_count:,} missing in "
                f"the catalog, {counts.missing_in_log_count:,} missing in the log, "
                f"{counts.different_count:,} different"
            )
        return [
            ("table", f"{self.name} ({self.table_id})"),
            ("log", self.log_location),
            ("heads", heads),
            ("files", files),
            ("time", f"{self.seconds:.2f} s"),
        ]

    def _lists(self) -> list[tuple[str, int, list[str]]]:
        """(title, how many there are, the first of them as lines), only what there is."""
        files = self.files
        found = [
            (
                "in the log, missing in the catalog",
                files.missing_in_catalog_count,
                [_file_line(f) for f in files.missing_in_catalog[:_SHOWN]],
            ),
            (
                "in the catalog, missing in the log",
                files.missing_in_log_count,
                [_file_line(f) for f in files.missing_in_log[:_SHOWN]],
            ),
            (
                "different files",
                files.different_count,
                [_different_line(f) for f in files.different[:_SHOWN]],
            ),
            (
                "other differences",
                len(self.differences),
                [_difference_line(d) for d in self.differences[:LIST_LIMIT]],
            ),
            (
                "commits rewritten since they were imported",
                len(self.rewritten_commits),
                [_versions_line(self.rewritten_commits)],
            ),
            (
                "commits lost since they were imported",
                len(self.missing_commits),
                [_versions_line(self.missing_commits)],
            ),
        ]
        return [entry for entry in found if entry[1]]

    def _advice(self) -> str | None:
        command = f"dl import --table-id {shlex.quote(self.name)}"
        if not self.parity and self.missing_commits:
            return (
                "restore the lost commits from a backup; or, if the log is right as it is, "
                f"`{command} --rebuild` makes the catalog follow it"
            )
        if not self.parity:
            return (
                f"find out which side is right. If the log: `{command} --rebuild` makes the "
                "catalog anew. If the catalog: restore the log from a backup"
            )
        if self.log_version > self.catalog_version:
            return f"`{command}` brings the catalog up to the log's head"
        if self.log_version < self.catalog_version:
            return "publish what the log lacks: `dl mirror drain`"
        return None

    def __str__(self) -> str:
        lines = [self._title()]
        lines += [f"  {name + ':':<7} {_plain(value)}" for name, value in self._facts()]
        for title, count, entries in self._lists():
            lines.append(f"  {title} ({count:,}):")
            lines += [f"    {_plain(entry)}" for entry in entries]
            if count > len(entries) and not title.startswith("commits"):
                lines.append(f"    … and {count - len(entries):,} more")
        lines += [f"  note: {_plain(note)}" for note in self.notes]
        advice = self._advice()
        if advice:
            lines.append(f"  next: {_plain(advice)}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from deltalakedb.display.markup import card, facts, lines

        title, _, said = self._title().partition(": ")
        lists = []
        for name, count, entries in self._lists():
            more = count - len(entries)
            rest = [f"… and {more:,} more"] if more > 0 and not name.startswith("commits") else []
            lists.append(lines(entries + rest, heading=f"{name} ({count:,})"))
        advice = self._advice()
        extra = [("note", note) for note in self.notes] + ([("next", advice)] if advice else [])
        return card(title, said, facts(self._facts()), *lists, facts(extra) if extra else "")


def _label_value(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _plain(text: str) -> str:
    """Text that came from a log, as a terminal may get it: nothing in it moves the cursor."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _vector(name: str | None) -> str:
    return f" with deletion vector {name}" if name else ""


def _file_line(file: FileFacts) -> str:
    size = "" if file.size is None else f" ({file.size:,} bytes)"
    return f"{file.path}{_vector(file.deletion_vector)}{size}"


def _different_line(file: DifferentFile) -> str:
    said = "; ".join(
        f"{name}: catalog {_value(catalog)}, log {_value(log)}"
        for name, (catalog, log) in file.fields.items()
    )
    return f"{file.path}{_vector(file.deletion_vector)}: {said}"


def _difference_line(difference: Difference) -> str:
    return (
        f"{difference.kind} {difference.name}: catalog {_value(difference.catalog)}, "
        f"log {_value(difference.log)}"
    )


def _versions_line(versions: Sequence[int]) -> str:
    shown = ", ".join(str(v) for v in versions[:LIST_LIMIT])
    return f"{shown}, …" if len(versions) > LIST_LIMIT else shown
