"""Several operations of one transaction on one table, as one commit of it. Pure.

PROTOCOL.md, "Add File and Remove File": a commit has at most one add and one remove of a path, so
a file that is added and removed again within the transaction is in neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from deltalakedb.commit.staged import Reads, StagedTable, VectorClash
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.commit_writer import CommitInfo
from deltalakedb.log.rows import without

Rebase = Callable[[Sequence[VectorClash]], StagedTable]


def composed(first: StagedTable, then: StagedTable) -> StagedTable:
    """What both do, `then` having seen what `first` staged.

    Their change data is all there, not yet as that of one commit (`net_changes`). Raises
    UNSUPPORTED_FEATURE where one commit can't tell it: rows that only move beside rows that go.
    """
    name = first.table.full_name
    removing = [each for each in (first, then) if each.removes.num_rows]
    if len({each.removes_change_data for each in removing}) > 1:
        raise DeltaLakeError(
            DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
            f"one commit of {name} can't both rearrange files and change rows; optimize it in a "
            "transaction of its own",
        )
    removes = pa.concat_tables([first.removes, without(then.removes, first.adds)])
    reads = joined(first.reads, then.reads)
    return replace(
        then,
        reads=reads,
        info=_info(first.info, then.info, blind=not reads and not removes.num_rows),
        added=pa.concat_tables([without(first.adds, then.removes), then.adds]),
        removes=removes,
        removes_change_data=all(each.removes_change_data for each in removing),
        protocol=then.protocol or first.protocol,
        metadata=then.metadata or first.metadata,
        txns=_newest("appId", first.txns, then.txns),
        domains=_newest("domain", first.domains, then.domains),
        changes=first.changes + then.changes,
        others=first.others + then.others,
        if_version=first.if_version if then.if_version is None else then.if_version,
        identity_marks=first.identity_marks + then.identity_marks,
        starts_in_commit_timestamps=(
            first.starts_in_commit_timestamps or then.starts_in_commit_timestamps
        ),
        deletion_time=max(first.deletion_time, then.deletion_time),
        rebase=_rebase(first, then),
        began=earliest((first, then)),
    )


def earliest(parts: Sequence[StagedTable]) -> float | None:
    """When the first file of all was not yet begun."""
    return min((each.began for each in parts if each.began is not None), default=None)


def joined(first: Reads, then: Reads) -> Reads:
    """What both have read."""
    return Reads(
        predicates=tuple(dict.fromkeys(first.predicates + then.predicates)),
        paths=first.paths | then.paths,
        whole_table=first.whole_table or then.whole_table,
    )


def _newest(key: str, *bodies: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    return tuple({body[key]: body for some in bodies for body in some}.values())


def _info(first: CommitInfo, then: CommitInfo, *, blind: bool) -> CommitInfo:
    metrics: dict[str, int | str] = dict(first.metrics)
    for name, value in then.metrics.items():
        metrics[name] = int(metrics.get(name, 0)) + int(value)
    operations = [*_operations(first), *_operations(then)]
    return replace(
        then,
        operation="TRANSACTION",
        parameters={"operations": operations},
        metrics=metrics,
        is_blind_append=blind,
        user_metadata=then.user_metadata or first.user_metadata,
        extra={**first.extra, **then.extra},
    )


def _operations(info: CommitInfo) -> list[str]:
    if info.operation == "TRANSACTION":
        return list(info.parameters["operations"])
    return [info.operation]


def _vectors(table: StagedTable) -> set[str]:
    """Raw paths of files whose vectors a commit only changes."""
    return set(table.adds.column("path").to_pylist()) & set(
        table.removes.column("path").to_pylist()
    )


def _rebase(first: StagedTable, then: StagedTable) -> Rebase | None:
    """Each makes its own part again, unless `then` goes on with a file of `first`."""
    parts = [_vectors(first), _vectors(then)]
    if any(paths and each.rebase is None for paths, each in zip(parts, (first, then), strict=True)):
        return None
    if not any(parts) or without(then.removes, first.adds).num_rows < then.removes.num_rows:
        return None

    def rebase(clashes: Sequence[VectorClash]) -> StagedTable:
        again = []
        for paths, each in zip(parts, (first, then), strict=True):
            mine = [clash for clash in clashes if clash.base["path"] in paths]
            again.append(each.rebase(mine) if mine and each.rebase is not None else each)
        return composed(*again)

    return rebase
