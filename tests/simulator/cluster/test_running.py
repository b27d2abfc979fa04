"""What cannot be done on a cluster is refused before one is started."""

from __future__ import annotations

import pytest

from headwater.errors import UnsupportedError
from headwater_simulator.cluster.running import clustered
from headwater_simulator.scenario.settings import Series
from tests.simulator.cluster.scenarios import table


def test_streams_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="needs a table"):
        clustered("it", table(data=Series(), faults=()), print)
