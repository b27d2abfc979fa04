from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from headwater.settings import Duration
from headwater_models.graphs.builders import ModelSpec, build
from headwater_models.manifest import Optimiser
from headwater_models.offline.examples import Examples, cut_examples
from headwater_models.offline.fit import Course, Epoch, Fitting
from headwater_models.offline.split import Split, chronological
from tests.models.offline.tables import manifest, recording

COURSE = Course(epochs=20, patience=3)


def spec(**changes: object) -> ModelSpec:
    wanted = manifest()
    fields: dict[str, object] = {
        "kind": "linear",
        "name": "tank",
        "task": "forecast",
        "channels": wanted.channels,
        "grid": wanted.grid,
        "window": 2,
        "target": "level",
        "horizon": Duration(60_000),
        "loss": "mae",
        "reserve": wanted.reserve,
    }
    return ModelSpec(**(fields | changes))  # type: ignore[arg-type]


def data(seed: int = 0, count: int = 600) -> Examples:
    rng = np.random.default_rng(seed)
    flow = rng.standard_normal(count)
    level = np.append(0.0, 2 * flow[:-1])
    return cut_examples(
        [recording(list(range(count)), np.stack([level, flow], axis=1).tolist())], manifest()
    )


def fitting(examples: Examples, **changes: object) -> tuple[Fitting, dict[str, np.ndarray]]:
    built = build(spec(**changes), np.random.default_rng(0))
    return Fitting(built.manifest, built.infer, built.train, examples), built.weights


def divided(examples: Examples) -> Split:
    return chronological(examples, manifest(), validation=0.2, test=0.2)


def test_what_comes_out_is_the_epoch_with_the_lowest_validation_loss() -> None:
    examples = data()
    model, start = fitting(examples, optimiser=Optimiser(learning_rate=0.02))
    split = divided(examples)
    told: list[Epoch] = []
    fitted = model.run(start, split, COURSE, np.random.default_rng(1), told.append)
    assert list(fitted.epochs) == told
    assert fitted.best.validation == min(epoch.validation for epoch in told)
    assert fitted.best.validation < 0.9 * told[0].validation
    assert model.loss(fitted.weights, split.validation) == fitted.best.validation


def test_it_stops_when_patience_is_over_and_keeps_the_start_if_nothing_was_better() -> None:
    examples = data()
    perfect = dataclasses.replace(
        examples, labels=examples.windows(np.arange(len(examples)))[:, -1, 0]
    )
    model, start = fitting(perfect)
    fitted = model.run(start, divided(perfect), COURSE, np.random.default_rng(1))
    assert fitted.best.number == 0
    assert len(fitted.epochs) == 1 + COURSE.patience
    assert fitted.stopped
    for name, array in start.items():
        np.testing.assert_array_equal(fitted.weights[name], array)


def test_the_personal_part_of_a_blend_is_never_trained() -> None:
    examples = data()
    rate = Optimiser(learning_rate=0.02)
    model, start = fitting(examples, personal="blend", optimiser=rate)
    fitted = model.run(start, divided(examples), COURSE, np.random.default_rng(1))
    assert fitted.best.number > 0
    moved = {
        array.name
        for array in model.manifest.arrays
        if (fitted.weights[array.name] != start[array.name]).any()
    }
    local = {array.name for array in model.manifest.arrays if array.merge == "local"}
    assert moved
    assert local
    assert not moved & local


@pytest.mark.parametrize("personal", ["none", "blend"])
def test_where_all_is_frozen_there_is_no_epoch(personal: str) -> None:
    examples = data()
    model, start = fitting(examples, freeze=("head.*",), personal=personal)
    assert not model.learns
    fitted = model.run(start, divided(examples), COURSE, np.random.default_rng(1))
    assert ([epoch.number for epoch in fitted.epochs], fitted.stopped) == ([0], False)


def test_the_same_seed_gives_the_same_weights() -> None:
    examples = data()
    model, start = fitting(examples)
    split = divided(examples)
    first, second = (
        model.run(start, split, Course(epochs=2), np.random.default_rng(5)).weights
        for _ in range(2)
    )
    for name, array in first.items():
        np.testing.assert_array_equal(second[name], array)


def test_a_head_that_is_solved_from_statistics_takes_one_pass() -> None:
    examples = data()
    model, start = fitting(examples, kind="mlp", hidden=(8,), learner="ridge", loss="mse")
    fitted = model.run(start, divided(examples), COURSE, np.random.default_rng(1))
    assert [epoch.number for epoch in fitted.epochs] == [0, 1]
    assert fitted.best.number == 1
    assert fitted.best.validation < fitted.epochs[0].validation


def test_the_first_epoch_is_the_model_before_any() -> None:
    examples = data()
    model, start = fitting(examples)
    fitted = model.run(start, divided(examples), Course(epochs=1), np.random.default_rng(1))
    assert (fitted.epochs[0].number, math.isnan(fitted.epochs[0].train)) == (0, True)
    persistence = np.abs(examples.labels - examples.windows(np.arange(len(examples)))[:, -1, 0])[
        divided(examples).validation
    ]
    assert fitted.epochs[0].validation == pytest.approx(persistence.mean(), rel=1e-5)
