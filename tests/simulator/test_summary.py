"""What a run came to, for programs and for people."""

from __future__ import annotations

import io
import json

import msgspec
from rich.console import Console

from headwater_simulator.summary import (
    DeviceNow,
    DeviceSummary,
    Latency,
    Mae,
    Snapshot,
    table,
)


def device(name: str, *, scored: int = 100, personal: float = 21.0) -> DeviceNow:
    return DeviceNow(
        summary=DeviceSummary(
            id=name,
            mae=Mae(baseline=30.25, released=25.5, personal=personal),
            version="abcdef0123",
            latency_ms=Latency(p50=1.5, p99=9.0),
            bytes_out=12_345,
        ),
        records=1_000,
        records_per_s=250.0,
        scored=scored,
        sequence=4,
    )


def now(*devices: DeviceNow) -> Snapshot:
    return Snapshot(seconds=61.0, rounds=5, releases=3, refused=2, devices=devices)


def drawn(snapshot: Snapshot) -> str:
    screen = io.StringIO()
    Console(file=screen, width=80).print(table(snapshot, "pm25", "ug/m3"))
    return screen.getvalue()


def test_a_program_gets_the_promised_fields_and_no_others() -> None:
    made = json.loads(msgspec.json.encode(now(device("device-1"), device("device-2")).summary()))

    assert set(made) == {"rounds", "releases", "records", "devices"}
    assert (made["rounds"], made["releases"], made["records"]) == (5, 3, 2_000)
    assert made["devices"][0] == {
        "id": "device-1",
        "mae": {"baseline": 30.25, "released": 25.5, "personal": 21.0},
        "version": "abcdef0123",
        "latency_ms": {"p50": 1.5, "p99": 9.0},
        "bytes_out": 12_345,
    }


def test_a_person_sees_every_device_on_one_line_of_eighty_columns() -> None:
    lines = drawn(now(device("device-1"), device("device-16"))).splitlines()

    line = next(line for line in lines if line.startswith("device-16"))
    assert all(text in line for text in ("1,000", "250", "30.25", "25.50", "21.00", "12 kB"))
    assert "5 rounds   3 releases   2 candidates refused" in lines[-1]


def test_errors_are_not_shown_before_a_prediction_was_scored() -> None:
    assert "30.25" not in drawn(now(device("device-1", scored=0)))
