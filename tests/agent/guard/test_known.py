"""What is known of channels at first."""

from __future__ import annotations

import math
from dataclasses import replace

from headwater_agent.guard.channel import Sensor
from headwater_agent.guard.known import Known
from tests.agent.model import MINUTE

SENSOR = Sensor(minimum=0, maximum=1, period=MINUTE, gap=MINUTE)


def test_at_first_nothing_is_trusted_and_a_channel_without_an_order_never_speaks() -> None:
    known = Known.nothing([SENSOR, replace(SENSOR, ordered=False)])
    assert all(map(math.isnan, known.trusted))
    assert known.trusted_at[0] < 0 < MINUTE < known.trusted_at[1]


def test_channels_are_of_a_time_once_each_was_trusted_then() -> None:
    known = Known.nothing([SENSOR] * 2)
    known.trusted_at[0] = MINUTE
    assert not known.is_all_of(MINUTE)
    known.trusted_at[1] = MINUTE
    assert known.is_all_of(MINUTE)
