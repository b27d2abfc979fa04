"""The aggregation benchmark measures two sides that merge the same, each in its own process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import aggregation
from benchmarks.aggregation import Merged, Size
from benchmarks.report import Figure

SIZE = Size(updates=6, weights=2_000)


def test_figures_are_taken_of_sides_that_agree(tmp_path: Path) -> None:
    figures = aggregation.measure(tmp_path / "books.db", SIZE, turns=1)
    assert set(figures) == {"time", "memory"}
    for figure in figures.values():
        assert isinstance(figure, Figure)
        assert (figure.better, list(figure.peers)) == ("lower", ["flower"])


def test_sides_that_do_not_agree_are_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([Merged(1.0, 1.0, np.zeros(2, "f4")), Merged(1.0, 1.0, np.ones(2, "f4"))])
    monkeypatch.setattr(aggregation, "alone", lambda *_: next(answers))
    with pytest.raises(AssertionError):
        aggregation.measure(tmp_path / "books.db", SIZE, turns=1)


def test_a_figure_is_the_median_and_says_how_many_times_less_ours_is() -> None:
    figure = aggregation.figure([1.0, 9.0, 2.0], [4.0, 5.0, 9.0], "s")
    assert (figure.ours, figure.peers["flower"], figure.ratio) == (2.0, 5.0, 2.5)


def test_the_peak_is_that_from_the_last_look_on() -> None:
    before = aggregation.resident()
    held = np.ones(256 * 2**20, np.uint8)
    risen = aggregation.peak() - before
    del held
    assert risen >= 200
    assert aggregation.resident() <= before + risen
