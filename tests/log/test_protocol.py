from __future__ import annotations

from typing import Any

import pytest

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.protocol import Protocol, check_known, check_writable, unreadable_features
from tests.tables import samples


def protocol(
    reader: int, writer: int, readers: list[str] | None = None, writers: list[str] | None = None
) -> Protocol:
    action: dict[str, Any] = {"minReaderVersion": reader, "minWriterVersion": writer}
    if readers is not None:
        action["readerFeatures"] = readers
    if writers is not None:
        action["writerFeatures"] = writers
    return Protocol.from_action(action)


def test_features_are_sorted_and_absence_is_kept() -> None:
    found = protocol(3, 7, ["v2Checkpoint", "deletionVectors"], [])
    assert found.reader_features == ("deletionVectors", "v2Checkpoint")
    assert found.writer_features == ()
    assert protocol(1, 2).reader_features is None


@pytest.mark.parametrize(
    "action",
    [
        {"minWriterVersion": 2},
        {"minReaderVersion": "1", "minWriterVersion": 2},
        {"minReaderVersion": True, "minWriterVersion": 2},
        {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": "deletionVectors"},
    ],
)
def test_malformed_actions_are_refused(action: dict[str, Any]) -> None:
    with pytest.raises(DeltaLakeError) as error:
        Protocol.from_action(action)
    assert error.value.kind is DeltaLakeErrorKind.INVALID_LOG


def test_unknown_reader_features_are_refused_by_name() -> None:
    with pytest.raises(DeltaLakeError, match="catalogOwned, warpDrive") as error:
        check_known(protocol(3, 7, ["warpDrive", "deletionVectors", "catalogOwned"], []))
    assert error.value.kind is DeltaLakeErrorKind.UNSUPPORTED_FEATURE
    assert error.value.facts["features"] == ["catalogOwned", "warpDrive"]


def test_unknown_reader_versions_are_refused_by_number() -> None:
    with pytest.raises(DeltaLakeError, match="reader version 5"):
        check_known(protocol(5, 7))


def test_unknown_writer_features_can_be_read() -> None:
    check_known(protocol(1, 7, None, ["warpDrive"]))
    check_known(protocol(1, 99))


def test_lists_count_only_at_their_version() -> None:
    check_known(protocol(1, 2, ["warpDrive"], ["warpDrive"]))
    assert protocol(2, 5).supports_reader_feature("columnMapping")
    assert not protocol(1, 2, ["columnMapping"]).supports_reader_feature("columnMapping")
    assert not protocol(3, 7, [], []).supports_reader_feature("columnMapping")


def test_old_writer_versions_imply_their_features() -> None:
    assert protocol(1, 4).supports_writer_feature("changeDataFeed")
    assert not protocol(1, 3).supports_writer_feature("changeDataFeed")
    assert not protocol(1, 7, None, []).supports_writer_feature("changeDataFeed")
    assert protocol(1, 7, None, ["rowTracking"]).supports_writer_feature("rowTracking")
    assert not protocol(1, 6).supports_writer_feature("rowTracking")


def test_tables_whose_newest_commits_we_cannot_see_are_marked() -> None:
    assert unreadable_features(
        protocol(3, 7, ["deletionVectors", "catalogManaged"], ["catalogManaged"])
    ) == ["catalogManaged"]
    assert unreadable_features(protocol(3, 7, ["deletionVectors"], [])) == []


def test_writing_needs_every_listed_feature() -> None:
    check_writable(protocol(3, 7, ["deletionVectors"], ["deletionVectors", "appendOnly"]))
    check_writable(protocol(1, 2))
    with pytest.raises(DeltaLakeError, match="icebergCompatV2, warpDrive"):
        check_writable(protocol(1, 7, None, ["warpDrive", "icebergCompatV2", "appendOnly"]))
    with pytest.raises(DeltaLakeError, match="writer version 8"):
        check_writable(protocol(1, 8))
    with pytest.raises(DeltaLakeError, match="reader version 4"):
        check_writable(protocol(4, 7))
    with pytest.raises(DeltaLakeError, match="appendOnly"):
        check_writable(protocol(1, 7, None, ["appendOnly"]), frozenset())


def test_protocols_of_real_tables_are_known() -> None:
    for name in samples.names("valid", "either"):
        for version in samples.versions(name):
            facts = samples.expected(name)["versions"][str(version)]["protocol"]
            found = Protocol.from_action(
                {
                    "minReaderVersion": facts["min_reader_version"],
                    "minWriterVersion": facts["min_writer_version"],
                    "readerFeatures": facts["reader_features"],
                    "writerFeatures": facts["writer_features"],
                }
            )
            check_known(found)
            assert list(found.reader_features or ()) == (facts["reader_features"] or [])
