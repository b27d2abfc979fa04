"""How much one peer may ask of the front: a token bucket and a number at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_MOST_PEERS = 10_000


@dataclass(slots=True)
class _Account:
    tokens: float
    seen: float
    active: int = 0


class Peers:
    """Accounts of all peers, by address; those long idle are forgotten.

    Parameters
    ----------
    rate
        Requests per second that a peer may make for ever.
    burst
        Requests that it may make at once.
    concurrency
        Requests of one peer that are served at a time.

    Examples
    --------
    >>> peers = Peers(rate=1.0, burst=1, concurrency=4)
    >>> with peers.admitted("192.0.2.7", now=0.0) as first:
    ...     first
    True
    >>> with peers.admitted("192.0.2.7", now=0.5) as second:
    ...     second
    False
    """

    def __init__(self, rate: float, burst: int, concurrency: int) -> None:
        self._rate = rate
        self._burst = burst
        self._concurrency = concurrency
        self._accounts: dict[str, _Account] = {}

    @contextmanager
    def admitted(self, peer: str, now: float) -> Iterator[bool]:
        """Say whether a request may be served, and count it as active while inside.

        Parameters
        ----------
        peer
            Address of the peer.
        now
            Monotonic seconds.
        """
        account = self._account(peer, now)
        admitted = account.tokens >= 1 and account.active < self._concurrency
        if admitted:
            account.tokens -= 1
            account.active += 1
        try:
            yield admitted
        finally:
            if admitted:
                account.active -= 1

    def _account(self, peer: str, now: float) -> _Account:
        account = self._accounts.get(peer)
        if account is None:
            self._forget(now)
            account = self._accounts[peer] = _Account(self._burst, now)
        account.tokens = min(self._burst, account.tokens + (now - account.seen) * self._rate)
        account.seen = now
        return account

    def _forget(self, now: float) -> None:
        """Drop the peers whose bucket is full again, once there are many."""
        if len(self._accounts) < _MOST_PEERS:
            return
        full = self._burst / self._rate
        self._accounts = {
            peer: account
            for peer, account in self._accounts.items()
            if account.active or now - account.seen < full
        }
