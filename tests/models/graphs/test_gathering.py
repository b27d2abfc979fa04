from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater_models.arrays import Statistics
from headwater_models.graphs.builders import Built, ModelSpec, build
from headwater_models.graphs.builders.solved import heads
from headwater_models.graphs.gathering import gatherers
from headwater_models.session import Predictor, Trainer, initial_state
from headwater_models.statistics import learners
from headwater_models.statistics.moments import moments_of, no_moments
from headwater_models.statistics.naive_bayes import MOMENTS
from headwater_models.statistics.ridge import CROSS, GRAM, SQUARE
from tests.models.graphs.example import Rows, kind_specs, model_spec, rows

LINEAR = {"kind": "linear", "learner": "ridge"}
SPECS = (
    model_spec(**LINEAR),
    model_spec(**LINEAR, task="regression", loss="mae"),
    model_spec(**LINEAR, task="classification"),
    model_spec(kind="linear", learner="naive_bayes", task="classification"),
)
each = pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.learner} {s.task}")
Numbers = NDArray[np.float64]


def gather(
    built: Built,
    *batches: Rows,
    state: Statistics | None = None,
    trainer: Trainer | None = None,
) -> Statistics:
    """What the graph gathers from batches in turn."""
    trainer, gathered = trainer or Trainer(built.train), state or initial_state(built.manifest)
    for batch in batches:
        _, gathered, _ = trainer.step(batch.cast("float32"), built.weights, gathered, 0.0)
    return gathered


def cut(batch: Rows, start: int, stop: int) -> Rows:
    part = slice(start, stop)
    return Rows(batch.window[part], batch.time[part], batch.label[part], batch.weight[part])


def by_hand(built: Built, spec: ModelSpec, batch: Rows) -> Statistics:
    """The same sums in NumPy, over the features that the model itself gives."""
    single = batch.cast("float32")
    features = (
        Predictor(built.infer).features(single.window, single.time, built.weights).astype(float)
    )
    label, weight = single.label.astype(float), single.weight.astype(float)
    known = np.isfinite(label[:, 0]) & (weight > 0)
    features, label, weight = features[known], label[known], weight[known]
    if spec.learner == "naive_bayes":
        found = no_moments(3, features.shape[1])
        for number in np.unique(label).astype(int):
            found[:, number] = moments_of(features[label[:, 0] == number])
        return {MOMENTS: found}
    target = targets(spec, single.window[known], label)
    x = np.column_stack([features, np.ones(len(features))])
    weighted = x * weight[:, None]
    return {
        GRAM: weighted.T @ x,
        CROSS: weighted.T @ target,
        SQUARE: (weight[:, None] * target**2).sum(axis=0),
    }


def targets(spec: ModelSpec, window: NDArray[np.float32], label: Numbers) -> Numbers:
    assert spec.scaling is not None
    if spec.classes:
        return np.asarray(np.eye(len(spec.classes))[label[:, 0].astype(int)])
    if spec.task == "regression":
        scaled: Numbers = (label - spec.scaling.label_mean) / spec.scaling.label_scale
        return scaled
    column = window[:, :, 0].astype(float)
    last = [series[np.isfinite(series)] for series in column]
    start = [series[-1] if len(series) else spec.scaling.mean[0] for series in last]
    return np.asarray((label - np.array(start)[:, None]) / spec.scaling.scale[0])


def assert_near(ours: Statistics, theirs: Statistics, rtol: float = 1e-9) -> None:
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=rtol, atol=rtol * np.abs(value).max())


@each
def test_what_the_graph_gathers_is_what_numpy_sums_up(spec: ModelSpec) -> None:
    built = build(spec, np.random.default_rng(0))
    batch = rows(spec, np.random.default_rng(1), count=40)
    batch.label[3] = np.nan
    batch.weight[:] = 1.0 if spec.learner == "naive_bayes" else batch.weight
    batch.weight[5] = 0.0

    assert_near(gather(built, batch), by_hand(built, spec, batch))


@each
def test_in_batches_of_any_size_the_same_is_gathered(spec: ModelSpec) -> None:
    built = build(spec, np.random.default_rng(0))
    batch = rows(spec, np.random.default_rng(1), count=40)
    trainer = Trainer(built.train)
    whole = gather(built, batch, trainer=trainer)

    @given(st.lists(st.integers(0, 40), max_size=5))
    def hold(at: list[int]) -> None:
        ends = sorted({0, 40, *at})
        batches = [cut(batch, a, b) for a, b in pairwise(ends)]
        assert_near(gather(built, *batches, trainer=trainer), whole)

    hold()


