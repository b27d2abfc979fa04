from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent import backlog
from headwater_agent.backlog import AT_ONCE, OVERHEAD, Backlog
from headwater_agent.transport import Message


def messages(*numbers: int) -> list[Message]:
    return [Message("t", b"", 1, False, number) for number in numbers]


def test_what_comes_goes_on_at_once() -> None:
    waiting = Backlog()
    came = messages(1, 2)
    assert waiting.next(came, room=2) == came
    assert len(waiting) == 0


def test_what_waits_goes_first_afterwards() -> None:
    waiting = Backlog()
    first, second = messages(1), messages(2)
    assert waiting.next(first, room=0) == []
    assert len(waiting) == 1
    assert waiting.next(second, room=9) == first + second


def test_no_more_go_on_than_there_is_room_for() -> None:
    waiting = Backlog()
    came = messages(1, 2, 3, 4)
    assert waiting.next(came, room=3) == came[:3]
    assert waiting.next((), room=3) == came[3:]


def test_a_flood_is_cut_into_pieces() -> None:
    waiting = Backlog()
    came = messages(*range(AT_ONCE + 5))
    assert waiting.next(came, room=3 * AT_ONCE) == came[:AT_ONCE]
    assert waiting.next((), room=3 * AT_ONCE) == came[AT_ONCE:]


def test_a_hundred_thousand_messages_may_wait() -> None:
    waiting = Backlog()
    came = [Message("t", bytes(200), 1, False, number) for number in range(100_000)]
    assert waiting.next(came, room=0) == []
    assert len(waiting) == 100_000


def test_no_more_wait_than_a_device_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MOST_BYTES", 3 * (OVERHEAD + 10))
    waiting = Backlog()
    came = [Message("t", bytes(10), 1, False, number) for number in range(4)]
    assert waiting.next(came[:3], room=0) == []
    assert waiting.next(came[3:], room=0) == came
    assert waiting.next(came[:3], room=0) == []


@given(st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 3_000)), max_size=12))
def test_every_message_is_handed_out_once_in_order_and_where_there_is_room(
    story: list[tuple[int, int]],
) -> None:
    waiting, numbers = Backlog(), count()
    sent = 0
    out: list[int] = []
    for new, room in story:
        came = messages(*(next(numbers) for _ in range(new)))
        sent += new
        now = waiting.next(came, room=room)
        assert len(now) == min(room, AT_ONCE, sent - len(out))
        out += [one.receipt for one in now]
    while waiting:
        out += [one.receipt for one in waiting.next((), room=AT_ONCE)]
    assert out == list(range(sent))
