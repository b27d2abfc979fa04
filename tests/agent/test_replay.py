from __future__ import annotations

from collections.abc import Callable
from itertools import count as counting

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.events import Batch, Floats
from headwater_agent.replay import Hold, Replay, Replayed, never, orders
from headwater_models.arrays import Arrays
from headwater_models.fading import EVERY
from headwater_models.session import Trainer, initial_state
from tests.models.bundles import signed


class Mean:
    """A model of one number that gradient descent moves to the weighted mean of the labels."""

    def __init__(self) -> None:
        self.shapes: set[tuple[int, ...]] = set()
        self.seen: list[float] = []

    def step(
        self, batch: Batch, parameters: Arrays, state: Arrays, learning_rate: float
    ) -> tuple[Arrays, Arrays, Floats]:
        self.shapes.add(batch.window.shape)
        error = parameters["w"] - batch.label[:, 0]
        weight = batch.weight
        if learning_rate:
            self.seen += [float(x) for x in batch.label[weight > 0, 0]]
        total = float(weight.sum())
        gradient = float((weight * error).sum()) / total if total else 0.0
        moved = {"w": (parameters["w"] - learning_rate * gradient).astype(np.float32)}
        return moved, state, (error**2 / 2).astype(np.float32)


def examples(labels: list[float]) -> Batch:
    count = len(labels)
    return Batch(
        window=np.zeros((count, 2, 1), np.float32),
        time=np.arange(count, dtype=np.int64),
        label=np.array(labels, np.float32).reshape(-1, 1),
        weight=np.ones(count, np.float32),
    )


def run(
    labels: list[float],
    *,
    epochs: int = 1,
    batch: int = 4,
    seed: int = 0,
    hold: Hold | None = None,
    out_of_time: Callable[[], bool] = never,
) -> Replayed:
    return Replay(
        start={"w": np.zeros(1, np.float32)},
        state={},
        examples=examples(labels),
        epochs=epochs,
        batch=batch,
        learning_rate=0.1,
        seed=seed,
        hold=hold,
    ).run(Mean(), out_of_time)


@given(st.integers(1, 30), st.integers(1, 8), st.integers(1, 3))
def test_each_epoch_sees_every_example_once_in_batches_of_one_shape(
    count: int, batch: int, epochs: int
) -> None:
    model = Mean()
    labels = [float(number) for number in range(count)]
    Replay(
        start={"w": np.zeros(1, np.float32)},
        state={},
        examples=examples(labels),
        epochs=epochs,
        batch=batch,
        learning_rate=0.1,
        seed=1,
    ).run(model)
    assert model.shapes == {(batch, 2, 1)}
    assert sorted(model.seen) == sorted(labels * epochs)


def test_it_learns_and_says_by_how_much() -> None:
    made = run([3.0] * 10, epochs=60)
    assert made.examples == 10
    assert made.loss_before == 4.5
    assert made.loss_after < 0.01
    assert made.weights["w"] == pytest.approx(3.0, abs=0.1)


def test_rows_without_a_label_or_a_weight_are_left_out() -> None:
    batch = examples([1.0, float("nan"), 1.0, 100.0])
    batch.weight[3] = 0
    made = Replay(
        start={"w": np.ones(1, np.float32)},
        state={},
        examples=batch,
        epochs=3,
        batch=2,
        learning_rate=0.1,
        seed=0,
    ).run(Mean())
    assert made.examples == 2
    assert made.weights["w"] == 1.0
    assert (made.loss_before, made.loss_after) == (0.0, 0.0)


def test_without_examples_nothing_changes() -> None:
    made = run([])
    assert (made.examples, made.loss_before, made.loss_after) == (0, 0.0, 0.0)
    assert made.weights["w"] == 0


def test_the_same_seed_gives_the_same_weights_and_another_one_others() -> None:
    labels = [float(number) for number in range(20)]
    assert run(labels, seed=1).weights["w"] == run(labels, seed=1).weights["w"]
    assert run(labels, seed=1).weights["w"] != run(labels, seed=2).weights["w"]


