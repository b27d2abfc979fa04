"""Parquet files: read as text like any table, and written."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.errors import SettingsError
from headwater_models.offline.times import read_times
from headwater_models.parquet import encode_columns, read_columns
from headwater_models.table import Table


def file_of(**columns: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def test_columns_come_back_as_text() -> None:
    data = file_of(level=[1.5, None, 1e-9], pump=[True, False, None], mode=["on", "off", None])
    assert read_columns(data, "x") == {
        "level": ["1.5", "", "1e-09"],
        "pump": ["True", "False", ""],
        "mode": ["on", "off", ""],
    }


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_timestamps_are_times(tmp_path: Path, unit: str) -> None:
    moment = datetime(2026, 10, 1, 6, tzinfo=UTC)
    column = pa.array([moment], pa.timestamp(unit, tz="UTC"))
    (tmp_path / "x.parquet").write_bytes(file_of(at=column))
    times = read_times(Table.read(tmp_path / "x.parquet"), "at")
    assert times.tolist() == [int(moment.timestamp()) * 1000]


def test_what_is_written_is_read() -> None:
    data = encode_columns({"level": [1.5, None], "tank": ["a", "b"]})
    assert read_columns(data, "x") == {"level": ["1.5", ""], "tank": ["a", "b"]}


def test_another_file_and_nested_columns_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"x\.pq is no Parquet file"):
        read_columns(b"time,level\n", "x.pq")
    with pytest.raises(SettingsError, match="column trace holds list"):
        read_columns(file_of(trace=[[1, 2]]), "x.pq")
