from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headwater_agent import backlog
from headwater_agent.backlog import Backlog
from headwater_agent.transport import Message


def messages(*numbers: int) -> list[Message]:
    return [Message("t", b"", 1, False, number) for number in numbers]


def test_what_comes_goes_on_at_once() -> None:
    waiting = Backlog()
    came = messages(1, 2)
    assert waiting.next(came, hold=False) == came
    assert len(waiting) == 0


def test_what_is_held_goes_first_afterwards() -> None:
    waiting = Backlog()
    first, second = messages(1), messages(2)
    assert waiting.next(first, hold=True) == []
    assert len(waiting) == 1
    assert waiting.next(second, hold=False) == first + second


def test_a_flood_is_cut_into_pieces() -> None:
    waiting = Backlog()
    came = messages(*range(backlog.AT_ONCE + 5))
    assert waiting.next(came, hold=False) == came[: backlog.AT_ONCE]
    assert waiting.next((), hold=False) == came[backlog.AT_ONCE :]


def test_no_more_wait_than_a_device_can_hold() -> None:
    waiting = Backlog()
    came = messages(*range(backlog.MOST))
    assert waiting.next(came[1:], hold=True) == []
    assert len(waiting.next(came[:1], hold=True)) == backlog.AT_ONCE


@given(st.lists(st.tuples(st.integers(0, 3_000), st.booleans()), max_size=12))
def test_every_message_is_handed_out_once_and_in_order(story: list[tuple[int, bool]]) -> None:
    waiting, number = Backlog(), 0
    out: list[int] = []
    for count, hold in story:
        came = messages(*range(number, number + count))
        number += count
        out += [one.receipt for one in waiting.next(came, hold=hold)]
    while waiting:
        out += [one.receipt for one in waiting.next((), hold=False)]
    assert out == list(range(number))
