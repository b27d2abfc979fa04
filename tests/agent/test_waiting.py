from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.events import Batch, Example
from headwater_agent.kept import Kept
from headwater_agent.waiting import MAX_BYTES, MAX_WAITING, Waiting

SIZE = 4


def example(sequence: int) -> Example:
    window, label = np.full((3, 2), sequence, np.float32), float(sequence % 2)
    return Example(sequence, f"tank-{sequence % 3}", 10 * sequence, window, label, reserved=False)


def waiting(count: int, *, normal_alone: bool = False) -> Waiting:
    made = Waiting(SIZE, normal_alone=normal_alone)
    made.add([example(number) for number in range(1, count + 1)])
    return made


def sequences(batch: Batch) -> list[int]:
    return [round(float(number)) for number in batch.window[:, 0, 0]]


def test_a_batch_holds_its_examples_in_their_order() -> None:
    batch, through = waiting(6).take(1)
    assert (sequences(batch), through) == ([1, 2, 3, 4], 4)
    assert (batch.window.shape, batch.time.tolist()) == ((4, 3, 2), [10, 20, 30, 40])
    assert (batch.label.tolist(), batch.weight.tolist()) == ([[1], [0], [1], [0]], [1] * 4)


def test_only_whole_batches_are_counted() -> None:
    made = waiting(11)
    assert (len(made), made.batches) == (11, 2)
    made.take(1)
    assert (len(made), made.batches) == (7, 1)


def test_examples_that_are_not_normal_can_have_no_weight() -> None:
    assert waiting(4, normal_alone=True).take(1)[0].weight.tolist() == [0, 1, 0, 1]


def test_it_is_overfull_by_number_or_by_memory_but_never_with_two_batches() -> None:
    def holding(count: int, width: int) -> Waiting:
        made = Waiting(SIZE)
        windows = np.zeros((count, 1, width), np.float32)
        numbers = np.arange(1, count + 1)
        labels, reserved = np.zeros(count, np.float32), np.zeros(count, np.bool_)
        made.add(Kept(numbers, ["tank"] * count, numbers, windows, labels, reserved))
        return made

    quarter = MAX_BYTES // 16
    assert [holding(count, 1).overfull for count in (MAX_WAITING, MAX_WAITING + 1)] == [False, True]
    assert [holding(count, quarter // 4).overfull for count in (16, 17)] == [False, True]
    assert not holding(2 * SIZE, quarter).overfull


def test_a_label_is_corrected_where_its_example_waits() -> None:
    made = waiting(8)
    made.take(1)
    assert made.correct(6, 7.0)
    assert not made.correct(3, 7.0)
    assert made.take(1)[0].label.tolist() == [[1], [7], [1], [0]]


CHANGES: dict[str, Callable[[Waiting], object]] = {
    "correct": lambda waiting: waiting.correct(9, 5.0),
    "leave_out": lambda waiting: waiting.leave_out("tank-1"),
    "thin": Waiting.thin,
    "clear": Waiting.clear,
    "add": lambda waiting: waiting.add([example(number) for number in range(100, 120)]),
}


@given(st.lists(st.sampled_from(sorted(CHANGES)) | st.integers(1, 9), max_size=12))
def test_it_makes_no_difference_how_many_batches_are_taken_together(
    story: list[str | int],
) -> None:
    together, one_by_one = waiting(40), waiting(40)
    for step in story:
        if isinstance(step, str):
            for made in (together, one_by_one):
                CHANGES[step](made)
        elif count := min(step, together.batches):
            whole, last = together.take(count)
            parts = [one_by_one.take(1) for _ in range(count)]
            assert sequences(whole) == [number for one, _ in parts for number in sequences(one)]
            assert whole.window.flags.c_contiguous
            assert last == parts[-1][1]
            np.testing.assert_array_equal(whole.label, np.concatenate([p.label for p, _ in parts]))
    assert len(together) == len(one_by_one)
