"""Which cluster: the section `cluster` of a YAML file, checked."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

JOBQUEUE = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "lsf": "LSFCluster",
    "sge": "SGECluster",
    "htcondor": "HTCondorCluster",
    "oar": "OARCluster",
}
"""Kinds that dask-jobqueue serves, and the class for each."""

KINDS = ("local", "address", "kubernetes", *JOBQUEUE, "slurm-runner", "class")


@dataclass(frozen=True)
class ClusterSpec:
    """A cluster to start, or to find.

    `kind` is one of `KINDS`. `workers` is how many to start, or `minimum` and `maximum` say
    between which numbers the cluster adapts; where neither is given the options decide. `options`
    are the keyword arguments of the cluster's class, verbatim; `class_name` (the key `class`) names
    the class of a cluster of kind `class`, as `module.Class`. `timeout`: seconds to wait for the
    first workers. `environment`: variables that workers must have (names; values never travel).

    Raises CONFIGURATION_ERROR.
    """

    kind: str = "local"
    workers: int | None = None
    minimum: int | None = None
    maximum: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    class_name: str | None = None
    timeout: float = 300.0
    environment: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise _invalid(f"kind {self.kind!r} is not known{_nearest(self.kind, KINDS)}")
        for name in ("workers", "minimum", "maximum"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 0):
                raise _invalid(f"{name} is {value!r}; give a whole number")
        if (self.minimum is None) != (self.maximum is None):
            raise _invalid("give minimum and maximum together, or workers")
        if self.minimum is not None and self.maximum is not None:
            if self.workers is not None:
                raise _invalid("give either workers, or minimum and maximum")
            if not self.minimum <= self.maximum or self.maximum == 0:
                raise _invalid(f"minimum {self.minimum} and maximum {self.maximum} leave no worker")
        if self.workers == 0:
            raise _invalid("workers is 0; leave the section out to work in one process")
        if self.kind in ("address", "slurm-runner") and (self.workers or self.maximum):
            raise _invalid(
                f"a cluster of kind {self.kind!r} has its workers; leave their number out"
            )
        if not isinstance(self.options, Mapping):
            raise _invalid("options are not a mapping of the cluster's keyword arguments")
        if self.kind == "class":
            if not isinstance(self.class_name, str) or "." not in self.class_name:
                raise _invalid("kind class needs class, such as dask_gateway.GatewayCluster")
        elif self.class_name is not None:
            raise _invalid(f"class goes with kind class, not with {self.kind!r}")
        if type(self.timeout) not in (int, float) or self.timeout <= 0:
            raise _invalid(f"timeout is {self.timeout!r}; give seconds")
        if not all(isinstance(name, str) for name in self.environment):
            raise _invalid("environment is a list of names of variables")

    @property
    def wanted(self) -> int:
        """With how many workers work may begin."""
        return self.workers or max(self.minimum or 1, 1)

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> ClusterSpec:
        """The spec of a section's keys. Raises CONFIGURATION_ERROR for one that is not known."""
        known = ["class" if f.name == "class_name" else f.name for f in fields(cls)]
        for name in section:
            if name not in known:
                raise _invalid(f"{name!r} is not a key of cluster{_nearest(str(name), known)}")
        values = {"class_name" if k == "class" else k: v for k, v in section.items()}
        if "environment" in values:
            values["environment"] = tuple(values["environment"] or ())
        if values.get("options", {}) is None:
            values["options"] = {}
        return cls(**values)


def load_cluster(path: str | Path) -> ClusterSpec:
    """The cluster that a YAML file's section `cluster` describes; a local one without it.

    `${NAME}` stands for variables of the environment, as in every configuration.
    """
    from deltalakedb.config import ConfigLoader

    section = ConfigLoader.load_yaml_config(str(path)).get("cluster", {})
    if not isinstance(section, Mapping):
        raise _invalid(f"the section cluster of {path} is not a mapping")
    return ClusterSpec.of(section)


def _nearest(name: str, known: tuple[str, ...] | list[str]) -> str:
    nearest = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {nearest[0]!r}?" if nearest else f"; it is one of {', '.join(known)}"


def _invalid(message: str) -> DeltaLakeError:
    return DeltaLakeError(DeltaLakeErrorKind.CONFIGURATION_ERROR, f"cluster: {message}")
