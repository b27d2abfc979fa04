from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from headwater_agent.deliveries import FIRST_PACKET_ID, Deliveries
from headwater_agent.packets import PacketError

LARGEST = 1 << 28


@dataclass
class Sent:
    """A PUBLISH of QoS 1 on the topic ``t``, as a broker sees it."""

    packet_id: int
    payload: bytes
    again: bool
    retain: bool

    @classmethod
    def of(cls, packet: bytes) -> Sent:
        first, _, _, _, topic = packet[:5]
        assert (first & 0xF6, topic) == (0x32, ord("t"))
        packet_id, payload = int.from_bytes(packet[5:7], "big"), packet[8:]
        return cls(packet_id, payload, bool(first & 8), bool(first & 1))


def sent(deliveries: Deliveries) -> list[Sent]:
    return [Sent.of(packet) for packet in deliveries.take()]


def put(deliveries: Deliveries, payload: bytes) -> int:
    (token,) = deliveries.put([("t", payload)], retain=False)
    return token


def started(window: int = 20, *, limit: int = 100, messages: int = 0) -> Deliveries:
    made = Deliveries(v5=True, limit=limit)
    made.resume(window, LARGEST, session_present=False)
    for n in range(messages):
        put(made, b"%d" % n)
    return made


def payloads(found: list[Sent]) -> list[int]:
    return [int(message.payload) for message in found]


def test_as_many_are_in_flight_as_the_window_says() -> None:
    made = started(window=20, messages=50)
    first = sent(made)
    assert payloads(first) == list(range(20))
    assert made.take() == []
    made.acknowledge([(first[0].packet_id, 0)])
    assert payloads(sent(made)) == [20]


def test_tokens_come_back_in_the_order_of_the_acknowledgements() -> None:
    made = started()
    tokens = [put(made, b"%d" % n) for n in range(3)]
    assert len(set(tokens)) == 3
    assert all(tokens)
    for message in sent(made):
        assert made.delivered() == []
        made.acknowledge([(message.packet_id, 0)])
        assert made.delivered() == [tokens[int(message.payload)]]
    assert not made


def test_an_acknowledgement_counts_once() -> None:
    made = started(messages=1)
    (message,) = sent(made)
    made.acknowledge([(message.packet_id, 0)])
    made.acknowledge([(message.packet_id, 0)])
    made.acknowledge([(999, 0)])
    assert len(made.delivered()) == 1


def test_nothing_is_sent_before_the_broker_has_accepted_us() -> None:
    made = Deliveries(v5=True, limit=10)
    put(made, b"0")
    assert made.take() == []


def test_where_the_session_was_kept_the_same_packets_come_again_in_order() -> None:
    made = started(window=3, messages=5)
    before = sent(made)
    made.acknowledge([(before[1].packet_id, 0)])
    made.resume(3, LARGEST, session_present=True)
    after = sent(made)
    assert payloads(after) == [0, 2, 3]
    assert [m.again for m in after] == [True, True, False]
    assert [m.packet_id for m in after[:2]] == [before[0].packet_id, before[2].packet_id]


def test_where_the_session_is_gone_they_are_sent_as_new_in_order() -> None:
    made = started(window=3, messages=5)
    before = sent(made)
    made.acknowledge([(before[1].packet_id, 0)])
    made.resume(3, LARGEST, session_present=False)
    after = sent(made)
    assert payloads(after) == [0, 2, 3]
    assert not any(m.again for m in after)
    assert not {m.packet_id for m in after} & {m.packet_id for m in before}


def test_a_smaller_window_of_the_next_connection_holds_for_what_comes_again() -> None:
    made = started(window=4, messages=6)
    before = sent(made)
    made.resume(2, LARGEST, session_present=True)
    assert payloads(sent(made)) == [0, 1]
    made.acknowledge([(before[0].packet_id, 0)])
    (third,) = sent(made)
    assert (third.packet_id, third.again) == (before[2].packet_id, True)


def test_the_oldest_makes_room() -> None:
    made = started(limit=10, messages=13)
    assert made.dropped == 3
    assert payloads(sent(made)) == list(range(3, 13))
    assert made.delivered() == [1, 2, 3]


def test_of_many_at_once_the_oldest_make_room_too() -> None:
    made = started(limit=10, messages=4)
    messages = [("t", b"%d" % n) for n in range(4, 17)]
    assert list(made.put(messages, retain=False)) == list(range(5, 18))
    assert payloads(sent(made)) == list(range(7, 17))
    assert (made.dropped, made.delivered()) == (7, list(range(1, 8)))


def test_what_is_in_flight_is_not_dropped() -> None:
    made = started(window=2, limit=3, messages=2)
    sent(made)
    for n in range(2, 9):
        put(made, b"%d" % n)
    made.resume(20, LARGEST, session_present=True)
    assert payloads(sent(made)) == [0, 1, 6, 7, 8]


def test_the_lead_goes_before_the_queue_and_after_what_comes_again() -> None:
    made = started(window=1, messages=2)
    sent(made)
    made.resume(5, LARGEST, session_present=True)
    made.lead("t", b"77", retain=True)
    made.lead("t", b"88", retain=True)
    after = sent(made)
    assert payloads(after) == [0, 88, 1]
    assert [m.retain for m in after] == [False, True, False]


def test_the_lead_has_no_token() -> None:
    made = started()
    made.lead("t", b"88", retain=True)
    (lead,) = sent(made)
    made.acknowledge([(lead.packet_id, 0)])
    assert made.delivered() == []
    assert not made


def test_the_lead_of_a_lost_session_is_not_sent_again() -> None:
    made = started()
    made.lead("t", b"88", retain=True)
    sent(made)
    made.resume(5, LARGEST, session_present=False)
    assert sent(made) == []


