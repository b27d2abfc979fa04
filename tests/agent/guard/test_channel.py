"""What a manifest says of a channel, as records have it."""

from __future__ import annotations

from headwater_agent.guard.channel import sensors
from tests.agent.model import MINUTE, manifest


def test_a_manifest_says_ranges_as_records_round_them() -> None:
    level = sensors(manifest(max_gap=3))[0]
    assert (level.minimum, level.maximum, level.gap) == (0, 10, 3 * MINUTE)
    assert level.ordered
    assert {round(convert(1000.0), 3) for convert in level.foreign} >= {1.0, 10.0}


def test_the_octave_of_a_channel_ends_at_its_range() -> None:
    assert sensors(manifest())[0].octave == 4
