"""A buffer is a list of the newest examples, whatever is taken out of it when."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from headwater_agent.events import Batch, Example
from headwater_simulator.buffer import FIRST, Buffer
from tests.models.bundles import tiny

MANIFEST = tiny().manifest
SHAPE = MANIFEST.window, len(MANIFEST.channels)


def example(sequence: int) -> Example:
    return Example(
        sequence=sequence,
        stream=f"tank-{sequence % 3}",
        time=1_000 * sequence,
        window=np.full(SHAPE, sequence, np.float32),
        label=sequence / 2,
        reserved=False,
    )


def hold(batch: Batch, expected: list[Example]) -> None:
    """Hold a batch to be of these examples."""
    assert batch.time.tolist() == [one.time for one in expected]
    assert batch.window.shape == (len(expected), *SHAPE)
    assert batch.window[:, 0, 0].tolist() == [one.sequence for one in expected]
    assert batch.label.tolist() == [[one.sequence / 2] for one in expected]
    assert batch.weight.tolist() == [1.0] * len(expected)
    assert (str(batch.window.dtype), str(batch.time.dtype)) == ("float32", "int64")


class AsAList(RuleBasedStateMachine):
    """A buffer beside a list."""

    def __init__(self) -> None:
        super().__init__()
        self.given_out: list[tuple[Batch, list[Example]]] = []
        self.kept: list[Example] = []
        self.sequence = 0

    @initialize(most=st.sampled_from((1, 3, FIRST - 1, FIRST, FIRST + 1, 500)))
    def make(self, most: int) -> None:
        self.most, self.buffer = most, Buffer(most, MANIFEST)

    @rule(gaps=st.lists(st.integers(1, 3), min_size=1, max_size=90))
    def append(self, gaps: list[int]) -> None:
        for gap in gaps:
            self.sequence += gap
            self.kept.append(example(self.sequence))
            self.buffer.append(self.kept[-1])
        self.kept = self.kept[-self.most :]

    @rule(back=st.integers(-2, 80))
    def take_out(self, back: int) -> None:
        through = self.sequence - back
        taken = [one for one in self.kept if one.sequence <= through]
        batch = self.buffer.batch(through=through)
        hold(batch, taken)
        self.given_out.append((batch, taken))
        after = self.buffer.after(through)
        assert all(one.label == one.sequence / 2 for one in after)
        assert [one.sequence for one in after] == [
            one.sequence for one in self.kept if one.sequence > through
        ]
        for ours, theirs in zip(after, self.kept[len(taken) :], strict=True):
            assert (ours.stream, ours.time, ours.reserved) == (theirs.stream, theirs.time, False)
            np.testing.assert_array_equal(ours.window, theirs.window)
            np.testing.assert_array_equal(ours.label, theirs.label)

    @invariant()
    def it_holds_the_newest(self) -> None:
        if hasattr(self, "buffer"):
            hold(self.buffer.batch(), self.kept)

    @invariant()
    def what_was_given_out_never_changes(self) -> None:
        for batch, expected in self.given_out:
            hold(batch, expected)


def test_it_is_a_list_of_the_newest() -> None:
    run_state_machine_as_test(AsAList, settings=settings(max_examples=25, stateful_step_count=12))


def test_an_empty_one_gives_an_empty_batch() -> None:
    buffer = Buffer(10, MANIFEST)

    hold(buffer.batch(), [])
    assert buffer.after(-1) == []


@given(st.integers(1, 400), st.integers(1, 2_000))
@settings(max_examples=20)
def test_it_takes_no_more_room_than_twice_what_it_keeps(most: int, count: int) -> None:
    buffer = Buffer(most, MANIFEST)
    for sequence in range(count):
        buffer.append(example(sequence))

    base = buffer.batch().time.base

    assert base is not None
    assert len(base) <= max(FIRST, 2 * min(most, count))


def test_what_is_put_in_is_copied() -> None:
    buffer, one = Buffer(10, MANIFEST), example(1)
    buffer.append(one)

    one.window[:] = -1

    assert buffer.batch().window.max() == pytest.approx(1.0)
