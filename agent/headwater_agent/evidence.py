"""Anytime-valid evidence that one forecaster is better than another.

Differences of bounded losses are bet on block by block; the wealth is an e-process: under the
null hypothesis that the first is never expected to be better than the second, it reaches 1/alpha
at any time whatever with probability at most alpha (Choe and Ramdas, "Comparing Sequential
Forecasters", Operations Research 2024; Waudby-Smith and Ramdas 2024 for betting).
"""

from __future__ import annotations

import math

import msgspec

STAKES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Shares of the wealth that are bet, side by side; the wealth is their mean."""

MAX_STARTS = 40
"""Most moments at which betting begins anew: block 0 and each power of two."""


class _Bets(msgspec.Struct, array_like=True):
    """Every other block: the logarithm of the wealth of each start and stake, and its highest."""

    blocks: int = 0
    starts: list[list[float]] = []
    highest: float = 0.0


class Evidence(msgspec.Struct, array_like=True):
    """Collect evidence that differences are above zero on average, with labels that come late.

    Predictions of a block are made before the labels of the block before it are all there, so
    even and odd blocks are bet on apart, each with what was known when its block began; the two
    are joined by adjusters of their highest wealth, which keeps the result valid whenever one
    looks (Choe and Ramdas, "Combining Evidence Across Filtrations", 2024). So that a bad start is
    forgiven, betting begins anew at block 1, 2, 4, ... with a fixed share of the wealth each.

    What a block brings is its sum over the largest count of any block before it, so that the
    number of predictions in a block cannot depend on how they turn out; the first block only
    counts. A difference beyond that number, or one that comes when its block is over, is left out.
    """

    block: int = -1
    reference: int = 0
    count: int = 0
    total: float = 0.0
    even: _Bets = msgspec.field(default_factory=_Bets)
    odd: _Bets = msgspec.field(default_factory=_Bets)

    def add(self, block: int, difference: float) -> None:
        """Count a difference.

        Parameters
        ----------
        block
            Number of the block of time in which the two predictions were made. A block must be
            as long as labels take to come.
        difference
            From -1 to 1, above 0 where the first forecaster was better.
        """
        if block > self.block:
            self._settle()
            self.reference = max(self.reference, self.count)
            self.block, self.count, self.total = block, 0, 0.0
        if block == self.block:
            self.count += 1
            if self.count <= self.reference:
                self.total += min(1.0, max(-1.0, difference))

    def value(self) -> float:
        """Return the evidence so far: compare it with 1/alpha."""
        return (_adjusted(self.even.highest) + _adjusted(self.odd.highest)) / 2

    def _settle(self) -> None:
        if not self.reference:
            return
        bets = self.odd if self.block % 2 else self.even
        if bets.blocks & (bets.blocks - 1) == 0 and len(bets.starts) < MAX_STARTS:
            bets.starts.append([0.0] * len(STAKES))
        bets.blocks += 1
        mean = self.total / self.reference
        for wealths in bets.starts:
            for i, stake in enumerate(STAKES):
                wealths[i] += math.log1p(stake * mean)
        bets.highest = max(bets.highest, _log_wealth(bets.starts))


def _log_wealth(starts: list[list[float]]) -> float:
    """Return the logarithm of the joint wealth; a start yet to come holds its share unbet."""
    shares = [1 / ((k + 1) * (k + 2)) for k in range(len(starts))]
    terms = [
        math.log(share / len(STAKES)) + wealth
        for share, wealths in zip(shares, starts, strict=True)
        for wealth in wealths
    ]
    rest = 1 - sum(shares)
    top = max(terms)
    return top + math.log(sum(math.exp(t - top) for t in terms) + rest * math.exp(-top))


def _adjusted(log_highest: float) -> float:
    """Return the adjuster ``(e - 1 - ln e) / (ln e)^2`` of the highest wealth e so far."""
    if log_highest < 1e-6:
        return 0.5
    capped = min(log_highest, 600.0)
    return (math.expm1(capped) - capped) / capped**2
