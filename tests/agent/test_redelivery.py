from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.redelivery import Redelivery
from headwater_agent.transport import Message, receipt_of


def message(packet: int, content: str = "21.5", connection: int = 1, topic: str = "t") -> Message:
    receipt = receipt_of(connection, packet) if packet else 0
    return Message(topic, content.encode(), min(packet, 1), False, receipt)


def sort(redelivery: Redelivery, *messages: Message) -> tuple[list[Message], list[int]]:
    return redelivery.sort(messages, resumed=True)


def test_what_is_sent_again_on_the_next_connection_is_a_repetition() -> None:
    redelivery = Redelivery((), reach=10)
    first = [message(packet, str(packet)) for packet in (1, 2, 3)]
    assert sort(redelivery, *first) == (first, [])
    again = [message(packet, str(packet), connection=2) for packet in (2, 3)]
    new = message(4, "4", connection=2)
    assert sort(redelivery, *again, new) == ([new], [one.receipt for one in again])


def test_what_is_said_again_on_the_same_connection_is_new() -> None:
    redelivery = Redelivery((), reach=10)
    same = [message(packet) for packet in (1, 2, 1)]
    assert sort(redelivery, *same) == (same, [])


def test_the_same_reading_under_another_packet_id_is_new() -> None:
    redelivery = Redelivery((), reach=10)
    sort(redelivery, message(1), message(2))
    new = message(3, connection=2)
    assert sort(redelivery, new) == ([new], [])


def test_another_content_or_topic_under_the_same_packet_id_is_new() -> None:
    redelivery = Redelivery((), reach=10)
    sort(redelivery, message(1), message(2))
    new = [message(1, "22.5", connection=2), message(2, connection=2, topic="u")]
    assert sort(redelivery, *new) == (new, [])


def test_each_message_is_a_repetition_once() -> None:
    redelivery = Redelivery((), reach=10)
    sort(redelivery, message(1))
    twice = [message(1, connection=2), message(1, connection=2)]
    assert sort(redelivery, *twice) == ([twice[1]], [twice[0].receipt])


def test_only_as_many_as_can_be_sent_again_are_remembered_and_looked_at() -> None:
    redelivery = Redelivery((), reach=3)
    sort(redelivery, *(message(packet) for packet in range(1, 6)))
    again = [message(packet, connection=2) for packet in (1, 2, 3, 5)]
    fresh, repeated = sort(redelivery, *again)
    assert fresh == [again[0], again[1], again[3]]
    assert repeated == [again[2].receipt]


def test_a_message_without_a_receipt_is_never_a_repetition() -> None:
    redelivery = Redelivery((), reach=3)
    once = message(0)
    assert sort(redelivery, once, once) == ([once, once], [])


def test_the_next_run_knows_what_this_one_stored() -> None:
    redelivery = Redelivery((), reach=10)
    messages = [message(packet, str(packet)) for packet in (1, 2, 3)]
    sort(redelivery, *messages)
    stored = redelivery.fingerprints([one.receipt for one in messages[:2]])
    assert redelivery.fingerprints([messages[0].receipt]) == []
    after = Redelivery(stored, reach=10)
    again = [message(packet, str(packet), connection=1) for packet in (1, 2, 3)]
    assert sort(after, *again) == ([again[2]], [one.receipt for one in again[:2]])


@given(
    st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=30),
    st.lists(st.integers(0, 8), max_size=6),
)
def test_however_often_the_connection_breaks_every_message_is_taken_up_once(
    contents: list[str], breaks: list[int]
) -> None:
    """The broker sends again the last few of what it sent, then what is new."""
    redelivery = Redelivery((), reach=8)
    taken: list[str] = []
    sent, connection = 0, 1
    for lost in [*breaks, 0]:
        sent = max(0, sent - lost)
        until = min(len(contents), sent + 8)
        batch = [message(i + 1, contents[i], connection) for i in range(sent, until)]
        fresh, repeated = redelivery.sort(batch, resumed=True)
        assert len(fresh) + len(repeated) == len(batch)
        taken += [one.payload.decode() for one in fresh]
        sent, connection = until, connection + 1
    assert taken == contents[:sent]


@given(st.lists(st.binary(max_size=20), max_size=20))
def test_a_fingerprint_fits_what_it_is_stored_in(payloads: list[bytes]) -> None:
    redelivery = Redelivery((), reach=100)
    messages = [
        Message("t", payload, 1, False, receipt_of(1, 65_535 - i))
        for i, payload in enumerate(payloads)
    ]
    redelivery.sort(messages, resumed=True)
    found = redelivery.fingerprints([one.receipt for one in messages])
    assert all(0 <= fingerprint < 2**63 for fingerprint in found)


def test_nothing_is_a_repetition_where_the_broker_does_not_know_the_session_any_more() -> None:
    """Its packet ids begin again, and a sensor at rest says the same again and again."""
    redelivery = Redelivery((), reach=10)
    sort(redelivery, message(1), message(2))
    new = [message(1, connection=2), message(2, connection=2)]
    assert redelivery.sort(new, resumed=False) == (new, [])
