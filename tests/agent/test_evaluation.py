from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from headwater_agent.evaluation import ROWS_AT_ONCE, Judged, evaluate, last_known
from headwater_agent.events import Batch, Floats
from headwater_models.arrays import Arrays
from headwater_models.manifest import Manifest
from tests.models.bundles import signed

NAN = float("nan")


class Constant:
    """Predicts its parameter for every row, and remembers how many it was asked at once."""

    def __init__(self) -> None:
        self.rows = 0

    def run(self, window: Floats, time: NDArray[np.int64], parameters: Arrays) -> Floats:
        assert len(time) == len(window)
        self.rows = max(self.rows, len(window))
        return np.tile(parameters["w"], (len(window), 1))


def manifest(**changes: Any) -> Manifest:
    return msgspec.structs.replace(signed().manifest, **changes)


def examples(levels: list[float], labels: list[float]) -> Batch:
    window = np.zeros((len(levels), 3, 2), np.float32)
    window[:, -1, 0] = levels
    count = len(levels)
    return Batch(
        window,
        np.zeros(count, np.int64),
        np.array(labels, np.float32).reshape(-1, 1),
        np.ones(count, np.float32),
    )


def judged(
    batch: Batch,
    candidate: list[float],
    release: list[float],
    *,
    model: Manifest | None = None,
    learned: tuple[float, ...] = (),
) -> Judged:
    return evaluate(
        Constant(),
        model or manifest(),
        batch,
        candidate={"w": np.array(candidate, np.float32)},
        release={"w": np.array(release, np.float32)},
        learned=np.array(learned, np.float32),
    )


def test_a_forecast_is_judged_by_its_absolute_error_beside_persistence() -> None:
    found = judged(examples([1, 2], [2, 4]), candidate=[3], release=[4])
    assert found == Judged(
        rows=2,
        candidate=1.0,
        release=1.0,
        baseline=1.5,
        difference_mean=0.0,
        difference_m2=2.0,
    )


def test_rows_without_label_or_baseline_are_left_out_for_all_three() -> None:
    batch = examples([1, NAN, 1], [2, 2, NAN])
    batch.window[1, :, 0] = NAN
    found = judged(batch, [2], [2])
    assert found.rows == 1
    assert found.baseline == 1.0


def test_without_rows_all_is_zero() -> None:
    assert judged(examples([], []), [1], [1]) == Judged()


def test_many_rows_are_predicted_in_parts() -> None:
    predictor = Constant()
    count = 2 * ROWS_AT_ONCE + 3
    found = evaluate(
        predictor,
        manifest(),
        examples([1] * count, [1] * count),
        candidate={"w": np.ones(1, np.float32)},
        release={"w": np.zeros(1, np.float32)},
        learned=np.zeros(0, np.float32),
    )
    assert (found.rows, found.candidate, found.release) == (count, 0.0, 1.0)
    assert predictor.rows == ROWS_AT_ONCE


def test_a_classification_is_judged_by_cross_entropy_beside_the_share_of_each_class() -> None:
    model = manifest(task="classification", classes=("a", "b"), loss="cross_entropy", target="")
    found = judged(
        examples([0, 0, 0], [0, 1, 7]),
        candidate=[0.5, 0.5],
        release=[1.0, 0.0],
        model=model,
        learned=(0, 0, 0, 1),
    )
    assert found.rows == 2
    assert found.candidate == pytest.approx(np.log(2))
    assert found.release == pytest.approx(-np.log(1e-7) / 2)
    assert found.baseline == pytest.approx(-(np.log(0.75) + np.log(0.25)) / 2)


def test_a_regression_is_judged_beside_the_mean_label() -> None:
    model = manifest(task="regression", target="")
    found = judged(examples([0], [5]), [5], [5], model=model, learned=(1, 3, NAN))
    assert found.baseline == 3.0


@given(
    npst.arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 4)),
        elements=st.one_of(st.just(NAN), st.floats(-10, 10, width=32)),
    )
)
def test_persistence_is_the_last_value_that_is_not_missing(column: Floats) -> None:
    for row, found in zip(column, last_known(column), strict=True):
        known = row[np.isfinite(row)]
        assert found == known[-1] if len(known) else np.isnan(found)


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=20))
def test_the_paired_differences_are_those_of_the_losses(pairs: list[tuple[float, float]]) -> None:
    levels, labels = zip(*pairs, strict=True)
    found = judged(examples(list(levels), list(labels)), [1], [2])
    target = np.array(labels, np.float32).astype(np.float64)
    difference = np.abs(1 - target) - np.abs(2 - target)
    assert found.difference_mean == pytest.approx(difference.mean())
    assert found.difference_mean == pytest.approx(found.candidate - found.release)
    assert found.difference_m2 == pytest.approx(len(pairs) * difference.var(), abs=1e-9)