def test_what_is_acknowledged_before_it_comes_again_does_not_come_again() -> None:
    made = started(window=3, messages=3)
    before = sent(made)
    made.resume(1, LARGEST, session_present=True)
    made.acknowledge([(before[0].packet_id, 0), (before[1].packet_id, 0)])
    assert payloads(sent(made)) == [2]
    assert made.take() == []


def test_packet_ids_are_used_again_only_when_they_are_free() -> None:
    made = started(window=2)
    put(made, b"0")
    (stays,) = sent(made)
    for n in range(70_000):
        put(made, b"%d" % n)
        (other,) = sent(made)
        assert FIRST_PACKET_ID <= other.packet_id <= 65_535
        assert other.packet_id != stays.packet_id
        made.acknowledge([(other.packet_id, 0)])


def test_many_at_once_get_the_packet_ids_that_are_free() -> None:
    made = started(window=4, limit=70_000)
    for n in range(65_520):
        put(made, b"%d" % n)
        (other,) = sent(made)
        if n not in (3, 5):
            made.acknowledge([(other.packet_id, 0)])
    made.resume(20, LARGEST, session_present=True)
    assert [m.packet_id - FIRST_PACKET_ID for m in sent(made)] == [3, 5]
    made.put([("t", b"%d" % n) for n in range(30)], retain=False)
    found = sent(made)
    assert payloads(found) == list(range(18))
    ids = [*range(65_522, 65_536), *(FIRST_PACKET_ID + n for n in (0, 1, 2, 4))]
    assert [m.packet_id for m in found] == ids


def test_a_message_that_the_broker_refuses_is_counted_and_not_sent_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = started()
    with caplog.at_level(logging.WARNING):
        tokens = [put(made, b"%d" % n) for n in range(2)]
        for message in sent(made):
            made.acknowledge([(message.packet_id, 0x87)])
    assert made.refused == 2
    assert made.delivered() == tokens
    (line,) = caplog.messages
    assert "a message on t was refused: the broker says 0x87" in line
    made.resume(5, LARGEST, session_present=False)
    assert sent(made) == []


def test_an_acknowledgement_without_a_subscriber_is_none_the_less_one() -> None:
    made = started(messages=1)
    (message,) = sent(made)
    made.acknowledge([(message.packet_id, 0x10)])
    assert (len(made.delivered()), made.refused) == (1, 0)


def test_a_message_larger_than_the_broker_takes_does_not_hold_up_the_others() -> None:
    made = Deliveries(v5=True, limit=10)
    made.resume(20, 50, session_present=False)
    large = put(made, b"x" * 43)
    put(made, b"x" * 42)
    assert [len(packet) for packet in made.take()] == [50]
    assert (made.delivered(), made.refused) == ([large], 1)


def test_a_topic_that_mqtt_does_not_allow_is_refused_at_once() -> None:
    made = started()
    with pytest.raises(PacketError):
        made.put([("t", b""), ("t/+", b"")], retain=False)
    assert not made


@dataclass
class Session:
    """What a broker holds of us: messages it took, by the order of their first arrival."""

    taken: list[int] = field(default_factory=list)
    unacknowledged: list[Sent] = field(default_factory=list)
    known: dict[int, int] = field(default_factory=dict)


class Delivering(RuleBasedStateMachine):
    """A broker that acknowledges late, loses connections, and keeps the session or not."""

    @initialize(window=st.integers(1, 5))
    def start(self, window: int) -> None:
        self.made = Deliveries(v5=True, limit=1000)
        self.window = window
        self.session = Session()
        self.tokens: list[int] = []
        self.delivered: list[int] = []
        self.lost_session = False
        self.numbers = itertools.count()
        self.made.resume(window, LARGEST, session_present=False)

    @rule()
    def put(self) -> None:
        self.tokens.append(put(self.made, b"%d" % next(self.numbers)))

    @rule()
    def take(self) -> None:
        for message in sent(self.made):
            number = int(message.payload)
            if message.again:
                assert self.session.known[message.packet_id] == number
            else:
                assert all(m.packet_id != message.packet_id for m in self.session.unacknowledged)
                self.session.known[message.packet_id] = number
                self.session.taken.append(number)
            self.session.unacknowledged.append(message)

    @precondition(lambda self: self.session.unacknowledged)
    @rule()
    def acknowledge(self) -> None:
        self.made.acknowledge([(self.session.unacknowledged.pop(0).packet_id, 0)])
        self.delivered += self.made.delivered()

    @rule(kept=st.booleans(), window=st.integers(1, 5))
    def reconnect(self, kept: bool, window: int) -> None:
        self.session.unacknowledged.clear()
        self.lost_session |= not kept
        self.window = window
        self.made.resume(window, LARGEST, session_present=kept)

    @invariant()
    def the_window_is_kept(self) -> None:
        if hasattr(self, "session"):
            assert len(self.session.unacknowledged) <= self.window

    @invariant()
    def tokens_come_once_and_in_order(self) -> None:
        if hasattr(self, "session"):
            assert self.delivered == self.tokens[: len(self.delivered)]

    def teardown(self) -> None:
        if not hasattr(self, "session"):
            return
        while self.made:
            self.take()
            while self.session.unacknowledged:
                self.acknowledge()
        assert self.delivered == self.tokens
        first = list(dict.fromkeys(self.session.taken))
        assert first == list(range(len(self.tokens)))
        if not self.lost_session:
            assert self.session.taken == first


TestDelivering = Delivering.TestCase
TestDelivering.settings = settings(max_examples=100, stateful_step_count=40)
