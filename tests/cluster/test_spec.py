"""The section `cluster`: what it may say, and what it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cluster.spec import ClusterSpec, load_cluster
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind


def test_a_file_names_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE", "long")
    file = tmp_path / "cluster.yaml"
    file.write_text(
        "cluster:\n  kind: slurm\n  minimum: 0\n  maximum: 40\n"
        "  options: {queue: '${QUEUE}', cores: 2, job_extra_directives: [--exclusive]}\n"
    )
    spec = load_cluster(file)
    assert (spec.kind, spec.minimum, spec.maximum, spec.wanted) == ("slurm", 0, 40, 1)
    assert spec.options == {
        "queue": "long",
        "cores": 2,
        "job_extra_directives": ["--exclusive"],
    }


def test_a_file_without_one_means_this_machine(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("performance: {cache_size: 10}\n")
    assert load_cluster(file) == ClusterSpec()


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"kind": "slrum"}, "did you mean 'slurm'"),
        ({"kind": "local", "worker": 2}, "did you mean 'workers'"),
        ({"kind": "local", "workers": "two"}, "a whole number"),
        ({"kind": "local", "workers": True}, "a whole number"),
        ({"kind": "local", "workers": 0}, "leave the section out"),
        ({"kind": "local", "minimum": 1}, "together"),
        ({"kind": "local", "minimum": 3, "maximum": 2}, "leave no worker"),
        ({"kind": "local", "minimum": 1, "maximum": 2, "workers": 2}, "either workers"),
        ({"kind": "address", "workers": 2, "options": {}}, "has its workers"),
        ({"kind": "local", "options": ["a"]}, "not a mapping"),
        ({"kind": "local", "timeout": 0}, "seconds"),
        ({"kind": "class"}, "needs class"),
        ({"kind": "local", "class": "a.B"}, "goes with kind class"),
    ],
)
def test_what_is_wrong_is_named(section: dict[str, Any], says: str) -> None:
    with pytest.raises(DeltaLakeError, match=says) as caught:
        ClusterSpec.of(section)
    assert caught.value.kind is DeltaLakeErrorKind.CONFIGURATION_ERROR
