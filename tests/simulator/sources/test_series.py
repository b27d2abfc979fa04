"""Generated streams: the same at each row however they are read, and what the settings say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.settings import Duration
from headwater_simulator.scenario.settings import DAY, HOUR, Drift, Group, Series
from headwater_simulator.sources.noise import BLOCK, Chance
from headwater_simulator.sources.series import GeneratedStreams, progress

LENGTH = Duration(60 * DAY)
GROUPS = (Group(name="steady", devices=3), Group(name="moved", devices=3))
AT = Duration(20 * DAY)


def streams(seed: int = 1, **chosen: Any) -> GeneratedStreams:
    return GeneratedStreams(Series(**chosen), GROUPS, length=LENGTH, window=8, seed=seed)


def still(**chosen: Any) -> GeneratedStreams:
    """Next to no noise, no spread: what is left is what a drift does."""
    return streams(**({"noise": 1e-3, "spread": 0.0, "channels": 2} | chosen))


EVERYTHING: dict[str, Any] = {
    "missing": 0.2,
    "trend": 0.1,
    "drifts": (
        Drift(kind="gradual", at=DAY, over=Duration(30 * DAY)),
        Drift(kind="incremental", what="season", at=AT, size=0.3, groups=("moved",)),
    ),
}


@given(
    device=st.integers(0, 5),
    first=st.integers(0, 3 * BLOCK),
    cuts=st.lists(st.integers(1, 300), min_size=1, max_size=6),
    backwards=st.booleans(),
)
def test_a_stretch_is_the_same_however_it_is_cut_and_in_whatever_order(
    device: int, first: int, cuts: list[int], backwards: bool
) -> None:
    source = streams(**EVERYTHING)
    starts = np.cumsum([first, *cuts])
    parts = list(zip(starts.tolist(), cuts, strict=False))
    read = {start: source.rows(device, start, n) for start, n in parts[:: -1 if backwards else 1]}
    whole = streams(**EVERYTHING).rows(device, first, sum(cuts))
    joined = np.concatenate([read[start].values for start, _ in parts])
    assert whole.values.dtype == np.float32
    assert whole.values.shape == (sum(cuts), 3)
    assert [read[start].first for start, _ in parts] == [start for start, _ in parts]
    np.testing.assert_array_equal(joined, whole.values)


def test_devices_channels_and_seeds_differ() -> None:
    one = streams().rows(0, 0, 50).values
    assert not np.allclose(one, streams().rows(1, 0, 50).values)
    assert not np.allclose(one, streams(seed=2).rows(0, 0, 50).values)
    assert not np.allclose(one[:, 0], one[:, 1])


def test_the_scaling_is_that_of_the_rows_over_many_devices() -> None:
    groups = (Group(name="many", devices=400),)
    source = GeneratedStreams(Series(), groups, length=LENGTH, window=8, seed=4)
    rows = np.concatenate([source.rows(device, 0, 7 * 24 * 2).values for device in range(400)])
    scaling = source.facts.scaling
    assert scaling is not None
    np.testing.assert_allclose(rows.mean(axis=0), scaling.mean, atol=0.15)
    np.testing.assert_allclose(rows.std(axis=0), scaling.scale, rtol=0.05)


def test_nothing_is_beyond_what_its_sensor_can_report_through_trend_and_drift() -> None:
    source = streams(trend=-1.0, spread=1.0, drifts=(Drift(at=AT, size=9.0),))
    rows = np.concatenate([source.rows(device, 0, 60 * 24).values for device in range(6)])
    for channel, values in zip(source.facts.channels, rows.T, strict=True):
        assert channel.minimum <= values.min() <= values.max() <= channel.maximum


def test_a_day_is_repeated_and_the_second_season_has_half_the_amplitude() -> None:
    values = still(amplitude=4.0).rows(0, 0, 14 * 24).values[:, 0].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(values)) * 2 / len(values)
    assert spectrum[14] == pytest.approx(4.0, rel=0.01)
    assert spectrum[2] == pytest.approx(2.0, rel=0.01)
    assert np.delete(spectrum, [2, 14]).max() < 0.01


def test_a_trend_is_so_much_in_a_day() -> None:
    values = still(amplitude=0.0, trend=0.5).rows(0, 0, 49).values
    np.testing.assert_allclose(values[48] - values[0], 1.0, atol=0.02)


def test_the_share_of_values_that_is_missing_is_as_said() -> None:
    values = streams(missing=0.3).rows(2, 0, 20 * BLOCK).values
    assert np.isnan(values).mean() == pytest.approx(0.3, abs=0.02)


def test_levels_spread_over_devices_by_the_share_that_is_said() -> None:
    groups = (Group(name="many", devices=500),)
    series = Series(amplitude=2.0, noise=1e-6, second_season=DAY, spread=0.4)
    source = GeneratedStreams(series, groups, length=LENGTH, window=8, seed=4)
    levels = [source.rows(device, 0, 24).values.mean(axis=0) for device in range(500)]
    assert 0.75 < np.max(levels) < 0.8
    assert np.min(levels) < -0.75


class TestDrift:
    def shift(self, device: int, **chosen: Any) -> np.ndarray[Any, Any]:
        """How far the level is off day by day, in deviations of the noise."""
        said = {"noise": 1.0, "memory": 0.0, "amplitude": 0.0}
        steady = still(**said).rows(device, 0, 60 * 24).values
        drifted = still(**said, drifts=(Drift(**chosen),)).rows(device, 0, 60 * 24).values
        return np.asarray((drifted - steady)[:, 0].reshape(60, 24).mean(axis=1))

    def test_sudden_is_at_once_and_stays(self) -> None:
        found = self.shift(0, at=AT, size=5.0)
        np.testing.assert_allclose(found, np.repeat([0, 5], [20, 40]), atol=1e-5)

    def test_incremental_moves_from_one_to_the_other(self) -> None:
        found = self.shift(0, kind="incremental", at=AT, over=Duration(10 * DAY), size=2.0)
        np.testing.assert_allclose(found[:20], 0, atol=1e-5)
        assert (np.diff(found[20:30]) > 0.1).all()
        np.testing.assert_allclose(found[30:], 2, atol=1e-5)

    def test_gradual_is_the_new_more_and_more_often_and_never_between(self) -> None:
        found = self.shift(0, kind="gradual", at=AT, over=Duration(20 * DAY), size=1.0)
        np.testing.assert_allclose(found[:20], 0, atol=1e-5)
        assert 0.05 < found[20:30].mean() < 0.45 < found[30:40].mean() < 0.95
        np.testing.assert_allclose(found[40:], 1, atol=1e-5)

    def test_gradual_takes_turns_anew_on_each_device_in_each_block_and_for_each_drift(self) -> None:
        slow: dict[str, Any] = {"kind": "gradual", "at": Duration(0), "over": Duration(120 * DAY)}
        one, other = (self.shift(device, **slow) for device in (0, 1))
        both = still(noise=1.0, amplitude=0.0, drifts=(Drift(**slow), Drift(**slow)))
        none = still(noise=1.0, amplitude=0.0)
        twice = (both.rows(0, 0, BLOCK * 4).values - none.rows(0, 0, BLOCK * 4).values)[:, 0]
        assert not np.allclose(one, other)
        assert set(np.round(twice).tolist()) == {0.0, 5.0, 10.0}
        first, later = twice[:BLOCK].round(), twice[-BLOCK:].round()
        assert (first[later == 0] > 0).any()

    def test_recurring_comes_and_goes(self) -> None:
        found = self.shift(0, kind="recurring", at=AT, over=Duration(10 * DAY), size=3.0)
        np.testing.assert_allclose(
            found, np.repeat([0, 3, 0, 3, 0], [20, 10, 10, 10, 10]), atol=1e-5
        )

    def test_only_the_groups_that_are_named_drift(self) -> None:
        assert not self.shift(2, at=AT, groups=("moved",)).any()
        assert self.shift(3, at=AT, groups=("moved",)).any()

    def test_a_season_is_turned_by_a_share_of_its_period(self) -> None:
        drift = Drift(at=AT, what="season", size=0.25)
        quiet = {"second_season": DAY, "noise": 1e-6}
        before = still(**quiet, drifts=(drift,)).rows(0, 19 * 24, 24).values
        after = still(**quiet, drifts=(drift,)).rows(0, 20 * 24, 24).values
        second = still(**quiet, amplitude=0.0).rows(0, 0, 24).values
        wave = np.sin(2 * np.pi * np.arange(24) / 24)
        turned = np.sin(2 * np.pi * (np.arange(24) + 6) / 24)
        np.testing.assert_allclose(before[:, 0], 3 * wave + 1.5 * wave, atol=1e-3)
        np.testing.assert_allclose(after[:, 0], 3 * turned + 1.5 * wave, atol=1e-3)
        np.testing.assert_allclose(second, 0, atol=1e-3)

    @pytest.mark.parametrize("kind", ["sudden", "gradual", "incremental", "recurring"])
    def test_nothing_happens_before_its_time(self, kind: Any) -> None:
        times = np.arange(20.0) * HOUR
        drift = Drift(kind=kind, at=Duration(20 * HOUR))
        assert not progress(drift, times, Chance(0).at(0, 0, 0)).any()


def test_a_label_that_comes_later_is_the_first_channel_and_is_not_measured() -> None:
    plain, told = streams(channels=3), streams(channels=3, label_delay=DAY)
    rows = told.rows(1, 10, 300)
    np.testing.assert_array_equal(rows.values, plain.rows(1, 10, 300).values[:, 1:])
    np.testing.assert_array_equal(rows.labels, plain.rows(1, 10, 300).values[:, 0])
    assert told.label_delay == DAY
    assert told.facts.task == "regression"
    assert [channel.name for channel in told.facts.channels] == ["channel-1", "channel-2"]


def test_without_a_delay_the_first_channel_is_forecast() -> None:
    facts = streams().facts
    assert (facts.task, facts.target, facts.horizon) == ("forecast", "channel-0", 6 * HOUR)
    assert streams().rows(0, 0, 5).labels is None
