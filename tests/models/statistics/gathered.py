"""Data, how it may be split over devices, and what a plain program makes of it; for these tests."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater_models.arrays import Statistics
from headwater_models.manifest import Array, Learner, Manifest
from headwater_models.statistics.moments import moments_of, no_moments
from headwater_models.statistics.naive_bayes import MOMENTS
from headwater_models.statistics.ridge import CROSS, GRAM, SQUARE
from headwater_models.statistics.solving import learners
from tests.models.bundles import manifest_with

Numbers = NDArray[np.float64]
CLASSES = ("calm", "rising", "falling")
BACKBONE = Array(name="hidden", shape=(2,))


def manifest(
    learner: Learner = "ridge",
    *,
    features: int = 3,
    classes: tuple[str, ...] = (),
    ridge: float = 1.0,
    min_count: int = 50,
) -> Manifest:
    """A model with a head of that many features; of a regression if there are no classes."""
    kind, outputs = learners()[learner], max(1, len(classes))
    head = kind.head(features, outputs, classifies=bool(classes))
    made = msgspec.structs.replace(
        manifest_with(
            BACKBONE,
            *(Array(name=name, shape=a.shape, merge="solved") for name, a in head.items()),
        ),
        task="classification" if classes else "regression",
        loss="cross_entropy" if classes else "mse",
        baseline="majority" if classes else "persistence",
        target="",
        classes=classes,
        learner=learner,
        ridge=ridge,
        min_count=min_count,
        statistics=tuple(
            Array(
                name=name,
                shape=shape,
                dtype="float64",
                merge=kind.merge,
                depends_on=(BACKBONE.name,),
            )
            for name, shape in kind.statistics(features, outputs).items()
        ),
    )
    made.check()
    return made


@dataclass(frozen=True, eq=False)
class Data:
    """Examples: features ``[N, F]``; targets ``[N]``, numbers or indices of classes."""

    features: Numbers
    target: Numbers

    def part(self, rows: NDArray[np.bool_] | slice) -> Data:
        return Data(self.features[rows], self.target[rows])

    def columns(self, model: Manifest) -> Numbers:
        """The targets as ``[N, K]``."""
        if not model.classes:
            return self.target[:, None]
        return np.eye(len(model.classes))[self.target.astype(np.intp)]


def gather(model: Manifest, data: Data) -> Statistics:
    """What a device gathers from examples, written down plainly."""
    target = data.columns(model)
    if model.learner == "naive_bayes":
        moments = no_moments(len(model.classes), data.features.shape[1])
        for number in range(len(model.classes)):
            moments[:, number] = moments_of(data.features[data.target == number])
        return {MOMENTS: moments}
    rows = np.column_stack([data.features, np.ones(len(data.features))])
    return {GRAM: rows.T @ rows, CROSS: rows.T @ target, SQUARE: np.square(target).sum(axis=0)}


def some_data(model: Manifest, count: int = 400, seed: int = 0) -> Data:
    """Examples of three overlapping classes, or of a line with noise."""
    rng = np.random.default_rng(seed)
    width = learners()[model.learner].features({a.name: a.shape for a in model.statistics})
    if not model.classes:
        features = rng.normal(size=(count, width))
        return Data(features, features @ np.arange(1.0, width + 1) + 2 + rng.normal(size=count))
    target = rng.integers(len(model.classes), size=count)
    centres = 1.5 * rng.normal(size=(len(model.classes), width))
    return Data(centres[target] + rng.normal(size=(count, width)), target.astype(np.float64))


@st.composite
def data(draw: st.DrawFn, model: Manifest) -> Data:
    """Examples of any size and place, features far from zero and of unlike scales included."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    found = some_data(model, draw(st.integers(30, 120)), draw(st.integers(0, 2**32)))
    scale = 10.0 ** rng.uniform(-1, 1, found.features.shape[1])
    centre = rng.uniform(-3, 3, found.features.shape[1])
    return Data(found.features * scale + centre, found.target)


@st.composite
def splits(draw: st.DrawFn, whole: Data) -> dict[str, Data]:
    """The examples divided among devices, some of which may have none, in any order."""
    names = draw(st.permutations([f"device-{n}" for n in range(draw(st.integers(1, 6)))]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    owner = rng.integers(len(names), size=len(whole.target))
    return {name: whole.part(owner == number) for number, name in enumerate(names)}
