"""The network is slow, breaks in the middle of a packet, and loses what was said last."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from tests.system.faults.stage import LONGER, account_of, check, staged, until
from tests.system.faults.wire import FAIR, Weather

pytestmark = pytest.mark.system

KEEPALIVE = 'keepalive = "5s"'
BAD = Weather(delay_s=0.05, cut_after=(1_000, 60_000), deaf_s=1.0)
STORM_S = 8 * LONGER


def test_a_network_that_delays_and_cuts_and_loses_acknowledgements(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    with staged(tmp_path / "stage", seed=seed, broker=KEEPALIVE) as stage:
        load = stage.begin().start()
        stage.wire.weather = BAD
        time.sleep(STORM_S)
        stage.wire.weather = FAIR
        stage.predicts("when the network is well again")
        records = load.stop()
        stage.rest(len(records))
        stage.device.stop()
        check(stage, records, what=f"network cut {stage.wire.cuts} times, seed {seed}")
        late = account_of(stage.device).counters.get("refused-late", 0)
        assert not late, "what came again was known, however much of it the broker sent"


def test_a_broker_that_takes_nothing_for_a_while(tmp_path: Path) -> None:
    """Records still come, as far as they may without an acknowledgement; predictions wait."""
    with staged(tmp_path / "stage") as stage:
        load = stage.begin().start()
        stage.predicts("at first")
        stage.wire.reads.clear()
        time.sleep(4 * LONGER)
        made, taken = stage.device.live()["predictions"], len(stage.wire.taken)
        stage.wire.reads.set()
        stage.predicts("when it reads again")
        assert made > taken or stage.wire.connections > 1
        records = load.stop()
        stage.rest(len(records))
        stage.device.stop()
        check(stage, records, what=f"nothing taken for {4 * LONGER:g} s")


def test_an_agent_that_stands_still_for_longer_than_the_broker_waits(tmp_path: Path) -> None:
    """As on a machine that sleeps, or that has no time for it."""
    with staged(tmp_path / "stage", broker=KEEPALIVE) as stage:
        load = stage.begin().start()
        stage.predicts("at first")
        stage.device.signal(signal.SIGSTOP)
        until(lambda: not stage.wire.open, "the broker gives it up")
        stage.device.signal(signal.SIGCONT)
        stage.predicts("when it goes on")
        until(lambda: stage.wire.connections > 1, "it had to connect again")
        records = load.stop()
        stage.rest(len(records))
        stage.device.stop()
        check(stage, records, what="stopped for longer than a keep-alive of 5 s")
