"""Where a table differs: its rows from themselves and from what was proven, and from its log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deltalakedb.catalog.records import TableRow
from deltalakedb.commit.prepared import columns_of
from deltalakedb.display.text import count_text
from deltalakedb.parity.report import DiffReport
from deltalakedb.sweep.digest import FileSums, Sum
from deltalakedb.sweep.findings import Finding
from deltalakedb.sweep.proofs import Proof
from deltalakedb.sweep.standing import said_of

_STATE_KINDS = {
    "dl_metadata": "metadata-changed",
    "dl_protocols": "protocol-changed",
    "dl_txns": "txns-changed",
    "dl_domains": "domains-changed",
    "dl_partitions": "partitions-changed",
    "dl_versions": "history-changed",
}
_DIFFERENCES = {
    "metadata": "metadata-changed",
    "property": "metadata-changed",
    "protocol": "protocol-changed",
    "txn": "txns-changed",
    "domain": "domains-changed",
    "totals": "totals-wrong",
}


def rows_changed(
    row: TableRow, sums: FileSums, state: Mapping[str, Sum], proof: Proof | None, same: bool
) -> Iterator[Finding]:
    """What the rows say of themselves, and against the proof where no commit came between.

    `same`: the table is at the version that was proven.
    """
    if (row.num_files, row.total_bytes) != (sums.files.count, sums.total_bytes):
        yield Finding(
            "totals-wrong",
            f"the head counts {count_text(row.num_files, 'file')} of {row.total_bytes} bytes, its "
            f"rows are {sums.files.count} of {sums.total_bytes}",
        )
    if (
        proof is not None
        and (row.live_load, row.epoch) == (proof.load, proof.epoch)
        and row.head_version < proof.version
    ):
        yield Finding(
            "head-moved",
            f"the head is version {row.head_version}, and was {proof.version} when it was proven",
        )
    if proof is None:
        return
    here = (row.live_load, row.head_version, row.authority)
    if row.epoch != proof.epoch and here == (proof.load, proof.version, proof.authority):
        yield Finding(
            "authority-changed",
            f"the epoch is {row.epoch}, and was {proof.epoch} when it was proven, with neither a "
            "cutover nor an import since",
        )
    if row.epoch == proof.epoch and row.authority != proof.authority:
        yield Finding(
            "authority-changed",
            f"{row.authority} ratifies, and {proof.authority} did when it was proven",
        )
    if row.live_load == proof.load and columns_of(row.skipping) != columns_of(proof.skipping):
        yield Finding("pruning-changed", "the columns that have keys aren't those that had them")
    if not same:
        return
    if said_of(row) != proof.said:
        yield Finding(
            "table-changed",
            f"dl_tables says {said_of(row)}, and said {proof.said} when it was proven",
        )
    if sums.files != proof.files:
        more = sums.files.count - proof.files.count
        kind = "files-lost" if more < 0 else "files-added" if more else "files-changed"
        yield Finding(kind, f"rows of version {row.head_version} were changed without a commit")
    elif sums.rows != proof.rows:
        yield Finding(
            "pruning-changed", f"rows of version {row.head_version} were changed without a commit"
        )
    for name, kind in _STATE_KINDS.items():
        forgotten = name == "dl_versions" and row.known_since != proof.since
        if not forgotten and state[name] != proof.state[name]:
            yield Finding(kind, f"rows of {name} were changed without a commit")


def of_report(report: DiffReport) -> Iterator[Finding]:
    """What a comparison in full has found."""
    files = report.files
    at = f"at version {report.compared_version}"
    for kind, count, first in (
        ("files-lost", files.missing_in_catalog_count, files.missing_in_catalog),
        ("files-added", files.missing_in_log_count, files.missing_in_log),
        ("files-changed", files.different_count, files.different),
    ):
        if count:
            path = getattr(first[0], "path", "") if first else ""
            yield Finding(
                kind, f"{count_text(count, 'file')} {at}" + (f", such as {path}" if path else "")
            )
    for each in report.differences:
        replaced = each.kind == "metadata" and each.name == "id"
        kind = "table-replaced" if replaced else _DIFFERENCES[each.kind]
        yield Finding(kind, f"{each.kind} {each.name}: {each.catalog!r}, the log says {each.log!r}")
    if report.rewritten_commits:
        first_version = report.rewritten_commits[0]
        count = len(report.rewritten_commits)
        yield Finding("commit-rewritten", f"commit {first_version} is another one ({count} in all)")
    if report.missing_commits:
        first_version = report.missing_commits[0]
        count = len(report.missing_commits)
        yield Finding("commit-lost", f"commit {first_version} is gone ({count} in all)")