@pytest.mark.parametrize("spec", kind_specs(learner="ridge")[:5], ids=lambda s: s.kind)
def test_every_backbone_of_the_builders_can_be_gathered_on(spec: ModelSpec) -> None:
    built = build(spec, np.random.default_rng(0))
    batch = rows(spec, np.random.default_rng(1), count=40)

    gathered = gather(built, cut(batch, 0, 7), cut(batch, 7, 40))

    assert_near(gathered, gather(built, batch), rtol=1e-5)  # the backbone computes in float32
    assert {array.name for array in built.manifest.arrays if array.frozen} == {
        name for name in built.weights if not name.startswith("head.")
    }


@each
def test_a_batch_without_anything_to_learn_changes_no_bit(spec: ModelSpec) -> None:
    built = build(spec, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    zeros = initial_state(built.manifest)
    before = {n: np.where(rng.random(a.shape) < 0.5, -0.0, 1.5) for n, a in zeros.items()}
    batch = rows(spec, rng, count=4)
    silent = replace(batch, weight=np.array([0.0, -1.0, np.nan, np.inf]))
    unknown = replace(batch, label=np.full((4, 1), np.nan))

    for nothing in (silent, unknown):
        after = gather(built, nothing, state=before)
        assert all(after[name].tobytes() == before[name].tobytes() for name in before)


@each
def test_a_row_whose_features_are_not_finite_adds_nothing(spec: ModelSpec) -> None:
    built = build(spec, np.random.default_rng(0))
    batch = rows(spec, np.random.default_rng(1), count=10)
    broken = batch.window.copy()
    broken[4, -1, 1] = np.inf

    found = gather(built, replace(batch, window=broken))

    assert_near(found, gather(built, cut(batch, 0, 4), cut(batch, 5, 10)))


@each
def test_a_label_that_is_no_class_adds_nothing(spec: ModelSpec) -> None:
    if not spec.classes:
        return
    built = build(spec, np.random.default_rng(0))
    batch = rows(spec, np.random.default_rng(1), count=10)
    batch.label[4] = 7

    assert_near(gather(built, batch), gather(built, cut(batch, 0, 4), cut(batch, 5, 10)))


@each
def test_what_is_gathered_does_not_depend_on_the_head(spec: ModelSpec) -> None:
    built = build(spec, np.random.default_rng(0))
    batch = rows(spec, np.random.default_rng(1), count=10)
    rng = np.random.default_rng(2)
    taught = replace(
        built, weights={n: rng.normal(size=a.shape).astype("f4") for n, a in built.weights.items()}
    )

    ours, theirs = gather(built, batch), gather(taught, batch)

    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)


@each
def test_the_loss_is_that_of_the_head_before_the_step(spec: ModelSpec) -> None:
    built = build(spec, np.random.default_rng(0))
    batch = rows(spec, np.random.default_rng(1), count=10).cast("float32")
    rng = np.random.default_rng(2)
    head = {n: rng.normal(size=a.shape).astype("f4") for n, a in built.weights.items()}

    parameters, _, losses = Trainer(built.train).step(batch, head, initial_state(built.manifest), 0)

    said = Predictor(built.infer).run(batch.window, batch.time, head)
    assert spec.scaling is not None
    scales = {"forecast": spec.scaling.scale[0], "regression": spec.scaling.label_scale}
    if spec.classes:
        expected = -np.log(np.take_along_axis(said, batch.label.astype(int), axis=1)[:, 0])
    else:
        error = (said - batch.label)[:, 0] / scales[spec.task]
        expected = np.abs(error) if spec.loss == "mae" else error**2
    np.testing.assert_allclose(losses, expected, rtol=1e-3, atol=1e-4)
    assert all(parameters[name] is head[name] for name in head)


def test_the_float64_twin_gathers_the_same() -> None:
    spec = model_spec(learner="ridge")
    single, double = (
        build(spec, np.random.default_rng(0), dtype) for dtype in ("float32", "float64")
    )
    batch = rows(spec, np.random.default_rng(1), count=10)

    twin = Trainer(double.train)
    _, exact, _ = twin.step(batch, double.weights, initial_state(double.manifest), 0.0)

    assert_near(gather(single, batch), exact, rtol=1e-5)


def test_every_learner_of_statistics_has_a_way_to_gather() -> None:
    assert gatherers().keys() == heads().keys() == learners().keys()
