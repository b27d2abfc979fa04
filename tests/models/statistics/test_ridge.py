from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import UnsupportedError
from headwater_models.statistics.ridge import (
    BIAS,
    CALIBRATION,
    CROSS,
    GRAM,
    OFFSET,
    SQUARE,
    WEIGHT,
    Ridge,
)
from tests.models.statistics.gathered import CLASSES, Data, Numbers, data, gather, manifest

RIDGE = Ridge()


def least_squares(found: Data, target: Numbers, ridge: float) -> Numbers:
    """Weights ``[F, K]`` and intercept below, by the plain least squares of a stacked system."""
    centre, mean = found.features.mean(axis=0), target.mean(axis=0)
    penalty = np.sqrt(ridge) * np.eye(len(centre))
    rows = np.concatenate([found.features - centre, penalty])
    wanted = np.concatenate([target - mean, np.zeros((len(centre), target.shape[1]))])
    weight = np.linalg.lstsq(rows, wanted, rcond=None)[0]
    return np.concatenate([weight, (mean - centre @ weight)[None]])


@given(st.data(), st.sampled_from([0.01, 1.0, 100.0]))
@pytest.mark.parametrize("classes", [(), CLASSES], ids=["regression", "classification"])
def test_the_weights_are_those_of_penalised_least_squares_whose_intercept_is_free(
    classes: tuple[str, ...], draw: st.DataObject, ridge: float
) -> None:
    model = manifest(classes=classes, ridge=ridge)
    found = draw.draw(data(model))

    head = RIDGE.solve(model, gather(model, found), None)

    expected = least_squares(found, found.columns(model), ridge)
    size = np.abs(expected).max()
    np.testing.assert_allclose(head[WEIGHT], expected[:-1], rtol=1e-9, atol=1e-9 * size)
    np.testing.assert_allclose(head[BIAS], expected[-1], rtol=1e-9, atol=1e-9 * size)


def test_around_a_start_the_weights_minimise_the_distance_to_it_as_well() -> None:
    rng = np.random.default_rng(0)
    model = manifest(ridge=5.0)
    found = Data(rng.normal(size=(40, 3)), rng.normal(size=40))
    start = {WEIGHT: rng.normal(size=(3, 1)), BIAS: rng.normal(size=1)}

    head = RIDGE.solve(model, gather(model, found), start)

    rows = np.column_stack([found.features, np.ones(40)])
    wanted = np.concatenate([found.target, np.sqrt(5.0) * np.append(start[WEIGHT], start[BIAS])])
    stacked = np.concatenate([rows, np.sqrt(5.0) * np.eye(4)])
    expected = np.linalg.lstsq(stacked, wanted, rcond=None)[0]
    np.testing.assert_allclose(np.append(head[WEIGHT], head[BIAS]), expected, rtol=1e-9)


@given(st.data())
def test_around_its_own_solution_of_much_more_data_little_data_move_little(
    draw: st.DataObject,
) -> None:
    model = manifest(ridge=1.0)
    found = draw.draw(data(model))
    many = RIDGE.solve(model, gather(model, found), None)
    few = gather(model, found.part(slice(2)))

    near = RIDGE.solve(manifest(ridge=1e9), few, many)

    np.testing.assert_allclose(near[WEIGHT], many[WEIGHT], rtol=1e-3, atol=1e-3)


def test_the_loss_of_a_head_is_the_mean_squared_error_over_all_that_was_gathered() -> None:
    rng = np.random.default_rng(1)
    for classes in ((), CLASSES):
        model = manifest(classes=classes)
        found = Data(rng.normal(size=(90, 3)), rng.integers(3, size=90).astype(np.float64))
        columns = found.columns(model)
        head = {WEIGHT: rng.normal(size=(3, columns.shape[1])), BIAS: np.ones(columns.shape[1])}

        scores = found.features @ head[WEIGHT] + head[BIAS]
        expected = float(np.square(columns - scores).mean())
        assert RIDGE.loss(gather(model, found), head) == pytest.approx(expected, rel=1e-9)


