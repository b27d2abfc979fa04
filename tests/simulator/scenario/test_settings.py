"""Devices are numbered through all groups, in the order of the file."""

from __future__ import annotations

import pytest

from headwater_simulator.scenario.settings import DAY, Air, Group, Scenario


def test_each_number_belongs_to_one_group() -> None:
    groups = (Group(name="a", devices=2), Group(name="b", devices=3))
    scenario = Scenario(length=DAY, data=Air(), groups=groups)
    assert scenario.devices == 5
    assert [scenario.group_of(device).name for device in range(5)] == ["a", "a", "b", "b", "b"]
    with pytest.raises(IndexError):
        scenario.group_of(5)
