"""A proof carried on to a newer version, at the cost of the commits between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.records import TableRow, load_condition, load_files_name
from deltalakedb.executor.executor import Executor
from deltalakedb.log.commit import StateChange
from deltalakedb.log.reader import plan_ranges
from deltalakedb.log.rows import LIVE
from deltalakedb.log.segment import LogListing, Run, Segment
from deltalakedb.parity.facts import LOG_RECORD, live_files
from deltalakedb.parity.log_side import read_parts
from deltalakedb.replay.events import CLOSE
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.sweep.digest import (
    HELD,
    FileSums,
    Sum,
    changes_since,
    record_hashes,
    sum_of,
    values_sum,
)
from deltalakedb.sweep.proofs import Proof

_CHUNK = 500
_SAID = {"txn": "dl_txns", "domainMetadata": "dl_domains"}
"""Actions beside files that a proof is carried over, and where the catalog has them."""


def carried(
    catalog: Catalog,
    row: TableRow,
    proof: Proof,
    sums: FileSums,
    state: Mapping[str, Sum],
    listing: LogListing,
    store: StoreSpec,
    executor: Executor,
) -> bool | None:
    """Whether the catalog's files at its head are those of `proof` and the commits since.

    True proves it: files of before are as they were then, each file added since is as its commit
    says, exactly those were closed that commits have removed, and application transactions and
    domains are those of before but for what the commits say of them. None: this can't tell, as the
    commits aren't all there, or say more than files; False: it isn't so.
    """
    commits = tuple(c for c in listing.commits if proof.version < c.version <= row.head_version)
    if len(commits) != row.head_version - proof.version:
        return None
    run = Run(None, commits, commits[0].version, commits[-1].version)
    records = [np.empty(0, dtype=LOG_RECORD)]
    changes: list[StateChange] = []
    for part in read_parts(store, plan_ranges(open_store(store), Segment((run,), ())), executor):
        if any(change.action not in _SAID for change in part.state):
            return None
        changes += part.state
        records.append(part.records)
    log = np.concatenate(records)
    ours = changes_since(catalog, row.live_load, proof.version)
    added = sum_of(record_hashes(live_files(log)))
    if sums.files != proof.files + added - ours.closed.files:
        return False
    if sums.rows != proof.rows + ours.new.rows - ours.closed.rows:
        return False
    for action, name in _SAID.items():
        said = [change for change in changes if change.action == action]
        if not _state_carried(catalog, row, proof, name, state[name], said):
            return False
    removed = log[log["kind"] == CLOSE]
    return _explained(ours.keys, log) and not _still_live(
        catalog, row, np.unique(removed["key"]), {tuple(k) for k in ours.keys.tolist()}, log
    )


def _state_carried(
    catalog: Catalog,
    row: TableRow,
    proof: Proof,
    name: str,
    now: Sum,
    said: Sequence[StateChange],
) -> bool:
    """Whether rows of a table beside the files are those of the proof with what was said since."""
    if not said:
        return now == proof.state[name]
    newest = {change.key: change for change in sorted(said, key=lambda change: change.version)}
    replaced = catalog.reader.rows(
        f"SELECT {', '.join(HELD[name])} FROM {name} WHERE load_id = ? AND added_version <= ? "
        "AND removed_version > ? AND removed_version <= ?",
        (row.live_load, proof.version, proof.version, row.head_version),
    )
    holding: list[tuple[object, ...]] = []
    for key, change in newest.items():
        body = change.body
        if change.action == "txn":
            holding.append((key, body.get("version"), body.get("lastUpdated")))
        elif not body.get("removed"):
            holding.append((key, body.get("configuration") or ""))
    return now == proof.state[name] - values_sum(replaced) + values_sum(holding)


def _explained(keys: np.ndarray, log: np.ndarray) -> bool:
    """Whether each file that the catalog has closed is removed, or added again, by the log."""
    said = set(zip(log["key"].tolist(), log["key2"].tolist(), strict=True))
    return all(tuple(key) in said for key in keys.tolist())


def _still_live(
    catalog: Catalog,
    row: TableRow,
    removed: np.ndarray,
    closed: set[tuple[int, int]],
    log: np.ndarray,
) -> bool:
    """Whether the catalog still shows a file of before that the log has removed."""
    gone = {key for key, _ in closed}
    left = [int(key) for key in removed.tolist() if key not in gone]
    first = int(log["version"].min()) if len(log) else 0
    for start in range(0, len(left), _CHUNK):
        some = ", ".join(map(str, left[start : start + _CHUNK]))
        [(count,)] = catalog.reader.rows(
            f"SELECT count(*) FROM {load_files_name(row.live_load)} WHERE "
            f"{load_condition(row.live_load)}path_key IN ({some}) "
            f"AND removed_version = {LIVE} AND added_version < {first}"
        )
        if count:
            return True
    return False