def probabilities(head: dict[str, Numbers], features: Numbers) -> Numbers:
    scores = features @ head[WEIGHT] + head[BIAS]
    logits = scores @ head[CALIBRATION] + head[OFFSET]
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def test_the_probabilities_of_normal_classes_are_nearly_the_true_ones() -> None:
    rng = np.random.default_rng(2)
    model = manifest(classes=CLASSES, ridge=0.1)
    centres, shares = rng.normal(size=(3, 3)), np.array([0.6, 0.3, 0.1])
    target = rng.choice(3, p=shares, size=20_000)
    found = Data(centres[target] + rng.normal(size=(20_000, 3)), target.astype(np.float64))

    said = probabilities(RIDGE.solve(model, gather(model, found), None), found.features)

    distance = np.square(found.features[:, None] - centres).sum(axis=2)
    odds = shares * np.exp(-distance / 2)
    true = odds / odds.sum(axis=1, keepdims=True)
    assert np.abs(said - true).mean() < 0.01
    assert said.mean(axis=0) == pytest.approx(shares, abs=0.02)


def test_classes_that_part_perfectly_and_one_that_never_came_stay_finite() -> None:
    model = manifest(classes=CLASSES)
    target = np.repeat([0.0, 1.0], 50)
    found = Data(np.tile(target[:, None], (1, 3)), target)

    said = probabilities(RIDGE.solve(model, gather(model, found), None), found.features)

    assert np.isfinite(said).all()
    assert (said.argmax(axis=1) == target).all()
    assert (said[:, 2] < 0.5).all()


def test_a_head_that_knows_nothing_gives_even_odds() -> None:
    head = RIDGE.head(3, 3, classifies=True)

    assert probabilities(head, np.ones((1, 3))).tolist() == [[1 / 3] * 3]


def test_what_data_can_lead_to_passes() -> None:
    rng = np.random.default_rng(3)
    for classes in ((), CLASSES):
        model = manifest(classes=classes)
        found = Data(rng.normal(size=(90, 3)), rng.integers(3, size=90).astype(np.float64))
        assert list(RIDGE.complaints(model, gather(model, found))) == []
    dependent = Data(np.tile(rng.normal(size=(90, 1)), (1, 3)), found.target)
    assert list(RIDGE.complaints(model, gather(model, dependent))) == []


@pytest.mark.parametrize(
    ("name", "index", "value", "words"),
    [
        (GRAM, (0, 1), 5.0, "not symmetric and positive"),
        (GRAM, (0, 0), 1.0, "not symmetric and positive"),
        (GRAM, (0, 0), -1.0, "not above zero"),
        (GRAM, (-1, -1), 0.0, "not above zero"),
        (GRAM, (1, 1), 1e12, "mean square"),
        (CROSS, (0, 1), 1e3, "not symmetric and positive"),
        (CROSS, (-1, 1), 4.0, "classes do not add up"),
        (SQUARE, (0,), 4.0, "classes do not add up"),
    ],
)
def test_what_no_data_can_lead_to_is_named(
    name: str, index: tuple[int, ...], value: float, words: str
) -> None:
    rng = np.random.default_rng(4)
    model = manifest(classes=CLASSES)
    found = Data(rng.normal(size=(90, 3)), rng.integers(3, size=90).astype(np.float64))
    gathered = gather(model, found)

    gathered[name][index] = value

    assert words in " ".join(RIDGE.complaints(model, gathered))


def test_statistics_that_cannot_be_solved_ask_for_a_larger_ridge() -> None:
    model = manifest(ridge=1e-9)
    gathered = gather(model, Data(np.ones((60, 3)), np.ones(60)))
    gathered[GRAM][0, 1] = gathered[GRAM][1, 0] = 1e3

    with pytest.raises(UnsupportedError, match="larger ridge"):
        RIDGE.solve(model, gathered, None)
