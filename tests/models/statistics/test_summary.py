"""The laws of all summaries of a channel, whatever they hold."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from headwater.errors import PeerError, UnsupportedError
from headwater_models.manifest import Channel
from headwater_models.statistics import histogram, moments, sketch
from headwater_models.statistics.histogram import Histogram
from headwater_models.statistics.moments import RunningMoments
from headwater_models.statistics.sketch import QuantileSketch
from headwater_models.statistics.summary import MAX_SUMMARY_BYTES, finite, refuse_others

CHANNEL = Channel(name="level", unit="m", minimum=-40, maximum=60)
MADE: dict[str, Callable[[], Any]] = {
    "moments": RunningMoments,
    "histogram": lambda: Histogram.of(CHANNEL),
    "sketch": lambda: QuantileSketch.of(CHANNEL),
}
VALUES = npst.arrays(np.float64, st.integers(0, 60), elements=st.floats(-100, 100, width=32))
each = pytest.mark.parametrize("make", MADE.values(), ids=MADE.keys())


def of(make: Callable[[], Any], values: NDArray[np.float64]) -> Any:
    summary = make()
    summary.add(values)
    return summary


def figures(summary: Any) -> list[float]:
    """All that a summary says of its values."""
    if isinstance(summary, RunningMoments):
        return [summary.count, summary.mean, summary.variance]
    if isinstance(summary, Histogram):
        return summary.counts.tolist()  # type: ignore[no-any-return]
    return [summary.count, *((summary.quantile(n / 20) or 0.0) for n in range(21))]


@given(st.data(), VALUES)
@each
def test_merged_summaries_are_that_of_all_values_whatever_their_split_and_order(
    make: Callable[[], Any], draw: st.DataObject, values: NDArray[np.float64]
) -> None:
    owner = np.array(draw.draw(st.lists(st.integers(0, 3), min_size=60, max_size=60)))
    parts = [of(make, values[owner[: len(values)] == number]) for number in range(4)]
    merged = make()
    for number in draw.draw(st.permutations(range(4))):
        merged.merge(parts[number])

    expected = figures(of(make, values))
    if make is RunningMoments:
        np.testing.assert_allclose(figures(merged), expected, rtol=1e-9, atol=1e-9)
    else:
        assert figures(merged) == expected


@given(VALUES)
@each
def test_what_is_decoded_is_what_was_encoded(
    make: Callable[[], Any], values: NDArray[np.float64]
) -> None:
    summary = of(make, values)

    again = type(summary).decode(summary.encode())

    assert figures(again) == figures(summary)
    again.merge(summary)
    assert again.count == 2 * summary.count


@each
def test_no_value_that_was_measured_is_in_what_is_encoded(make: Callable[[], Any]) -> None:
    planted = np.array([12.3456789, -7.6543219, 31.4159265])
    summary = of(make, np.concatenate([planted, np.random.default_rng(0).normal(size=100)]))

    text = summary.encode().decode()

    assert not any(str(abs(value))[:6] in text for value in planted)


@each
def test_what_is_not_finite_is_passed_over(make: Callable[[], Any]) -> None:
    values = np.array([[1.0, np.nan], [np.inf, 3.0]])

    assert figures(of(make, values)) == figures(of(make, np.array([1.0, 3.0])))


@each
def test_nothing_summarised_says_so(make: Callable[[], Any]) -> None:
    assert make().count == 0
    assert type(make()).decode(make().encode()).count == 0


@given(st.binary(max_size=60))
@each
def test_other_bytes_are_refused(make: Callable[[], Any], data: bytes) -> None:
    with pytest.raises(PeerError, match="is damaged"):
        type(make()).decode(data)


@each
def test_a_field_that_none_has_and_too_long_bytes_are_refused(make: Callable[[], Any]) -> None:
    text = make().encode()

    with pytest.raises(PeerError, match="damaged"):
        type(make()).decode(text[:-1] + b',"raw":[1.5]}')
    with pytest.raises(PeerError, match=f"at most {MAX_SUMMARY_BYTES}"):
        type(make()).decode(text + b" " * MAX_SUMMARY_BYTES)


@pytest.mark.parametrize("kind", [Histogram, QuantileSketch])
def test_summaries_of_other_channels_do_not_merge(
    kind: type[Histogram | QuantileSketch],
) -> None:
    other = Channel(name="flow", minimum=0, maximum=9)

    with pytest.raises(UnsupportedError, match="the same channel"):
        kind.of(CHANNEL).merge(kind.of(other))  # type: ignore[arg-type]


def test_alike_summaries_merge_and_only_finite_values_count() -> None:
    refuse_others((1, 2), (1, 2), "histogram")
    assert finite(np.array([[1.0, np.inf], [np.nan, 2.0]])).tolist() == [1, 2]


@pytest.mark.parametrize("module", [histogram, moments, sketch], ids=lambda m: m.__name__)
def test_the_examples_in_the_docstrings_hold(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
