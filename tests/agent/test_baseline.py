from __future__ import annotations

import msgspec
import numpy as np
import pytest

from headwater_agent.baseline import Baseline, persistence
from headwater_models.manifest import Manifest
from tests.agent.model import classification, regression

NAN = float("nan")


def window(*levels: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array([[level, 0] for level in levels], np.float32)


def test_a_forecast_repeats_the_last_known_target_of_its_window() -> None:
    assert persistence(window(1, 2, NAN)[None], 0, 1).tolist() == [[2]]


def test_a_window_without_the_target_has_no_baseline() -> None:
    assert np.isnan(persistence(window(NAN, NAN, NAN)[None], 0, 1)).all()


def test_a_regression_repeats_the_last_label() -> None:
    baseline = Baseline(regression())
    assert np.isnan(baseline.predict()).all()
    baseline.labelled(7.5)
    assert baseline.predict().tolist() == [7.5]


def test_a_majority_baseline_predicts_how_often_each_class_occurred() -> None:
    baseline = Baseline(classification())
    for label in (0, 2, 2, 2):
        baseline.labelled(label)
    assert baseline.predict().tolist() == [0.25, 0, 0.75]


def test_a_persistence_baseline_of_classes_repeats_the_last_one() -> None:
    baseline = Baseline(msgspec.structs.replace(classification(), baseline="persistence"))
    for label in (0, 2, 1):
        baseline.labelled(label)
    assert baseline.predict().tolist() == [0, 1, 0]


@pytest.mark.parametrize("model", [regression(), classification()])
def test_it_goes_on_after_a_restart(model: Manifest) -> None:
    baseline, again = Baseline(model), Baseline(model)
    for label in (0, 2, 2):
        baseline.labelled(label)
    again.restore(baseline.save())
    made = [one.predict().tolist() for one in (baseline, again)]
    assert made[0] == made[1]


def test_each_window_has_its_own_last_target_for_every_quantile() -> None:
    windows = np.stack([window(1, 2, 3), window(4, NAN, NAN), window(NAN, NAN, NAN)])
    np.testing.assert_array_equal(
        persistence(windows, 0, 2), [[3, 3], [4, 4], [NAN, NAN]], strict=False
    )
