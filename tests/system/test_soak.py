"""An agent that works for some time stays as large as it is and loses nothing.

Two minutes at a modest rate, or as ``HEADWATER_SOAK_MINUTES`` and ``HEADWATER_SOAK_RATE`` say;
``make soak`` is the hour.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.agent import workload
from benchmarks.soak import soak

pytestmark = pytest.mark.system

MINUTES = float(os.environ.get("HEADWATER_SOAK_MINUTES", "2"))
RATE = float(os.environ.get("HEADWATER_SOAK_RATE", "300"))


@pytest.mark.usefixtures("mosquitto")  # which skips, by name, where there is none
def test_an_agent_stays_as_large_as_it_is_and_loses_nothing(tmp_path: Path) -> None:
    model = tmp_path / "model"
    workload.model().save(model)
    soaked = soak(model, 60 * MINUTES, RATE, print, tmp_path)
    assert soaked.complaints() == []
    assert soaked.published > 0
    assert soaked.counted > 0, "the store's limits were reached"
