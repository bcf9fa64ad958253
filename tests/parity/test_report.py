"""What a report says to people, programs and monitoring."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

import deltalakedb
from deltalakedb.parity.details import DifferentFile, FileFacts
from deltalakedb.parity.diff import Difference
from deltalakedb.parity.report import DiffReport, FileLists

PARITY = DiffReport(
    table_id="5fba94ed-9794-4965-ba6e-6ee3c0d22af9",
    name="shop.sales",
    log_location="/tables/sales/_delta_log",
    compared_version=12,
    catalog_version=12,
    log_version=12,
    num_files=1234,
    lag_seconds=0.0,
    lag_threshold_seconds=5.0,
    max_drift_files=0,
    files=FileLists(),
    differences=(),
    rewritten_commits=(),
    missing_commits=(),
    notes=(),
    seconds=0.25,
)
LAGGING = dataclasses.replace(PARITY, log_version=14, lag_seconds=61.5, notes=("a note",))


def _file(path: str) -> FileFacts:
    return FileFacts(path, None, 10, {"day": None}, True, None)


DRIFTED = dataclasses.replace(
    PARITY,
    files=FileLists(
        missing_in_catalog=tuple(_file(f"new-{n:03}") for n in range(100)),
        missing_in_log=(FileFacts("old", "uABC@1", 10, {}, False, [1, 36]),),
        different=(DifferentFile("odd<b>\x1b[2J", None, {"size": (1, 2)}),),
        missing_in_catalog_count=250,
        missing_in_log_count=1,
        different_count=1,
    ),
    differences=(Difference("protocol", "min_reader_version", 1, 3),),
    rewritten_commits=(3, 4),
)


def test_exit_codes() -> None:
    assert (PARITY.exit_code, LAGGING.exit_code, DRIFTED.exit_code) == (0, 3, 2)
    assert dataclasses.replace(LAGGING, lag_threshold_seconds=61.5).exit_code == 0
    assert dataclasses.replace(DRIFTED, max_drift_files=10**6).exit_code == 2
    assert dataclasses.replace(DRIFTED, log_version=14, lag_seconds=99.0).exit_code == 2


def test_the_json_form() -> None:
    facts = json.loads(json.dumps(DRIFTED.to_json()))
    assert list(facts)[:7] == [
        "table_id",
        "name",
        "compared_version",
        "catalog_version",
        "log_version",
        "parity",
        "lag_seconds",
    ]
    assert (facts["file_drift"], facts["exit_code"], facts["parity"]) == (252, 2, False)
    assert (facts["metadata_drift"], facts["protocol_drift"]) == (False, True)
    assert (len(facts["missing_in_catalog"]), facts["missing_in_catalog_count"]) == (100, 250)
    assert facts["missing_in_log"] == [
        {"path": "old", "deletion_vector": "uABC@1", "size": 10, "partition_values": {}}
    ]
    assert facts["different"][0]["fields"] == {"size": {"catalog": 1, "log": 2}}
    assert facts["differences"] == [
        {"kind": "protocol", "name": "min_reader_version", "catalog": 1, "log": 3}
    ]
    assert facts["rewritten_commits"] == [3, 4]


def test_people_read_first_what_matters() -> None:
    text = str(DRIFTED)
    lines = text.splitlines()
    assert lines[0] == "Drift: catalog and log of shop.sales differ at version 12"
    assert "252 differ: 250 missing in the catalog, 1 missing in the log, 1 different" in text
    assert sum(line.startswith("    new-") for line in lines) == 10
    assert "    … and 240 more" in lines
    assert "    old with deletion vector uABC@1 (10 bytes)" in lines
    assert "    protocol min_reader_version: catalog 1, log 3" in lines
    assert "    3, 4" in lines
    assert lines[-1].startswith("  next: ")
    assert "\x1b" not in text
    assert str(PARITY).splitlines()[0] == (
        "Parity: catalog and log of shop.sales agree at version 12"
    )
    assert "next:" not in str(PARITY)
    assert repr(PARITY) == str(PARITY)
    assert str(LAGGING).splitlines()[0].startswith("Lag: ")
    assert "61.5 s behind (threshold 5 s)" in str(LAGGING)
    assert "  note: a note" in str(LAGGING).splitlines()


def test_notebooks_get_html() -> None:
    page = DRIFTED._repr_html_()
    assert "odd&lt;b&gt;" in page
    assert "<b>\x1b" not in page
    assert "<b>Drift</b>" in page
    assert "… and 240 more" in page


def test_prometheus_text() -> None:
    awkward = dataclasses.replace(LAGGING, name='a"b\\c\nd')
    lines = awkward.prometheus().splitlines()
    sample = re.compile(r'(dl_\w+)\{table_id="[0-9a-f-]{36}",name="a\\"b\\\\c\\nd"\} (\S+)')
    values = {}
    for number in range(0, len(lines), 3):
        found = sample.fullmatch(lines[number + 2])
        assert found
        assert lines[number].startswith(f"# HELP {found[1]} ")
        assert lines[number + 1] == f"# TYPE {found[1]} gauge"
        values[found[1]] = float(found[2])
    assert values == {
        "dl_mirror_lag_seconds": 61.5,
        "dl_file_drift_count": 0,
        "dl_metadata_drift": 0,
        "dl_protocol_drift": 0,
        "dl_commit_drift_count": 0,
        "dl_version_delta": -2,
    }
    assert values == {n: v for n, v in awkward.metrics().items() if n.startswith("dl_")}


@pytest.mark.parametrize("name", ["diff_table", "DiffReport"])
def test_the_package_has_the_names(name: str) -> None:
    assert getattr(deltalakedb, name).__name__ == name
