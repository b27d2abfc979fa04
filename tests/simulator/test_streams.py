"""The shipped air-quality streams are the real ones, gaps included, and fit on a floppy disk."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from benchmarks.pack_beijing import STATIONS
from headwater.errors import StorageError
from headwater_simulator.streams import CHANNELS, HOUR_MS, pack, read_csv, read_folder, shipped

HEADER = "No,year,month,day,hour,PM2.5,PM10,SO2,NO2,CO,O3,TEMP,PRES,DEWP,RAIN,wd,WSPM,station\n"


def write(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "Here.csv.gz"
    path.write_bytes(gzip.compress((header + "".join(f"{line}\n" for line in lines)).encode()))
    return path


def test_four_stations_of_four_years_are_shipped_in_less_than_two_megabytes() -> None:
    stations = shipped()

    assert [station.name for station in stations] == list(STATIONS)
    assert all(station.values.shape == (35_064, len(CHANNELS)) for station in stations)
    file = resources.files("headwater_simulator") / "data" / "beijing.npz"
    with resources.as_file(file) as path:
        assert path.stat().st_size <= 2_000_000


def test_records_follow_hour_by_hour_from_the_first_of_march_2013_in_beijing() -> None:
    times = shipped()[0].times

    beijing = timezone(timedelta(hours=8))
    assert times[0] == datetime(2013, 3, 1, tzinfo=beijing).timestamp() * 1000
    assert (np.diff(times) == HOUR_MS).all()


def test_gaps_stay_gaps() -> None:
    for station in shipped():
        missing = np.isnan(station.values[:, 0]).sum()
        assert 500 < missing < 1_000, station.name


def test_every_value_is_one_that_a_working_sensor_can_report() -> None:
    low = [channel.minimum for channel in CHANNELS]
    high = [channel.maximum for channel in CHANNELS]
    for station in shipped():
        assert (np.nanmin(station.values, axis=0) >= low).all()
        assert (np.nanmax(station.values, axis=0) <= high).all()


def test_a_payload_carries_the_time_and_every_channel_with_null_where_nothing_was_measured() -> (
    None
):
    station = shipped()[0]
    gap = int(np.flatnonzero(np.isnan(station.values[:, 0]))[0])
    payloads = [json.loads(p) for p, _ in zip(station.payloads(), range(gap + 1), strict=False)]

    assert set(payloads[0]) == {"time", *(channel.name for channel in CHANNELS)}
    assert [payload["time"] for payload in payloads] == station.times[: gap + 1].tolist()
    assert payloads[gap]["pm25"] is None
    told = [np.nan if payloads[gap][c.name] is None else payloads[gap][c.name] for c in CHANNELS]
    np.testing.assert_allclose(told, station.values[gap], atol=5e-4)


def test_wind_components_point_to_where_the_wind_comes_from(tmp_path: Path) -> None:
    rest = "1,1,1,1,1,1,1,1000,1,0"
    write(
        tmp_path,
        f"1,2013,3,1,0,{rest},E,2,Here",
        f"2,2013,3,1,1,{rest},N,3,Here",
        f"3,2013,3,1,2,{rest},SW,1,Here",
        f"4,2013,3,1,3,{rest},NA,1,Here",
    )

    (station,) = read_folder(tmp_path)

    wind = station.values[:, -2:]
    half = np.sqrt(0.5)
    np.testing.assert_allclose(wind[:3], [[2, 0], [0, 3], [-half, -half]], atol=1e-6)
    assert np.isnan(wind[3]).all()
    assert station.values[3, -3] == 1


def test_the_shipped_copy_is_made_from_the_original_files_byte_for_byte(
    data_folder: Path, tmp_path: Path
) -> None:
    folder = data_folder / "beijing_air"
    again = tmp_path / "again.npz"

    pack(((name, read_csv(folder / f"{name}.csv.gz")) for name in STATIONS), again)

    shipped_file = resources.files("headwater_simulator") / "data" / "beijing.npz"
    assert again.read_bytes() == shipped_file.read_bytes()


def test_a_folder_without_the_data_says_which_files_are_wanted(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="UCI 501"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"no gzip"),
        lambda path: path.write_bytes(path.read_bytes()[:-9]),
        lambda path: path.write_bytes(gzip.compress(b"a,b\n1,2\n")),
        lambda path: path.write_bytes(gzip.compress(path.read_bytes())),
    ],
)
def test_a_file_of_another_kind_is_refused_by_name(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    path = write(tmp_path, "1,2013,3,1,0,1,1,1,1,1,1,1,1000,1,0,E,2,Here")
    spoil(path)

    with pytest.raises(StorageError, match=r"Here\.csv\.gz"):
        read_csv(path)