def test_a_real_training_graph_learns_a_rising_level() -> None:
    bundle = signed()
    level = np.random.default_rng(0).uniform(1, 5, 200).astype(np.float32)
    window = np.stack([level, np.zeros_like(level)], axis=1)[:, None, :].repeat(3, axis=1)
    batch = Batch(window, np.zeros(200, np.int64), level[:, None] + 1, np.ones(200, np.float32))
    start = {name: array.copy() for name, array in bundle.weights.items()}
    made = Replay(
        start=bundle.weights,
        state=initial_state(bundle.manifest),
        examples=batch,
        epochs=5,
        batch=32,
        learning_rate=0.01,
        seed=0,
    ).run(Trainer(bundle.train))
    assert made.loss_after < made.loss_before / 2
    assert all((start[name] == bundle.weights[name]).all() for name in start)


@given(st.floats(0.01, 1_000), st.floats(-2, 2, width=32))
def test_what_is_held_ends_where_loss_and_proximal_term_are_smallest_together(
    mu: float, base: float
) -> None:
    made = run([3.0] * 4, epochs=400, hold=Hold({"w": np.array([base], np.float32)}, mu))
    assert made.weights["w"] == pytest.approx((3.0 + mu * base) / (1.0 + mu), abs=1e-3)


def test_what_is_not_held_moves_freely() -> None:
    held = run([3.0] * 10, hold=Hold({}, 5.0))
    assert held.weights["w"] == run([3.0] * 10).weights["w"]


@given(st.integers(1, 20), st.integers(1, 4), st.integers(1, 3), st.integers(1, 30))
def test_a_replay_that_is_cut_short_counts_the_examples_that_it_came_to(
    count: int, batch: int, epochs: int, steps: int
) -> None:
    taken = counting(1)
    labels = [float(number) for number in range(count)]
    made = run(labels, epochs=epochs, batch=batch, out_of_time=lambda: next(taken) >= steps)
    of_an_epoch = -(-count // batch)
    assert made.examples == (count if steps >= of_an_epoch else batch * steps)


def test_an_order_is_that_of_the_published_generators_outputs() -> None:
    """The first outputs of SplitMix64 from the seed 1234567, as its authors' C code gives them."""
    outputs = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    key = np.array([1234567], np.uint64)

    def order(number: int, count: int) -> list[int]:
        found: list[int] = orders(key, np.array([count]), number)[0].tolist()
        return found

    assert order(0, 5) == np.argsort(np.array(outputs, np.uint64)).tolist()
    assert order(1, 2) == np.argsort(np.array(outputs[2:4], np.uint64)).tolist()


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 9)), min_size=1, max_size=6))
def test_orders_drawn_together_are_those_drawn_alone(replays: list[tuple[int, int]]) -> None:
    keys = np.array([key for key, _ in replays], np.uint64)
    counts = np.array([count for _, count in replays])
    together = orders(keys, counts, 3)

    for place, (key, count) in enumerate(replays):
        alone = orders(np.array([key], np.uint64), np.array([count]), 3)[0]
        assert together[place, :count].tolist() == alone.tolist()
        assert sorted(alone.tolist()) == list(range(count))


def test_moments_that_have_faded_are_zero_after_some_steps() -> None:
    class Faint(Mean):
        def step(
            self, batch: Batch, parameters: Arrays, state: Arrays, learning_rate: float
        ) -> tuple[Arrays, Arrays, Floats]:
            moments.append(float(state["w.m"][0]))
            faint = {"w.m": np.full(1, 1e-39, np.float32)}
            return parameters, faint, super().step(batch, parameters, state, learning_rate)[2]

    moments: list[float] = []
    Replay(
        start={"w": np.zeros(1, np.float32)},
        state={"w.m": np.ones(1, np.float32)},
        examples=examples([1.0] * (EVERY + 2)),
        epochs=1,
        batch=1,
        learning_rate=0.1,
        seed=0,
    ).run(Faint())
    learning = [moment for moment in moments if moment != 1]
    assert [number for number, moment in enumerate(learning, 1) if not moment] == [EVERY]
