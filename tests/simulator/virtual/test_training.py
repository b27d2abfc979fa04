"""What devices learn in one call is what each of them learns alone, but for rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import msgspec
import numpy as np
import pytest

from headwater.errors import BundleError, UnsupportedError
from headwater.settings import Duration
from headwater_agent.events import Batch, Train
from headwater_agent.replay import Hold, Replay, Replayed
from headwater_models.arrays import Arrays
from headwater_models.graphs.builders import Built, ModelSpec, build
from headwater_models.graphs.builders.specification import Kind
from headwater_models.manifest import Channel, Grid, Optimiser, Reserve
from headwater_models.session import Trainer, initial_state
from headwater_models.stepping import Stepper
from headwater_simulator.virtual import cohort, training
from headwater_simulator.virtual.cohort import Stacks, stacked
from headwater_simulator.virtual.rows import Rows
from headwater_simulator.virtual.training import FleetTrainer, Job, Line, Tally, all_processors

KINDS: tuple[Kind, ...] = ("linear", "mlp", "resnet", "cnn", "gru")
OPTIMISERS = {
    "sgd": Optimiser(name="sgd", learning_rate=0.02),
    "momentum": Optimiser(name="momentum", learning_rate=0.01),
    "adam": Optimiser(name="adam", learning_rate=0.01),
    "adamw": Optimiser(name="adamw", learning_rate=0.01),
}
ROWS = (0, 1, 7, 40, 23, 80)
ONE_STEP, FIFTY_STEPS = 1e-5, 1e-4
"""How far weights may be apart, relative to the largest of their array."""


@cache
def built(kind: Kind = "mlp", optimiser: str = "sgd") -> Built:
    spec = ModelSpec(
        kind=kind,
        name="level",
        task="forecast",
        channels=(
            Channel(name="level", unit="m", minimum=-3.0, maximum=3.0),
            Channel(name="rain", unit="mm", minimum=-3.0, maximum=3.0),
        ),
        grid=Grid(period=Duration(60_000), max_gap=Duration(120_000)),
        window=6,
        target="level",
        horizon=Duration(60_000),
        loss="mse",
        reserve=Reserve(block=Duration(1_200_000)),
        hidden=(5, 4),
        optimiser=OPTIMISERS[optimiser],
    )
    return build(spec, np.random.default_rng(0))


def examples(rows: int, seed: int = 0) -> Batch:
    """Waves with gaps; a row in eight has no label, and the first one's is broken."""
    rng = np.random.default_rng([seed, rows])
    window = rng.standard_normal((rows, 6, 2)).astype(np.float32)
    label = window[:, -1:, 0] + np.float32(0.1) * window[:, :1, 1]
    window[rng.random(window.shape) < 0.05] = np.nan
    label[rng.random(label.shape) < 0.125] = np.nan
    label[:1] = np.inf if rows > 1 else 0.5
    weight = rng.uniform(0.5, 2, rows).astype(np.float32)
    return Batch(window, np.arange(rows, dtype=np.int64) * 60_000, label, weight)


def job(model: Built, rows: int, seed: int, *, epochs: int = 1, mu: float = 0.0) -> Job:
    """A training from weights that are the device's own."""
    rng = np.random.default_rng(seed)
    start = {
        name: (array + 0.05 * rng.standard_normal(array.shape)).astype(np.float32)
        for name, array in model.weights.items()
    }
    replay = Replay(
        start=start,
        state=initial_state(model.manifest),
        examples=examples(rows, seed),
        epochs=epochs,
        batch=8,
        learning_rate=model.manifest.optimiser.learning_rate,
        seed=seed,
        hold=Hold(dict(model.weights), mu) if mu else None,
    )
    return Job(replay)


@cache
def fleet(kind: Kind, optimiser: str) -> FleetTrainer:
    return FleetTrainer(built(kind, optimiser).train, Tally())


@cache
def device(train: bytes) -> Trainer:
    return Trainer(train)


def alone(model: Built, one: Job) -> Replayed:
    """What the agent itself makes of a training."""
    trainer = device(model.train)
    if one.steps is None:
        return one.replay.run(trainer)
    taken = iter(range(1, 1_000))
    return one.replay.run(trainer, lambda: next(taken) == one.steps)


def distance(ours: Arrays, theirs: Arrays) -> float:
    """The largest difference of two sets of weights, relative to the largest of each array."""
    assert ours.keys() == theirs.keys()
    return max(
        float(np.abs(ours[name] - theirs[name]).max() / max(np.abs(theirs[name]).max(), 1e-3))
        for name in theirs
    )


