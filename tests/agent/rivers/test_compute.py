from __future__ import annotations

import numpy as np
import pytest

from headwater_agent.compute import Compute
from headwater_agent.events import Batch, BranchName, Infer, Train, Windows
from headwater_agent.rivers.compute import RiverCompute
from headwater_agent.rivers.settings import RiverSettings
from headwater_models.arrays import Arrays
from headwater_models.bundle import Bundle
from headwater_models.session import initial_state
from tests.agent.rivers.bundles import bundle, settings, stream

BUILT = bundle("forecast")
MODEL = Bundle(manifest=BUILT.manifest, infer=BUILT.infer, train=BUILT.train, weights=BUILT.weights)
ZERO = initial_state(BUILT.manifest)
LINEAR = settings("river.linear_model.LinearRegression")
TREE = settings("river.tree.HoeffdingTreeRegressor")


def compute(wanted: RiverSettings, *buffered: Batch) -> RiverCompute:
    return RiverCompute(MODEL, wanted, lambda: buffered)


def infer(batch: Batch, personal: Arrays) -> Infer:
    windows = Windows(("tank",) * len(batch.time), batch.time, batch.window)
    return Infer(windows, {"released": MODEL.weights, "personal": personal})


def train(branch: BranchName, parameters: Arrays = MODEL.weights, state: Arrays = ZERO) -> Train:
    return Train(stream(16), parameters, state, (0.1,), branch)


def test_a_linear_model_takes_the_training_graphs_place_in_both_branches() -> None:
    computing = compute(LINEAR)
    personal = computing.train(train("personal"))
    contribution = computing.train(train("contribution"))
    graphs = Compute(MODEL).train(train("personal"))
    for name, array in personal.parameters.items():
        np.testing.assert_array_equal(contribution.parameters[name], array)
    assert (personal.parameters["head.weight"] != graphs.parameters["head.weight"]).any()


def test_what_a_linear_model_learned_is_predicted_by_the_bundle() -> None:
    computing, batch = compute(LINEAR), stream(5, seed=1)
    learned = computing.train(train("personal")).parameters
    ours = computing.infer(infer(batch, learned)).outputs
    bundles = Compute(MODEL).infer(infer(batch, learned)).outputs
    for model, predicted in bundles.items():
        np.testing.assert_array_equal(ours[model], predicted)


def test_a_model_that_stays_predicts_beside_the_release_once_it_has_learned() -> None:
    computing, batch = compute(TREE), stream(5, seed=1)
    before = computing.infer(infer(batch, MODEL.weights)).outputs
    np.testing.assert_array_equal(before["personal"], before["released"])
    made = computing.train(train("personal"))
    after = computing.infer(infer(batch, made.parameters)).outputs
    assert made.parameters is MODEL.weights
    np.testing.assert_array_equal(after["released"], before["released"])
    np.testing.assert_array_equal(
        after["personal"], computing.river.predict(batch.window, batch.time)
    )
    assert (after["personal"] != after["released"]).any()


def test_the_training_graph_makes_the_contribution_beside_a_model_that_stays() -> None:
    made = compute(TREE).train(train("contribution"))
    graphs = Compute(MODEL).train(train("contribution"))
    for name, array in graphs.parameters.items():
        np.testing.assert_array_equal(made.parameters[name], array)


def test_a_run_of_steps_is_its_steps_one_after_the_other() -> None:
    both, one_by_one = compute(LINEAR), compute(LINEAR)
    run = both.train(Train(stream(16), MODEL.weights, ZERO, (0.1, 0.2), "personal"))
    parameters, state = MODEL.weights, ZERO
    for batch, rate in Train(stream(16), MODEL.weights, ZERO, (0.1, 0.2), "personal").steps():
        made = one_by_one.train(Train(batch, parameters, state, (rate,), "personal"))
        parameters, state = made.parameters, made.state
    for name, array in parameters.items():
        np.testing.assert_array_equal(run.parameters[name], array)
    assert run.losses.shape == (16,)


@pytest.mark.parametrize("known", [True, False])
def test_a_model_that_stays_knows_the_buffer_before_its_first_prediction(known: bool) -> None:
    before, batch = compute(TREE), stream(5, seed=1)
    made = before.train(train("personal"))
    after = compute(TREE, stream(16))
    after.resume(MODEL.weights, made.state if known else ZERO)
    np.testing.assert_array_equal(
        after.infer(infer(batch, MODEL.weights)).outputs["personal"],
        before.infer(infer(batch, MODEL.weights)).outputs["personal"],
    )
