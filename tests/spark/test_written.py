"""Spark reads what we write: values, statistics, vectors and checkpoints."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from deltalakedb.log.action_tables import file_rows
from deltalakedb.log.checkpoint_writer import CheckpointState, CheckpointWriter
from deltalakedb.log.checksum import version_checksum
from deltalakedb.log.commit_writer import remove_body
from deltalakedb.log.statistics.collect import loosened
from deltalakedb.write.deletion_vector import VectorFile
from tests.servers.spark import SparkServer
from tests.write.support import Made, rows_of

pytestmark = pytest.mark.system
UTC = datetime.UTC
SECOND = datetime.datetime(2024, 1, 1, 0, 0, 0, 123456)
TABLE = pa.table(
    {
        "n": list(range(6)),
        "p": ["a b", "x/y%41", "\x01\U0001f600'\"", "é=?#", "a" * 300, None],
        "f": [float("nan"), float("inf"), float("-inf"), 0.0, None, 1.5],
        "g": pa.array([float("nan"), None, 0.25, 0.1, 1, 2], pa.float32()),
        "d": pa.array(
            [Decimal("12345678901234567890.123456789"), Decimal("-0.000000001"), *[None] * 4],
            pa.decimal128(38, 9),
        ),
        "e": pa.array([Decimal("1.25")] * 6, pa.decimal128(9, 2)),
        "t": pa.array(
            [datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59, 999999)]
            + [SECOND] * 4
        ).cast(pa.timestamp("us", "UTC")),
        "z": pa.array([SECOND] * 6, pa.timestamp("us")),
        "day": [datetime.date(1, 1, 1), datetime.date(9999, 12, 31)] + [SECOND.date()] * 4,
        "b": [True, False, None] * 2,
        "i": pa.array([1] * 6, pa.int8()),
        "s": ["x" * 40, "x" * 32 + "\U0001f600", "\U0001f600" * 40, "y", "", None],
        "raw": [b"\x00\xff", b"", None] * 2,
        "l": [[1, None], None, []] * 2,
        "m": pa.array([[("k", 1)], None, []] * 2, pa.map_(pa.string(), pa.int64())),
        "st": pa.array(
            [{"x": 1, "y": [{"z": "q"}]}, None, {"x": None, "y": None}] * 2,
            pa.struct([("x", pa.int64()), ("y", pa.list_(pa.struct([("z", pa.string())])))]),
        ),
    }
)
CONDITIONS = {
    "isnan(f)": 1,
    "f > 1e308": 2,
    "g = cast(0.1 AS float)": 1,
    "d = 12345678901234567890.123456789": 1,
    "t = timestamp'2024-01-01 00:00:00.123456Z'": 4,
    "t > timestamp'9999-12-31 23:59:59.9999Z'": 1,
    "z > timestamp_ntz'2024-01-01 00:00:00.1234'": 6,
    "day = date'0001-01-01'": 1,
    "s > repeat('x', 33)": 4,
    "st.x = 1": 2,
    "p = 'x/y%41'": 1,
    "p IS NULL": 1,
}


def counts(spark: SparkServer, made: Made) -> list[int]:
    """Rows by each condition, in one pass a condition so that Spark skips files."""
    parts = [f"SELECT count(*) AS c FROM delta.`{made.folder}` WHERE {c}" for c in CONDITIONS]
    numbered = [f"SELECT {i} AS i, c FROM ({sql})" for i, sql in enumerate(parts)]
    found = spark.rows(" UNION ALL ".join(numbered)).sort_by("i")
    return found.column("c").to_pylist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("mode", ["none", "name", "id"])
def test_rows_of_every_type(spark_server: SparkServer, tmp_path: Path, mode: str) -> None:
    made = Made(tmp_path, TABLE.schema, ["p"], {"delta.columnMapping.mode": mode})
    made.write(TABLE)
    found = spark_server.rows(f"SELECT * FROM delta.`{tmp_path}`")
    assert rows_of(found.cast(made.read().schema)) == rows_of(TABLE)
    assert counts(spark_server, made) == list(CONDITIONS.values())


def test_vectors(spark_server: SparkServer, tmp_path: Path) -> None:
    made = Made(
        tmp_path, pa.schema([("n", pa.int64())]), (), {"delta.enableDeletionVectors": "true"}
    )
    (first,) = made.write(pa.table({"n": range(5000)})).adds
    (second,) = made.write(pa.table({"n": range(5000, 5010)})).adds
    file = VectorFile(made.store, inline_bytes=100)
    actions = []
    for add, rows in ((first, range(1, 5000, 2)), (second, [0, 9])):
        vector = {"deletionVector": file.add(list(rows)), "stats": loosened(add["stats"], 0)}
        actions += [{"remove": remove_body(add, 5)}, {"add": add | vector}]
    file.close()
    made.commit(actions)
    found = spark_server.rows(f"SELECT count(*) AS c, sum(n) AS s FROM delta.`{tmp_path}`")
    kept = [*range(0, 5000, 2), *range(5001, 5009)]
    assert found.to_pylist() == [{"c": len(kept), "s": sum(kept)}]


@pytest.mark.parametrize(
    "configuration",
    [
        {},
        {
            "delta.checkpoint.writeStatsAsStruct": "true",
            "delta.checkpoint.writeStatsAsJson": "false",
        },
        {"delta.checkpointPolicy": "v2"},
        {
            "delta.checkpointPolicy": "v2",
            "delta.checkpoint.writeStatsAsStruct": "true",
            "delta.columnMapping.mode": "name",
        },
    ],
)
def test_checkpoints(
    spark_server: SparkServer, tmp_path: Path, configuration: dict[str, str]
) -> None:
    made = Made(tmp_path, TABLE.schema, ["p"], configuration)
    made.write(TABLE)
    # Another commit of its own, after the checkpoint: writers count on one.
    state = CheckpointState(0, made.protocol, made.metadata, [{"appId": "a", "version": 4}])
    log = tmp_path / "_delta_log"
    (log / "_sidecars").mkdir()
    writer = CheckpointWriter(lambda name: pa.OSFile(str(log / name), "wb"), state, sidecar_rows=4)
    writer.add_files(file_rows(made.adds))
    written = writer.finish()
    assert (written.sidecars is not None) == ("delta.checkpointPolicy" in configuration)
    (log / "_last_checkpoint").write_bytes(written.hint())
    size = sum(add["size"] for add in made.adds)
    crc = version_checksum(
        protocol=made.protocol,
        metadata=made.metadata,
        num_files=len(made.adds),
        table_size_bytes=size,
    )
    (log / f"{0:020d}.crc").write_bytes(crc)
    (log / f"{0:020d}.json").unlink()
    made.commit([{"txn": {"appId": "b", "version": 1}}])
    assert counts(spark_server, made) == list(CONDITIONS.values())
    spark_server.run(f"DELETE FROM delta.`{tmp_path}` WHERE n = 3")
    found = spark_server.rows(f"SELECT n FROM delta.`{tmp_path}` ORDER BY n")
    assert found.column("n").to_pylist() == [0, 1, 2, 4, 5]
