from __future__ import annotations

import numpy as np
import pytest

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


def test_labels_of_a_regression_have_a_scale_of_their_own() -> None:
    scaling = scaling_from_rows(np.zeros((2, 2)), CHANNELS, np.array([10.0, 30.0]))
    assert (scaling.label_mean, scaling.label_scale) == (20, 10)
