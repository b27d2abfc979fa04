"""A broker that sends few messages unacknowledged, whatever it is asked for."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from headwater_simulator.broker import EmbeddedBroker
from headwater_simulator.processes import crew
from tests.system.faults.stage import Broker, account_of, staged, until

pytestmark = pytest.mark.system

RECORDS = 10_000
"""A rumqttd sends 100 unacknowledged, so with a commit each second they would take two minutes."""

AS_FAST_AS_IT_GOES = 1e6


class Reluctant(Broker):
    """A rumqttd, which knows no saving."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._stack = ExitStack()
        hands = self._stack.enter_context(crew(folder, os.environ))
        self.port = EmbeddedBroker(hands, folder).port

    def save(self) -> None:
        pass

    def end(self, number: int = signal.SIGTERM) -> None:
        del number
        self._stack.close()


def test_it_is_not_kept_waiting_for_the_commit_of_each_second(tmp_path: Path) -> None:
    with staged(tmp_path / "stage", rate=AS_FAST_AS_IT_GOES, brokers=Reluctant) as stage:
        load = stage.begin()
        load.send(RECORDS)
        records = load.stop()
        until(lambda: stage.device.rows() >= len(records), "all is stored")
        stage.device.stop()
        assert not account_of(stage.device).counters
