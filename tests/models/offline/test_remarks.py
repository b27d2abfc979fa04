from __future__ import annotations

import numpy as np
import pytest

from headwater.settings import Duration
from headwater_models.manifest import Manifest
from headwater_models.offline.bootstrap import Figure
from headwater_models.offline.examples import Examples, cut_examples
from headwater_models.offline.fit import Epoch, Fitted
from headwater_models.offline.metrics import ABOVE, AREA, SHARE, Metric
from headwater_models.offline.remarks import crowding, remarks
from headwater_models.offline.split import Split
from tests.models.offline.tables import MINUTE, manifest, recording

NOW = {"target": "", "horizon": Duration(0)}
BETTER = Metric(ABOVE, Figure(0.2, 0.1, 0.3))


def examples(at: list[float]) -> Examples:
    return cut_examples([recording(at, [[1, 1]] * len(at))], manifest())


def classifier() -> Manifest:
    return manifest(task="classification", classes=("a", "b", "c"), loss="cross_entropy", **NOW)


def made(
    kind: Manifest,
    learned: list[float],
    judged: list[float],
    *metrics: Metric,
    best: int = 1,
    learns: bool = True,
) -> str:
    labels = [*learned, *judged]
    count = len(labels)
    cut = cut_examples(
        [recording(list(range(count + 1)), [[1, 1]] * (count + 1), labels=[np.nan, *labels])], kind
    )
    split = Split(
        "chronological",
        np.arange(len(learned)),
        np.arange(0),
        np.arange(len(learned), count),
    )
    epochs = tuple(Epoch(number, 1.0, 1.0, number <= best) for number in range(3))
    return " ".join(remarks(kind, cut, split, Fitted({}, epochs), metrics, learns=learns))


def test_rows_that_share_a_slot_are_told_with_a_grid_that_may_fit() -> None:
    assert crowding(examples([0, 1, 2]), 3, Duration(MINUTE)) == ""
    late = examples([0, 0.9, 2, 3])
    told = crowding(late, 4, Duration(MINUTE))
    assert told.startswith("1 of 4 rows fall into a slot that another row fills, and do not count")
    assert "try --period 2min, or --period 30s --hold 1" in told
    assert "--period" not in crowding(late, 4)
    assert "--period" not in crowding(late, 4, Duration(MINUTE // 2))


def test_rows_of_the_same_time_may_be_of_several_streams() -> None:
    assert "say --stream" in crowding(examples([0, 0, 1, 1]), 4, Duration(MINUTE))


def test_a_good_result_has_no_remark() -> None:
    assert made(classifier(), [0, 1, 2], [0, 1, 2], BETTER) == ""


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (Metric(f"error{SHARE}", Figure(1.0, 0.9, 1.1)), "not better than the baseline"),
        (Metric(f"error{SHARE}", Figure(0.9, 0.8, 1.1)), "better than the baseline is open"),
        (Metric(ABOVE, Figure(-0.1, -0.2, 0.1)), "not better than the baseline"),
        (Metric(ABOVE, Figure(0.1, -0.1, 0.2)), "better than the baseline is open"),
    ],
)
def test_what_is_not_better_than_the_baseline_is_called_so(metric: Metric, words: str) -> None:
    assert words in made(classifier(), [0, 1, 2], [0, 1, 2], metric)


def test_scores_are_held_against_chance() -> None:
    kind = manifest(task="anomaly", loss="mse", **NOW)
    area = Metric(AREA, Figure(0.4, 0.3, 0.6))
    assert "better than chance" in made(kind, [0, 0], [0, 1], area)
    assert "name usual windows only" in made(kind, [0, 0], [0, 0])


def test_an_untrained_model_says_what_it_says() -> None:
    found = made(classifier(), [0, 1, 2], [0, 1, 2], BETTER, best=0)
    assert found == (
        "No epoch lowered the validation loss, so the weights are the first ones: it gives every "
        "class the same odds."
    )
    frozen = made(classifier(), [0, 1, 2], [0, 1, 2], BETTER, best=0, learns=False)
    assert frozen.startswith("All that could be trained is frozen, so it gives every class")


def test_classes_that_a_part_lacks_are_named() -> None:
    assert "holds one class only, b:" in made(classifier(), [0, 1, 2], [1, 1], BETTER)
    assert "has no example of b, c." in made(classifier(), [0, 0], [0, 1], BETTER)
