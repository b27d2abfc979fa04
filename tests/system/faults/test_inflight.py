"""A broker that sends few messages unacknowledged, whatever it is asked for."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from headwater_simulator import broker
from headwater_simulator.processes import crew
from tests.system.faults.stage import Broker, account_of, staged, until

pytestmark = pytest.mark.system

SENT = 32
"""Messages that EMQX sends a client unacknowledged, unless it is told otherwise."""

RECORDS = 6_000
"""At 32 with each commit, of which there is one a second, they would take three minutes."""

AS_FAST_AS_IT_GOES = 1e6


class Reluctant(Broker):
    """A rumqttd, which knows no saving."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._stack = ExitStack()
        hands = self._stack.enter_context(crew(folder, os.environ))
        self.port = broker.EmbeddedBroker(hands, folder).port

    def save(self) -> None:
        pass

    def end(self, number: int = signal.SIGTERM) -> None:
        del number
        self._stack.close()


def test_it_is_not_kept_waiting_for_the_commit_of_each_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "MAX_INFLIGHT", SENT)
    with staged(tmp_path / "stage", rate=AS_FAST_AS_IT_GOES, brokers=Reluctant) as stage:
        load = stage.begin()
        load.send(RECORDS)
        records = load.stop()
        until(lambda: stage.device.rows() >= len(records), "all is stored")
        stage.device.stop()
        assert not account_of(stage.device).counters
