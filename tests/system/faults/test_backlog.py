"""Much lies ready at the broker, and it takes back predictions more slowly than they are made."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.system.faults.stage import STREAMS, account_of, check, staged, until

pytestmark = pytest.mark.system

RECORDS = 8_000
OUTBOX = 1_000
AS_FAST_AS_IT_GOES = 1e6


def test_of_a_backlog_every_prediction_reaches_the_broker(tmp_path: Path) -> None:
    """Whatever it sends at once, and though the outbox holds an eighth of what comes of it."""
    more = f"[store]\noutbox = {OUTBOX}\n"
    with staged(tmp_path / "stage", more=more, rate=AS_FAST_AS_IT_GOES) as stage:
        load = stage.begin()
        load.send(10 * STREAMS)
        until(lambda: stage.wire.said, "the agent predicts")
        stage.device.signal(signal.SIGSTOP)
        load.send(RECORDS)
        records = load.stop()
        stage.device.signal(signal.SIGCONT)
        until(lambda: stage.device.rows() >= len(records), "all is stored", seconds=120)
        stage.rest(len(records))
        stage.device.stop()
        assert not account_of(stage.device).counters
        assert len(stage.wire.taken) == len(stage.wire.said)
        check(stage, records, what=f"backlog of {RECORDS} records, outbox of {OUTBOX}")
