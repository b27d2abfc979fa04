from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from headwater_agent.events import Batch
from headwater_agent.replay import Replay
from headwater_agent.rivers.settings import RiverSettings
from headwater_agent.rivers.step import STATE, RiverStep, sharing_step
from headwater_agent.sync import pack_arrays, unpack_arrays
from headwater_models.arrays import Arrays
from headwater_models.bundle import Bundle
from headwater_models.session import Trainer, initial_state
from tests.agent.rivers.bundles import bundle, personal, settings, stream

ADAM = settings("river.linear_model.LinearRegression", arguments={"optimizer": "river.optim.Adam"})
SCALED = settings(
    "river.linear_model.LinearRegression", before=["river.preprocessing.StandardScaler"]
)
TREE = settings("river.tree.HoeffdingTreeRegressor", arguments={"grace_period": 20})
BUILT = bundle("forecast")
ZERO = initial_state(BUILT.manifest)


def nothing() -> Iterator[Batch]:
    raise AssertionError("the buffer is read where the state would do")
    yield


def buffered() -> list[Batch]:
    return [stream(16, seed=seed) for seed in range(3)]


def step(wanted: RiverSettings = ADAM) -> RiverStep:
    return RiverStep(personal(wanted, BUILT), Trainer(BUILT.train), nothing)


def run(
    stepping: RiverStep, parameters: Arrays, state: Arrays, seeds: range
) -> tuple[Arrays, Arrays]:
    for seed in seeds:
        parameters, state, _ = stepping.step(stream(16, seed=seed), parameters, state, 0.1)
    return parameters, state


def stored(arrays: Arrays) -> Arrays:
    return unpack_arrays(pack_arrays(arrays))


def same(one: Arrays, other: Arrays) -> bool:
    return one.keys() == other.keys() and all((one[n] == other[n]).all() for n in one)


def test_a_step_learns_the_batch_from_the_parameters_it_is_given() -> None:
    first, _ = run(step(), BUILT.weights, ZERO, range(1))
    further, _ = run(step(), first, ZERO, range(1, 2))
    assert not same(first, BUILT.weights)
    assert not same(further, first)


@pytest.mark.parametrize("wanted", [ADAM, SCALED])
def test_steps_after_a_checkpoint_are_those_of_an_undisturbed_run(wanted: RiverSettings) -> None:
    undisturbed = run(step(wanted), BUILT.weights, ZERO, range(6))
    parameters, state = run(step(wanted), BUILT.weights, ZERO, range(3))
    restarted = run(step(wanted), stored(parameters), stored(state), range(3, 6))
    assert same(undisturbed[0], restarted[0])
    assert same(undisturbed[1], restarted[1])


def test_a_state_that_was_reset_starts_the_optimiser_anew() -> None:
    stepping = step()
    run(stepping, BUILT.weights, ZERO, range(3))
    again = run(stepping, BUILT.weights, ZERO, range(1))
    assert same(again[0], run(step(), BUILT.weights, ZERO, range(1))[0])


def test_a_model_that_keeps_no_state_learns_the_buffer_again_after_a_checkpoint() -> None:
    batch = stream(20, seed=9)
    trainer = Trainer(BUILT.train)
    before, after = personal(TREE, BUILT), personal(TREE, BUILT)
    parameters, state = run(RiverStep(before, trainer, nothing), BUILT.weights, ZERO, range(3))
    assert state[STATE].size == 0
    RiverStep(after, trainer, buffered).resume(stored(state))
    np.testing.assert_array_equal(
        after.predict(batch.window, batch.time), before.predict(batch.window, batch.time)
    )
    assert same(parameters, BUILT.weights)


def test_losses_are_those_of_the_training_graph_before_the_step() -> None:
    _, _, losses = step().step(stream(16), BUILT.weights, ZERO, 0.1)
    _, _, want = Trainer(BUILT.train).step(stream(16), BUILT.weights, ZERO, 0.0)
    np.testing.assert_array_equal(losses, want)


def test_at_a_rate_of_zero_nothing_is_learned() -> None:
    parameters, state, _ = step().step(stream(16), BUILT.weights, ZERO, 0.0)
    assert parameters is BUILT.weights
    assert state is ZERO


def test_rows_of_weight_zero_are_judged_and_not_learned() -> None:
    batch = stream(16)
    silent = Batch(batch.window, batch.time, batch.label, np.zeros(16, np.float32))
    parameters, _, losses = step().step(silent, BUILT.weights, ZERO, 0.1)
    assert same(parameters, BUILT.weights)
    assert losses.all()


def test_a_model_that_ran_away_leaves_the_parameters_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wild = {"model": "river.optim.SGD", "arguments": {"lr": 1e9}}
    arguments = {"optimizer": wild, "clip_gradient": 1e300}
    stepping = step(settings("river.linear_model.LinearRegression", arguments=arguments))
    parameters, state = BUILT.weights, ZERO
    for seed in range(4):
        kept = parameters
        parameters, state = run(stepping, parameters, state, range(seed, seed + 1))
    assert parameters is kept
    assert caplog.text.count("is paused") == 1


def test_an_update_for_the_fleet_can_be_made_by_replay() -> None:
    made = Replay(
        start=BUILT.weights,
        state=ZERO,
        examples=stream(400),
        epochs=2,
        batch=16,
        learning_rate=0.1,
        seed=0,
    ).run(step(settings("river.linear_model.LinearRegression")))
    assert made.examples == 400
    assert made.loss_after < 0.1 * made.loss_before


def test_an_update_is_made_by_river_only_where_its_weights_can_be_shared() -> None:
    model = Bundle(
        manifest=BUILT.manifest, infer=BUILT.infer, train=BUILT.train, weights=BUILT.weights
    )
    graph = Trainer(BUILT.train)
    assert isinstance(sharing_step(ADAM, model, graph), RiverStep)
    assert sharing_step(SCALED, model, graph) is graph
    assert sharing_step(TREE, model, graph) is graph
