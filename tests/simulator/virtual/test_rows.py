"""The rows that many devices take in a step are those that each of them takes alone."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent import replay as agent
from headwater_agent.events import Batch
from headwater_agent.replay import Replay
from headwater_simulator.virtual import rows as simulator
from headwater_simulator.virtual.rows import Batches, Rows, mean_losses, usable_counts

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


def rows_of(alone: list[Replay], most: int | None = None) -> Rows:
    """The rows of trainings that come to all their steps, or so many at most."""
    counts = usable_counts(alone)
    in_pass = -(-counts // alone[0].batch)
    steps = in_pass * np.array([replay.epochs for replay in alone])
    return Rows(alone, counts, steps if most is None else np.minimum(steps, most))


def told(rows: Rows, batches: Batches, step: int, member: int) -> list[tuple[int, float]]:
    """The rows of a device that count in a step, and by how much."""
    times = rows.arrays["time"][batches.places[step, member]]
    weights = batches.weight[step, member]
    return [(t, w) for t, w in zip(times.tolist(), weights.tolist(), strict=True) if w]


@given(Sizes)
def test_the_rows_that_can_be_learned_from_are_counted(sizes: list[tuple[int, int]]) -> None:
    alone = replays(sizes, 4)

    counts = [replay.course().usable for replay in alone]
    known = [
        msgspec.structs.replace(replay, usable=count)
        for replay, count in zip(alone, counts, strict=True)
    ]

    for some in (alone, known, [*known[:-1], alone[-1]]):
        assert usable_counts(some).tolist() == counts


@given(Sizes, st.integers(1, 8))
def test_each_step_has_the_rows_of_each_device_alone(
    sizes: list[tuple[int, int]], batch: int
) -> None:
    alone = replays(sizes, batch)
    rows = rows_of(alone)
    batches = rows.course()

    courses = [replay.course() for replay in alone]
    longest = max(len(course.steps) for course in courses)
    assert batches.places.shape == batches.weight.shape == (longest, len(alone), batch)
    for member, (replay, course) in enumerate(zip(alone, courses, strict=True)):
        for step in range(longest):
            taken = course.steps[step].tolist() if step < len(course.steps) else []
            wanted = [
                (int(replay.examples.time[i]), float(replay.examples.weight[i])) for i in taken
            ]
            assert told(rows, batches, step, member) == wanted


@given(Sizes, st.integers(1, 8), st.integers(1, 9))
def test_what_was_learned_from_is_counted_as_alone(
    sizes: list[tuple[int, int]], batch: int, most: int
) -> None:
    alone = replays(sizes, batch)

    learned = rows_of(alone, most).learned

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
        rows = rows_of(alone)

        judged = rows.judged()
        losses = (rows.arrays["time"][judged.places] % 1_000).astype(np.float32)
        found, doubled = mean_losses(judged, losses, 2 * losses)

        for loss, replay in zip(found, alone, strict=True):
            own = replay.course().judged
            weight = replay.examples.weight[own].astype(float)
            time = replay.examples.time[own] % 1_000
            wanted = float(time @ weight / weight.sum()) if len(own) else 0.0
            assert loss == pytest.approx(wanted)
        assert doubled == pytest.approx([2 * loss for loss in found])


@given(Sizes, st.integers(1, 8))
def test_no_device_is_filled_up_with_the_rows_of_another(
    sizes: list[tuple[int, int]], batch: int
) -> None:
    alone = replays(sizes, batch)
    rows = rows_of(alone)

    for batches in (rows.course(), rows.judged()):
        times = rows.arrays["time"][batches.places]
        for member, replay in enumerate(alone):
            allowed = {*replay.examples.time.tolist()} if replay.course().usable else {0}
            assert {*times[:, member].ravel().tolist()} <= allowed
