"""A peer has an account of its own: a burst, a rate, and a number of requests at a time."""

from __future__ import annotations

from contextlib import ExitStack

from headwater_coordinator import limits
from headwater_coordinator.limits import Peers


def admits(peers: Peers, peer: str, now: float) -> bool:
    with peers.admitted(peer, now) as admitted:
        return admitted


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    peers = Peers(rate=2.0, burst=3, concurrency=10)
    assert [admits(peers, "a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert [admits(peers, "a", 0.5), admits(peers, "a", 0.5)] == [True, False]


def test_one_peer_does_not_use_up_anothers_account() -> None:
    peers = Peers(rate=1.0, burst=1, concurrency=10)
    assert admits(peers, "a", 0.0)
    assert admits(peers, "b", 0.0)


def test_only_so_many_requests_are_served_at_a_time() -> None:
    peers = Peers(rate=100.0, burst=100, concurrency=2)
    with ExitStack() as active:
        assert active.enter_context(peers.admitted("a", 0.0))
        assert active.enter_context(peers.admitted("a", 0.0))
        assert not active.enter_context(peers.admitted("a", 0.0))
    assert admits(peers, "a", 0.0)


def test_peers_that_are_long_gone_are_forgotten() -> None:
    peers = Peers(rate=1.0, burst=10, concurrency=1)
    for number in range(limits._MOST_PEERS):
        admits(peers, str(number), 0.0)
    admits(peers, "new", 11.0)
    assert len(peers._accounts) == 1
