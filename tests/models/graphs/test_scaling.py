from __future__ import annotations

import numpy as np
import pytest

from headwater.errors import UnsupportedError
from headwater_models.graphs.scaling import scaling_from_ranges, scaling_from_rows
from headwater_models.manifest import Channel

CHANNELS = (
    Channel(name="a", minimum=0, maximum=12),
    Channel(name="b", minimum=-6, maximum=6),
)


def test_a_range_is_scaled_like_an_even_spread_over_it() -> None:
    spread = np.random.default_rng(0).uniform(0, 12, 100_000)
    scaling = scaling_from_ranges(CHANNELS)
    assert scaling.mean == (6, 0)
    assert scaling.scale[0] == pytest.approx(spread.std(), rel=0.01)


def test_data_are_scaled_by_mean_and_deviation_of_what_is_there() -> None:
    rows = np.array([[1, 5], [3, np.nan], [np.nan, 7], [np.inf, 9]], np.float32)
    scaling = scaling_from_rows(rows, CHANNELS, None)
    assert scaling.mean == (2, 7)
    assert scaling.scale == pytest.approx((1, np.std([5, 7, 9])))
    assert (scaling.label_mean, scaling.label_scale) == (0, 1)


@pytest.mark.parametrize("column", [[np.nan, np.nan], [4, np.nan], [4, 4]])
def test_a_channel_without_two_different_values_is_scaled_by_its_range(column: list[float]) -> None:
    rows = np.array([[1, column[0]], [3, column[1]]])
    scaling = scaling_from_rows(rows, CHANNELS, None)
    assert scaling.mean[1] == 0
    assert scaling.scale[1] == pytest.approx(12 / np.sqrt(12))


def test_what_rounding_makes_of_equal_values_is_no_spread() -> None:
    rows = np.full((1_008, 2), 0.003467)
    assert rows.std() > 0
    assert scaling_from_rows(rows, CHANNELS, None).scale[1] == pytest.approx(12 / np.sqrt(12))


def test_labels_of_a_regression_have_a_scale_of_their_own() -> None:
    scaling = scaling_from_rows(np.zeros((2, 2)), CHANNELS, np.array([10.0, 30.0]))
    assert (scaling.label_mean, scaling.label_scale) == (20, 10)


def test_a_logarithm_has_mean_and_scale_of_its_own_beside_the_natural_ones() -> None:
    rows = np.array([[0.0, 5.0], [np.e - 1, 7.0], [np.nan, 9.0], [-3.0, 9.0]])
    plain = scaling_from_rows(rows, CHANNELS, None)
    scaling = scaling_from_rows(rows, CHANNELS, None, log=["a"])
    assert (scaling.mean, scaling.scale) == (plain.mean, plain.scale)
    assert scaling.log["a"] == pytest.approx((1 / 3, np.std([0, 1, 0])))


def test_without_data_a_logarithm_is_spread_evenly_over_the_range_above_zero() -> None:
    log = scaling_from_ranges(CHANNELS, log=["a", "b"]).log
    assert log["a"] == pytest.approx((np.log(13) / 2, np.log(13) / np.sqrt(12)))
    assert log["b"] == pytest.approx((np.log(7) / 2, np.log(7) / np.sqrt(12)))


@pytest.mark.parametrize("name", ["c", "cold", "mode"])
def test_a_logarithm_of_what_has_none_is_refused(name: str) -> None:
    channels = (
        *CHANNELS,
        Channel(name="cold", minimum=-9, maximum=0),
        Channel(name="mode", minimum=0, maximum=1, categories=("off", "on")),
    )
    with pytest.raises(UnsupportedError, match=f"log: '{name}' is no measured channel .* a, b"):
        scaling_from_ranges(channels, log=[name])
