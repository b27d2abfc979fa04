"""The agent is asked to end, or killed, while a new release takes its place."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from benchmarks.agent.swap import release
from headwater_models.bundle import FIRST_SEQUENCE
from tests.system.faults.stage import account_of, check, staged, until

pytestmark = pytest.mark.system

SWAPS = 6
LOOKS_EACH_S = 1.2


def test_an_agent_that_ends_during_a_swap_loses_nothing_and_serves_the_release(
    tmp_path: Path,
) -> None:
    """It looks for a release each second, so the end comes before, within or after the swap."""
    seed = random.SystemRandom().randrange(10**6)
    chance = random.Random(seed)
    with staged(tmp_path / "stage", seed=seed) as stage:
        load = stage.begin().start()
        for number in range(1, SWAPS + 1):
            stage.predicts("before a swap")
            release(stage.device.settings, FIRST_SEQUENCE + number)()
            time.sleep(chance.uniform(0, LOOKS_EACH_S))
            stage.device.signal(signal.SIGTERM if number % 3 else signal.SIGKILL)
            ended = stage.device.wait()
            assert ended == (0 if number % 3 else -signal.SIGKILL), stage.device.said()
            stage.device.start()
        newest = FIRST_SEQUENCE + SWAPS
        until(lambda: f"sequence {newest}, serves" in stage.device.said(), "the newest serves")
        stage.predicts("by the newest")
        records = load.stop()
        stage.rest(len(records))
        stage.device.stop()
        check(stage, records, what=f"ended in {SWAPS} swaps, seed {seed}", versions=True)
        assert account_of(stage.device).learning.sequence == newest
