from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from headwater.errors import PeerError
from headwater_models.statistics.sketch import ACCURACY, DEPTH, QuantileSketch
from headwater_models.statistics.summary import MAX_SUMMARY_BYTES

REACH = 1_000.0
ANY = st.one_of(
    st.floats(-REACH, REACH),
    st.floats(-1e-3, 1e-3),
    st.floats(0.5, 2).map(lambda x: 10.0 ** (-3 * x)),
)


@given(
    npst.arrays(np.float64, st.integers(1, 80), elements=ANY),
    st.floats(0, 1),
    st.sampled_from([0.005, ACCURACY, 0.1]),
)
def test_a_quantile_is_within_the_stated_error_of_a_value_of_its_rank(
    values: NDArray[np.float64], level: float, accuracy: float
) -> None:
    sketch = QuantileSketch(REACH, accuracy)
    sketch.add(values)

    answer = sketch.quantile(level)

    assert answer is not None
    rank = level * (len(values) - 1)
    near = np.sort(values)[[math.floor(rank), math.ceil(rank)]]
    allowed = np.maximum(accuracy * (1 + 1e-9) * np.abs(near), REACH / DEPTH)
    assert (np.abs(answer - near) <= allowed).any()


def test_of_nothing_there_is_no_quantile() -> None:
    assert QuantileSketch(REACH).quantile(0.5) is None


def test_what_lies_beyond_its_reach_counts_as_that() -> None:
    sketch = QuantileSketch(10.0)
    sketch.add(np.array([1e9, -1e9]))

    assert sketch.quantile(1.0) == pytest.approx(10, rel=ACCURACY)
    assert sketch.quantile(0.0) == pytest.approx(-10, rel=ACCURACY)


def test_values_of_every_size_still_fit_into_what_is_read() -> None:
    sketch = QuantileSketch(REACH, 0.005)
    wide = REACH / 10 ** np.random.default_rng(0).uniform(0, 6, 50_000)
    sketch.add(np.concatenate([wide, -wide]))

    assert len(sketch.encode()) < MAX_SUMMARY_BYTES / 2
    assert QuantileSketch.decode(sketch.encode()).count == sketch.count


@pytest.mark.parametrize(
    "change",
    [
        '"positive":{"0":0}',
        '"positive":{"0":-1}',
        '"positive":{"100000":1}',
        '"positive":{"-100000":1}',
        '"positive":{"1.5":1}',
        '"negative":{"99999999999999999999":1}',
        '"reach":0',
        '"reach":1e-320',
        '"accuracy":1e-9',
        '"accuracy":1',
        '"zeros":-1',
    ],
)
def test_bins_that_no_value_falls_into_are_refused(change: str) -> None:
    field = change.split(":", 1)[0]
    fields = {
        '"reach"': "1000",
        '"accuracy"': "0.01",
        '"zeros"': "0",
        '"positive"': "{}",
        '"negative"': "{}",
    }
    fields[field] = change.split(":", 1)[1]
    text = "{" + ",".join(f"{name}:{value}" for name, value in fields.items()) + "}"

    with pytest.raises(PeerError, match="quantile sketch"):
        QuantileSketch.decode(text.encode())
