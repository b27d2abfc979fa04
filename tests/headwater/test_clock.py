"""The clock: UTC milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime

from headwater.clock import now_ms


def test_now_is_between_two_readings_of_the_systems_clock() -> None:
    before = datetime.now(UTC)
    now = now_ms()
    after = datetime.now(UTC)
    assert int(before.timestamp() * 1000) <= now <= int(after.timestamp() * 1000) + 1
