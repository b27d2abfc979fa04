"""The broker is restarted, away for a while, or killed."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.system.faults.stage import LONGER, account_of, check, sequence, staged, until

pytestmark = pytest.mark.system


@pytest.mark.parametrize("away_s", [0.5, 4 * LONGER])
def test_a_broker_that_ends_in_order_and_comes_back(tmp_path: Path, away_s: float) -> None:
    with staged(tmp_path / "stage") as stage:
        load = stage.begin().start()
        stage.predicts("at first")
        stage.broker.end()
        until(lambda: not stage.device.live()["connected"], "the agent says so")
        time.sleep(away_s)
        stage.broker.start()
        stage.predicts("when the broker is back")
        records = load.stop()
        stage.rest(len(records))
        stage.device.stop()
        check(stage, records, what=f"broker away for {away_s} s")


def test_a_broker_that_is_killed_loses_what_it_had_but_nothing_that_was_acknowledged_to_it(
    tmp_path: Path,
) -> None:
    """What it had not written is lost with it; of what it still has it sends much again."""
    with staged(tmp_path / "stage") as stage:
        load = stage.begin().start()
        for _ in range(3):
            stage.predicts("before a kill")
            stage.broker.save()
            time.sleep(2 * LONGER)
            stage.broker.end(signal.SIGKILL)
            stage.broker.start()
        stage.predicts("after the last one")
        sent = load.stop()
        stage.rest(len(stage.wire.acknowledged))
        stage.device.stop()
        stored = account_of(stage.device).rows
        records = [record for record in sent if sequence(record) in stored]
        lost = len(sent) - len(records)
        check(stage, records, what=f"broker killed 3 times, which lost {lost} records")
