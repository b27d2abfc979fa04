from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from headwater.errors import PeerError
from headwater_models.statistics.histogram import Histogram


@given(npst.arrays(np.float64, st.integers(0, 80), elements=st.floats(-2, 3, width=32)))
def test_its_bins_are_numpys_with_one_more_on_either_side(values: NDArray[np.float64]) -> None:
    histogram = Histogram(-1.0, 2.0, bins=7)

    histogram.add(values)

    inside, _ = np.histogram(values, bins=histogram.edges)
    below, above = (values < -1).sum(), (values > 2).sum()
    assert histogram.counts.tolist() == [below, *inside, above]


def test_shares_add_up_to_one_and_of_nothing_to_zero() -> None:
    histogram = Histogram(0.0, 1.0)
    assert histogram.shares().sum() == 0

    histogram.add(np.linspace(-0.5, 1.5, 30))

    assert histogram.shares().sum() == pytest.approx(1)
    assert histogram.count == 30


@pytest.mark.parametrize(
    "text",
    [
        '{"low":1,"high":1,"counts":[0,0,0]}',
        '{"low":0,"high":1,"counts":[0,0]}',
        '{"low":0,"high":1,"counts":[0,-1,0]}',
        '{"low":0,"high":1,"counts":[0,1.5,0]}',
        '{"low":0,"high":1e999,"counts":[0,1,0]}',
        '{"low":0,"high":1,"counts":' + str([0] * 5_000) + "}",
    ],
)
def test_bins_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(PeerError, match="histogram"):
        Histogram.decode(text.encode())
