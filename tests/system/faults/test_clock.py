"""The wall clock is set back and forward while the agent runs, and between two runs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.system.faults.stage import check, staged

pytestmark = pytest.mark.system

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def test_a_clock_that_jumps_changes_nothing_where_records_have_a_time(tmp_path: Path) -> None:
    with staged(tmp_path / "stage") as stage:
        load = stage.begin().start()
        for shift in (-HOUR_MS, HOUR_MS, -30 * DAY_MS, 3_000 * DAY_MS, 0):
            stage.device.set_clock(shift)
            time.sleep(2)
            stage.predicts(f"with a clock that is {shift} ms wrong")
        stage.device.kill()
        stage.device.set_clock(-HOUR_MS)
        stage.device.start()
        stage.predicts("after a start an hour earlier")
        records = load.stop()
        stage.rest(len(records))
        stage.device.stop()
        check(stage, records, what="the clock is set 6 times")


def test_predictions_go_on_where_records_have_no_time_and_the_clock_is_set_back(
    tmp_path: Path,
) -> None:
    with staged(tmp_path / "stage", event_time="") as stage:
        load = stage.begin().start()
        stage.predicts("at first")
        for shift in (-HOUR_MS, HOUR_MS, 0):
            stage.device.set_clock(shift)
            stage.predicts(f"with a clock that is {shift} ms wrong")
        stage.device.stop()
        stage.device.set_clock(-HOUR_MS)
        stage.device.start()
        stage.predicts("after a start an hour earlier")
        stage.device.stop()
        said = [dict(content) for made in stage.wire.taken for content in stage.wire.said[made]]
        assert all(len(contents) == 1 for contents in stage.wire.said.values())
        print(f"\n{len(load.stop())} records without a time, {len(said)} predictions")
