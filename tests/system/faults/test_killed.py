"""The agent is killed at random moments under load."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.system.faults.stage import check, staged

pytestmark = pytest.mark.system

KILLS = int(os.environ.get("HEADWATER_KILLS", "12"))


def test_an_agent_that_is_killed_again_and_again_loses_and_repeats_nothing(
    tmp_path: Path,
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    chance = random.Random(seed)
    with staged(tmp_path / "stage", seed=seed) as stage:
        load = stage.begin().start()
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.5, 4))
            stage.device.kill()
            stage.device.start()
        stage.predicts("after the last one")
        records = load.stop()
        stage.rest(len(records))
        stage.device.stop()
        check(stage, records, what=f"{KILLS} kills, seed {seed}")
