from __future__ import annotations

import msgspec
import numpy as np
import pytest

from headwater.errors import BundleError, UnsupportedError
from headwater_models.manifest import Manifest
from headwater_models.statistics import (
    check_layout,
    head_of,
    learner_of,
    mean_loss,
    merge,
    no_statistics,
    solve,
)
from tests.models.bundles import tiny
from tests.models.statistics.gathered import CLASSES, gather, manifest, some_data

MODELS = (manifest(), manifest(classes=CLASSES), manifest("naive_bayes", classes=CLASSES))
each = pytest.mark.parametrize("model", MODELS, ids=lambda m: f"{m.learner} {m.task}")


@each
def test_the_head_fits_the_manifest_in_names_shapes_and_dtype(model: Manifest) -> None:
    head = solve(model, gather(model, some_data(model)))

    wanted = {a.name: a.shape for a in model.arrays if a.merge == "solved"}
    assert {name: value.shape for name, value in head.items()} == wanted
    assert {value.dtype for value in head.values()} == {np.dtype(np.float32)}


@each
def test_what_was_solved_fits_all_data_better_than_knowing_nothing(model: Manifest) -> None:
    gathered = gather(model, some_data(model))
    nothing = learner_of(model).head(3, model.outputs, classifies=bool(model.classes))
    untaught = {name: value.astype(np.float32) for name, value in nothing.items()}

    assert mean_loss(model, gathered, solve(model, gathered)) < mean_loss(model, gathered, untaught)


@each
def test_around_a_release_a_device_fits_its_own_data_better_than_the_release(
    model: Manifest,
) -> None:
    ours, theirs = (gather(model, some_data(model, seed=seed)) for seed in (0, 1))
    release = solve(model, merge(model, {"a": ours, "b": theirs}))

    personal = solve(model, ours, release)

    assert mean_loss(model, ours, personal) < mean_loss(model, ours, release)


@each
def test_the_stronger_the_ridge_the_nearer_is_the_personal_head_to_the_release(
    model: Manifest,
) -> None:
    ours, theirs = (gather(model, some_data(model, seed=seed)) for seed in (0, 1))
    release = solve(model, theirs)
    distances = []
    for ridge in (1.0, 100.0, 1e8):
        strict = msgspec.structs.replace(model, ridge=ridge)
        personal = solve(strict, ours, release)
        distances.append(sum(np.abs(personal[n] - release[n]).sum() for n in release))

    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 1e-2


@each
def test_nothing_follows_from_nothing(model: Manifest) -> None:
    with pytest.raises(UnsupportedError, match="Nothing was gathered"):
        solve(model, no_statistics(model))


def test_a_head_that_float32_cannot_hold_is_refused() -> None:
    gathered = gather(MODELS[0], some_data(MODELS[0]))

    with pytest.raises(UnsupportedError, match="not finite"):
        solve(MODELS[0], gathered | {"statistics.cross": 1e50 * gathered["statistics.cross"]})


@each
def test_the_layout_of_a_model_is_that_of_its_learner(model: Manifest) -> None:
    check_layout(model)

    cut = msgspec.structs.replace(model, statistics=model.statistics[:-1])
    unsolved = msgspec.structs.replace(model, arrays=model.arrays[:1])
    other = "moments" if model.learner == "ridge" else "sum"
    swapped = msgspec.structs.replace(
        model,
        statistics=tuple(msgspec.structs.replace(a, merge=other) for a in model.statistics),
    )
    for wrong, words in (
        (cut, "statistics|solved arrays"),
        (unsolved, "solved arrays"),
        (swapped, "merge rules"),
    ):
        with pytest.raises(BundleError, match=words):
            check_layout(wrong)


def test_a_model_that_learns_by_gradients_has_no_layout_and_no_learner_of_statistics() -> None:
    check_layout(tiny().manifest)
    with pytest.raises(UnsupportedError, match="ridge and naive_bayes"):
        learner_of(tiny().manifest)


def test_the_head_is_what_the_manifest_calls_solved() -> None:
    model = MODELS[0]
    arrays = {a.name: np.zeros(a.shape, np.float32) for a in model.arrays}

    assert head_of(model, arrays).keys() == {"head.weight", "head.bias"}
