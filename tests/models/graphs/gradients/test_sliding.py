from __future__ import annotations

import numpy as np
import pytest

from headwater_models.graphs.expression import Graph
from headwater_models.graphs.gradients.sliding import Axis, sliding


def axis(**changes: int) -> Axis:
    plain = {"size": 5, "kernel": 3, "stride": 1, "dilation": 1, "before": 0, "after": 0}
    return Axis(**{**plain, "windows": 3, **changes})


def test_windows_that_fit_exactly_neither_hang_over_nor_leave_places_out() -> None:
    assert axis().overhang == 0


def test_padding_lets_windows_hang_over() -> None:
    assert axis(before=1, after=1, windows=5).overhang == 1


def test_a_stride_may_leave_places_at_the_end_out() -> None:
    assert axis(size=6, stride=2, windows=2).overhang == -1


def test_a_window_at_the_border_has_fewer_places_unless_padding_counts() -> None:
    padded = axis(before=1, after=1, windows=5)
    assert padded.counts(padding=False).tolist() == [2, 3, 3, 3, 2]
    assert padded.counts(padding=True).tolist() == [3, 3, 3, 3, 3]


@pytest.mark.parametrize(
    ("auto", "kernel", "sides"),
    [
        ("SAME_UPPER", 2, (0, 1)),
        ("SAME_LOWER", 2, (1, 0)),
        ("SAME_UPPER", 4, (1, 2)),
        ("SAME_LOWER", 4, (2, 1)),
        ("SAME_LOWER", 5, (2, 2)),
        ("VALID", 2, (0, 0)),
    ],
)
def test_automatic_padding_puts_the_odd_place_where_its_name_says(
    auto: str, kernel: int, sides: tuple[int, int]
) -> None:
    graph = Graph()
    x, w = graph.input("x", ("N", 1, 5)), graph.constant(np.ones((1, 1, kernel), np.float32))
    y = graph.op("Conv", x, w, auto_pad=auto)
    (found,) = sliding(graph.nodes[-1], x, y, [kernel])
    assert (found.before, found.after) == sides
