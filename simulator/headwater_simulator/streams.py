"""Real sensor streams: hourly Beijing air quality, shipped or read from the full data set.

Four stations lie in the package (``data/README.md`` has the source, the licence and what was
changed); all others are read from the CSV files of UCI 501. Missing measurements stay NaN and
cross MQTT as JSON ``null``.
"""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from importlib import resources
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater.errors import StorageError
from headwater_models.manifest import Channel

HOUR_MS = 3_600_000

CHANNELS = (
    Channel(name="pm25", unit="ug/m3", minimum=0, maximum=1000),
    Channel(name="pm10", unit="ug/m3", minimum=0, maximum=1200),
    Channel(name="so2", unit="ug/m3", minimum=0, maximum=600),
    Channel(name="no2", unit="ug/m3", minimum=0, maximum=400),
    Channel(name="co", unit="ug/m3", minimum=0, maximum=12_000),
    Channel(name="o3", unit="ug/m3", minimum=0, maximum=1200),
    Channel(name="temperature", unit="degC", minimum=-40, maximum=50),
    Channel(name="pressure", unit="hPa", minimum=950, maximum=1070),
    Channel(name="dew_point", unit="degC", minimum=-50, maximum=40),
    Channel(name="rain", unit="mm", minimum=0, maximum=120),
    Channel(name="wind_speed", unit="m/s", minimum=0, maximum=30),
    Channel(name="wind_east", unit="m/s", minimum=-30, maximum=30),
    Channel(name="wind_north", unit="m/s", minimum=-30, maximum=30),
)
"""What a station measures, in the order of the columns, with what a working sensor can report.

The wind components say where the wind comes from: positive is from the east, from the north.
"""

COLUMNS = ("PM2.5", "PM10", "SO2", "NO2", "CO", "O3", "TEMP", "PRES", "DEWP", "RAIN", "WSPM", "wd")
"""The columns of the CSV files that are read; direction and speed become the components."""

MISSING = np.iinfo(np.int16).min
"""How the shipped file marks a missing measurement."""

SCALE = np.array([1, 1, 1, 1, 1, 1, 10, 10, 10, 10, 10, 1], np.float32)
"""Integers of the shipped file per unit, for each of ``COLUMNS``."""

# fmt: off
_DIRECTIONS = (
    "N", "NNE", "NE", "ENE", "E", "ESE", "SE", "SSE",
    "S", "SSW", "SW", "WSW", "W", "WNW", "NW", "NNW",
)
# fmt: on
_BEIJING = timezone(timedelta(hours=8))
_FIRST = int(datetime(2013, 3, 1, tzinfo=_BEIJING).timestamp()) * 1000
_SHIPPED = "beijing.npz"


@dataclass(frozen=True, slots=True, eq=False)
class Station:
    """The records of one station, hour by hour.

    ``times`` is int64 ``[N]``, UTC milliseconds of each hour's start; ``values`` float32
    ``[N, C]`` in the units and order of :data:`CHANNELS`, NaN where nothing was measured.
    """

    name: str
    times: NDArray[np.int64]
    values: NDArray[np.float32]

    def payloads(self) -> Iterator[bytes]:
        """Yield each record as the JSON that the station sends over MQTT.

        Examples
        --------
        >>> next(shipped()[0].payloads())[:40]
        b'{"time":1362067200000,"pm25":4.0,"pm10":'
        """
        names = [channel.name for channel in CHANNELS]
        for time, row in zip(self.times.tolist(), self.values.tolist(), strict=True):
            spoken = {
                name: None if math.isnan(value) else round(value, 3)
                for name, value in zip(names, row, strict=True)
            }
            yield msgspec.json.encode({"time": time, **spoken})


def shipped() -> tuple[Station, ...]:
    """Return the stations that lie in the package: four of them, 2013-03-01 to 2017-02-28."""
    source = resources.files("headwater_simulator") / "data" / _SHIPPED
    with source.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return tuple(_unpack(name, arrays[name]) for name in sorted(arrays))


def read_folder(folder: Path) -> tuple[Station, ...]:
    """Read every ``*.csv.gz`` of the UCI data set in a folder, in the order of their names.

    Raises
    ------
    StorageError
        When there is none, or one is not a file of this data set.
    """
    paths = sorted(folder.glob("*.csv.gz"))
    if not paths:
        raise StorageError(
            f"There are no *.csv.gz files in {folder}. Put the hourly files of UCI 501 "
            "(Beijing Multi-Site Air Quality) there, each compressed with gzip."
        )
    return tuple(_station(path.name.removesuffix(".csv.gz"), read_csv(path)) for path in paths)


def read_csv(path: Path) -> NDArray[np.float32]:
    """Read one station's file as float32 ``[len(COLUMNS), hours]``; wind directions by number.

    Raises
    ------
    StorageError
        When the file cannot be read or is not a file of this data set.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            rows = [[_number(row[name]) for name in COLUMNS] for row in csv.DictReader(file)]
    except (OSError, EOFError, KeyError, ValueError) as error:
        raise StorageError(f"{path} is no hourly file of UCI 501: {error!r}.") from error
    return np.array(rows, np.float32).reshape(-1, len(COLUMNS)).T


def pack(stations: Iterable[tuple[str, NDArray[np.float32]]], path: Path) -> None:
    """Write the shipped file from what :func:`read_csv` gave, rounded to whole steps of SCALE."""
    packed = {}
    for name, raw in stations:
        steps = np.where(np.isnan(raw), MISSING, np.round(raw * SCALE[:, None]))
        packed[name] = np.ascontiguousarray(steps, np.int16)
    np.savez_compressed(path, allow_pickle=False, **packed)


def _unpack(name: str, packed: NDArray[np.int16]) -> Station:
    raw = np.where(packed == MISSING, np.float32(np.nan), packed / SCALE[:, None])
    return _station(name, raw.astype(np.float32))


def _station(name: str, raw: NDArray[np.float32]) -> Station:
    speed, direction = raw[-2], raw[-1] * (2 * np.pi / len(_DIRECTIONS))
    wind = np.stack([speed * np.sin(direction), speed * np.cos(direction)])
    values = np.ascontiguousarray(np.concatenate([raw[:-1], wind]).T, np.float32)
    times = _FIRST + HOUR_MS * np.arange(len(values), dtype=np.int64)
    return Station(name, times, values)


def _number(text: str) -> float:
    if text in {"NA", ""}:
        return float("nan")
    return float(_DIRECTIONS.index(text)) if text in _DIRECTIONS else float(text)
