"""The benchmark of models in one call measures two sides that predict the same."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import together


def test_a_figure_is_taken_of_sides_that_agree() -> None:
    figure = together.measure(members=3, rows=2, turns=1)
    assert (figure.unit, figure.better, list(figure.peers)) == ("1/s", "higher", ["one_by_one"])
    assert figure.ratio == figure.ours / figure.peers["one_by_one"]


def test_sides_that_do_not_agree_are_not_measured() -> None:
    one = np.ones((2, 3, 1), np.float32)
    with pytest.raises(AssertionError):
        together.assert_equal(one, one * np.float32(1.001))
