"""The pause of a swap is the longest between two predictions shortly before the new version's."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.agent import swap
from benchmarks.agent.load import Effort
from benchmarks.agent.stage import Trace


def trace(*answers: tuple[float, str]) -> Trace:
    return Trace(came=[(at, f'{{"version": "{version}"}}'.encode()) for at, version in answers])


def test_the_pause_lies_before_the_first_prediction_of_the_new_version() -> None:
    found = trace((0, "a"), (5, "a"), (5.1, "a"), (5.4, "b"), (7, "b"))
    assert swap.pause_of_swap(found) == pytest.approx(0.3)


def test_a_release_that_never_serves_is_no_figure() -> None:
    with pytest.raises(AssertionError, match="never served"):
        swap.pause_of_swap(trace((0, "a"), (1, "a")))


@pytest.mark.system
def test_a_release_is_taken_up_under_load_and_nothing_is_lost(model: Path, mosquitto: int) -> None:
    figures = swap.measure(model, Effort(turns=1, seconds=1), {})
    pause = figures["swap_pause_ms"]
    assert isinstance(pause, float)
    assert pause > 0
    assert figures["swap_lost"] == 0
