"""The rows that many devices take in a step are those that each of them takes alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent import replay as agent
from headwater_agent.events import Batch
from headwater_agent.replay import Replay
from headwater_simulator.virtual import rows as simulator
from headwater_simulator.virtual.rows import Cut, Rows

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Sizes = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 3)), min_size=1, max_size=6)


def replays(sizes: list[tuple[int, int]], batch: int) -> list[Replay]:
    """Devices with so many rows and epochs; the row's time tells it from all others."""
    made = []
    for seed, (rows, epochs) in enumerate(sizes):
        rng = np.random.default_rng(seed)
        label = rng.choice([1.0, 2.0, np.nan], (rows, 1)).astype(np.float32)
        weight = rng.choice([0.0, 0.5, 1.0], rows).astype(np.float32)
        time = np.arange(rows, dtype=np.int64) + 1_000 * (seed + 1)
        window = np.zeros((rows, 1, 1), np.float32)
        made.append(
            Replay(
                start={},
                state={},
                examples=Batch(window, time, label, weight),
                epochs=epochs,
                batch=batch,
                learning_rate=0.1,
                seed=2**200 + seed,
            )
        )
    return made


def told(cut: Cut, place: int) -> list[tuple[int, float]]:
    """The rows of a device that count in a step, and by how much."""
    pairs = zip(cut["time"][place].tolist(), cut["weight"][place].tolist(), strict=True)
    return [(time, weight) for time, weight in pairs if weight]


@given(Sizes, st.integers(1, 8))
def test_each_step_has_the_rows_of_each_device_alone(
    sizes: list[tuple[int, int]], batch: int
) -> None:
    alone = replays(sizes, batch)
    rows = Rows(alone)
    steps = rows.steps([None] * len(alone))
    courses = [replay.course() for replay in alone]
    assert steps.tolist() == [len(course.steps) for course in courses]

    order = np.argsort(-steps, kind="stable")
    rows.reorder(order)
    steps = steps[order]
    for k in range(int(steps[0])):
        active = int((steps > k).sum())
        cut = rows.step(k, active)
        for place in range(active):
            replay, course = alone[order[place]], courses[order[place]]
            wanted = [
                (int(replay.examples.time[i]), float(replay.examples.weight[i]))
                for i in course.steps[k]
            ]
            assert told(cut, place) == wanted
            assert cut["time"].shape == (active, batch)


@given(Sizes, st.integers(1, 8), st.integers(1, 9))
def test_what_was_learned_from_is_counted_as_alone(
    sizes: list[tuple[int, int]], batch: int, most: int
) -> None:
    alone = replays(sizes, batch)
    rows = Rows(alone)

    learned = rows.learned(rows.steps([most] * len(alone)))

    for count, replay in zip(learned, alone, strict=True):
        course = replay.course()
        taken = sum(map(len, course.steps[:most]))
        assert count == min(taken, course.usable)


@pytest.mark.parametrize("most", [3, 2_048])
@given(Sizes, st.integers(1, 8))
def test_devices_are_judged_on_the_rows_that_they_are_judged_on_alone(
    most: int, sizes: list[tuple[int, int]], batch: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agent, "LOSS_ROWS", most)
        patch.setattr(simulator, "LOSS_ROWS", most)
        alone = replays(sizes, batch)
        seen: list[Cut] = []

        def losses(cut: Cut) -> Floats:
            seen.append(cut)
            assert not cut["weight"].any()
            return (cut["time"] % 1_000).astype(np.float32)

        found = Rows(alone).mean_losses(losses)

        for loss, replay in zip(found, alone, strict=True):
            judged = replay.course().judged
            weight = replay.examples.weight[judged].astype(float)
            time = replay.examples.time[judged] % 1_000
            wanted = float(time @ weight / weight.sum()) if len(judged) else 0.0
            assert loss == pytest.approx(wanted)