def agree(ours: Sequence[Replayed], theirs: Sequence[Replayed], within: float) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        assert distance(mine.weights, other.weights) <= within
        assert mine.examples == other.examples
        assert mine.loss_before == pytest.approx(other.loss_before, rel=1e-5, abs=1e-6)
        assert mine.loss_after == pytest.approx(other.loss_after, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("kind", KINDS)
def test_one_step_together_is_one_step_alone(kind: Kind, optimiser: str) -> None:
    model = built(kind, optimiser)
    jobs = [
        msgspec.structs.replace(job(model, rows, seed), steps=1) for seed, rows in enumerate(ROWS)
    ]

    made = fleet(kind, optimiser).replay(jobs)

    agree(made, [alone(model, one) for one in jobs], ONE_STEP)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("kind", KINDS)
def test_fifty_steps_together_are_fifty_steps_alone(kind: Kind, optimiser: str) -> None:
    model = built(kind, optimiser)
    budgets = (None, 50, 33, 17)
    jobs = [
        msgspec.structs.replace(job(model, 40 + 9 * seed, seed, epochs=10, mu=0.1), steps=steps)
        for seed, steps in enumerate(budgets)
    ]

    made = fleet(kind, optimiser).replay(jobs)

    agree(made, [alone(model, one) for one in jobs], FIFTY_STEPS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_network_that_is_built_can_be_stacked(kind: Kind) -> None:
    model, tally = built(kind), Tally()

    FleetTrainer(model.train, tally).replay([job(model, 20, seed) for seed in range(3)])

    assert (tally.stacked, tally.looped) == (3, 0)


def test_the_results_are_in_the_order_of_the_jobs_whatever_goes_together() -> None:
    model = built()
    jobs = [job(model, rows, seed, mu=0.5 * (seed % 2)) for seed, rows in enumerate(ROWS * 2)]
    jobs[3] = Job(msgspec.structs.replace(jobs[3].replay, batch=4))
    jobs[4] = Job(msgspec.structs.replace(jobs[4].replay, learning_rate=0.5))

    made = FleetTrainer(model.train, Tally()).replay(jobs)

    agree(made, [alone(model, one) for one in jobs], 1e-4)


def test_a_proximal_term_holds_what_is_learned_near_to_the_base() -> None:
    model = built()
    free, held = (job(model, 80, 1, epochs=5, mu=mu) for mu in (0.0, 50.0))
    tally = Tally()

    far, near = (
        distance(made.weights, dict(model.weights))
        for made in FleetTrainer(model.train, tally).replay([free, held])
    )

    assert near < far / 2
    assert (tally.stacked, tally.looped) == (2, 0)


def test_a_device_that_has_no_step_left_keeps_its_weights_bit_for_bit() -> None:
    model = built("mlp", "adam")
    short, long = job(model, 40, 1, epochs=9), job(model, 80, 2, epochs=20)
    trainer = FleetTrainer(model.train, Tally())

    stopped = [
        trainer.replay(
            [msgspec.structs.replace(short, steps=4), msgspec.structs.replace(long, steps=steps)]
        )[0].weights
        for steps in (4, 5, 7)  # so that both are in one call
    ]

    for weights in stopped[1:]:
        assert all(weights[name].tobytes() == stopped[0][name].tobytes() for name in weights)


@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_device_that_has_nothing_to_learn_from_keeps_what_it_started_with(
    one_by_one: bool,
) -> None:
    model = built()
    jobs = [job(model, rows, seed) for seed, rows in enumerate((40, 0, 23, 0))]

    made = FleetTrainer(model.train, Tally(), one_by_one=one_by_one).replay(jobs)

    for mine, one in zip(made[1::2], jobs[1::2], strict=True):
        assert (mine.examples, mine.loss_before, mine.loss_after) == (0, 0.0, 0.0)
        for name, array in one.replay.start.items():
            assert mine.weights[name].tobytes() == array.tobytes()
    assert FleetTrainer(model.train, Tally()).replay([]) == []


def test_many_devices_are_cut_into_calls_and_come_out_as_in_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, tally = built(), Tally()
    jobs = [job(model, 20 + seed, seed) for seed in range(7)]
    whole = FleetTrainer(model.train, Tally()).replay(jobs)

    monkeypatch.setattr(training, "MEMBERS", 3)
    made = FleetTrainer(model.train, tally).replay(jobs)

    agree(made, whole, ONE_STEP)
    assert tally.stacked == 7


def test_no_call_has_more_windows_than_memory_is_stated_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = built()
    jobs = [job(model, rows, rows) for rows in (20, 17, 40, 24, 20, 17)]
    whole = FleetTrainer(model.train, Tally()).replay(jobs)
    laid_out: list[int] = []

    def watched(replays: Sequence[Replay], *more: Any, timed: bool) -> Rows:
        laid_out.append(sum(len(replay.examples.weight) for replay in replays))
        return Rows(replays, *more, timed=timed)

    monkeypatch.setattr(cohort, "Rows", watched)
    monkeypatch.setattr(training, "WINDOWS_BYTES", 39 * jobs[0].replay.examples.window[0].nbytes)
    made = FleetTrainer(model.train, Tally()).replay(jobs)

    agree(made, whole, ONE_STEP)
    assert sorted(laid_out) == [24, 37, 37, 40]


def test_what_cannot_be_stacked_is_done_alone_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> bytes:
        raise UnsupportedError("There is no rule for Loop.")

    monkeypatch.setattr(training, "stack", refuse)
    monkeypatch.setattr(training, "replay_many", refuse)
    model, tally = built(), Tally()
    jobs = [
        msgspec.structs.replace(job(model, rows, seed), steps=3) for seed, rows in enumerate(ROWS)
    ]
    trainer = FleetTrainer(model.train, tally)

    made = trainer.replay(jobs)
    trainer.train(steps(model, 3))

    assert (tally.stacked, tally.looped) == (0, len(jobs) + 3)
    for mine, theirs in zip(made, [alone(model, one) for one in jobs], strict=True):
        assert mine.loss_after == theirs.loss_after
        assert distance(mine.weights, theirs.weights) == 0.0


def steps(model: Built, count: int) -> list[Train]:
    """Single steps of devices, of full batches."""
    found = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        window = rng.standard_normal((4, 6, 2)).astype(np.float32)
        batch = Batch(window, np.zeros(4, np.int64), window[:, -1, :1], np.ones(4, np.float32))
        start = job(model, 4, seed).replay.start
        found.append(Train(batch, start, initial_state(model.manifest), (0.01,), "personal"))
    return found


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_single_steps_of_many_are_those_of_each(
    optimiser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "MEMBERS", 3)
    model, tally = built("mlp", optimiser), Tally()
    wanted = steps(model, 7)
    wanted[2] = replace(wanted[2], learning_rates=(0.2,))

    made = FleetTrainer(model.train, tally).train(wanted)

    trainer = Trainer(model.train)
    for mine, one in zip(made, wanted, strict=True):
        weights, state, loss = trainer.step(
            one.batch, one.parameters, one.state, *one.learning_rates
        )
        assert distance(mine.parameters, weights) <= ONE_STEP
        for name, array in state.items():
            np.testing.assert_allclose(mine.state[name], array, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(mine.losses, loss, rtol=1e-5, atol=1e-6)
    assert (tally.stacked, tally.looped) == (7, 0)


def test_runs_of_steps_of_different_lengths_are_their_steps() -> None:
    model = built("mlp", "adam")
    wanted = [
        replace(one, learning_rates=(0.01, 0.02)[: 1 + n % 2])
        for n, one in enumerate(steps(model, 3))
    ]

    made = FleetTrainer(model.train, Tally()).train(wanted)

    for mine, one in zip(made, wanted, strict=True):
        rest = one.parameters, one.state, one.learning_rates
        weights, _, losses = Stepper(model.train).steps(one.batch, *rest)
        assert distance(mine.parameters, weights) <= 2 * ONE_STEP
        np.testing.assert_allclose(mine.losses, losses, rtol=1e-4, atol=1e-6)


def test_what_one_wants_first_is_there_whatever_was_begun_before() -> None:
    model = built()
    jobs = [job(model, 20 + 8 * seed, seed) for seed in range(40)]
    trainer = FleetTrainer(model.train, Tally())
    whole = trainer.replay(jobs)

    with pytest.MonkeyPatch.context() as patch, all_processors() as pool:
        patch.setattr(training, "MEMBERS", 3)
        promises = trainer.begin(jobs, Line(pool))
        made = [promises[i]() for i in reversed(range(40))]

        assert promises[0]() is promises[0]()
    agree(made[::-1], whole, ONE_STEP)


def test_only_a_few_calls_are_laid_out_before_their_results_are_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "MEMBERS", 2)
    model = built()
    jobs = [job(model, 20, seed) for seed in range(20)]
    laid_out: list[int] = []

    def watched(*given: Any, timed: bool) -> Rows:
        laid_out.append(1)
        return Rows(*given, timed=timed)

    monkeypatch.setattr(cohort, "Rows", watched)
    with all_processors() as pool:
        promises = FleetTrainer(model.train, Tally()).begin(jobs, Line(pool))
        assert len(laid_out) == training.AHEAD
        promises[0]()
        promises[1]()
        assert len(laid_out) == training.AHEAD + 1
        for promise in promises:
            promise()
        assert len(laid_out) == 10


def test_no_more_calls_are_laid_out_for_others_while_those_are_not_wanted() -> None:
    model = built()
    with pytest.MonkeyPatch.context() as patch, all_processors() as pool:
        patch.setattr(training, "MEMBERS", 2)
        line, trainer = Line(pool), FleetTrainer(model.train, Tally())
        laid_out: list[int] = []
        begin = cohort.Cohort.begin

        def watched(one: cohort.Cohort, pool: Any) -> bool:
            begun = begin(one, pool)
            laid_out.extend([1] * begun)
            return begun

        patch.setattr(cohort.Cohort, "begin", watched)
        first = trainer.begin([job(model, 20, seed) for seed in range(2 * training.AHEAD)], line)
        then = trainer.begin([job(model, 20, seed) for seed in range(4)], line)
        assert len(laid_out) == training.AHEAD

        del first

        then[0]()
        assert len(laid_out) == training.AHEAD + 2


def test_where_the_change_is_told_weights_are_only_when_they_are_wanted() -> None:
    model = built()
    names = [array.name for array in model.manifest.shared]
    trainer, jobs = FleetTrainer(model.train, Tally(), shared=names), [job(model, 20, 1)]

    with all_processors() as pool:
        (brief,) = [promise() for promise in trainer.begin(jobs, Line(pool))]
    (whole,) = trainer.replay(jobs)

    assert brief.weights == {}
    assert brief.change is not None
    assert whole.change is not None
    np.testing.assert_array_equal(brief.change, whole.change)
    moved = [whole.weights[name] - jobs[0].replay.start[name] for name in names]
    np.testing.assert_allclose(whole.change, np.concatenate([m.ravel() for m in moved]), atol=1e-6)


def test_changes_are_known_to_be_finite_where_all_of_a_call_are() -> None:
    model = built()
    names = [array.name for array in model.manifest.shared]
    trainer, jobs = FleetTrainer(model.train, Tally(), shared=names), [job(model, 20, 1)] * 2

    assert all(made.finite for made in trainer.replay(jobs))

    lost = {name: np.full_like(array, np.nan) for name, array in jobs[0].replay.start.items()}
    jobs[0] = Job(msgspec.structs.replace(jobs[0].replay, start=lost))
    assert not any(made.finite for made in trainer.replay(jobs))


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("mu", [0.0, 0.1])
def test_devices_that_begin_alike_come_to_what_each_comes_to_alone(
    optimiser: str, mu: float
) -> None:
    model = built("mlp", optimiser)
    start = job(model, 1, 0).replay.start
    jobs = [
        Job(msgspec.structs.replace(job(model, rows, seed, epochs=2, mu=mu).replay, start=start))
        for seed, rows in enumerate(ROWS)
    ]

    made = fleet("mlp", optimiser).replay(jobs)

    agree(made, [alone(model, one) for one in jobs], FIFTY_STEPS)


def test_an_error_of_a_call_reaches_whoever_needs_its_result() -> None:
    model = built()
    good, bad = job(model, 20, 1), job(model, 20, 2)
    examples = bad.replay.examples
    broken = msgspec.structs.replace(
        bad.replay, examples=Batch(examples.window[:, :3], *_rest(examples)), learning_rate=0.5
    )

    with all_processors() as pool:
        promises = FleetTrainer(model.train, Tally()).begin([good, Job(broken)], Line(pool))

        agree([promises[0]()], [alone(model, good)], ONE_STEP)
        with pytest.raises(BundleError, match="cannot run on these arrays"):
            promises[1]()


def _rest(batch: Batch) -> tuple[Any, ...]:
    return batch.time, batch.label, batch.weight


def test_no_call_has_more_devices_than_memory_is_stated_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "MEMBERS", 3)
    sizes = []

    def watched(members: Sequence[Arrays]) -> Stacks:
        sizes.append(len(members))
        return stacked(members)

    for module in (training, cohort):
        monkeypatch.setattr(module, "stacked", watched)
    model = built()
    trainer = FleetTrainer(model.train, Tally())

    trainer.train(steps(model, 7))
    trainer.replay([job(model, 20, seed) for seed in range(7)])

    assert max(sizes) == 3
