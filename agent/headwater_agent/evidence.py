"""Anytime-valid evidence that one of two forecasters is better than the other.

Differences of bounded losses are bet on block by block; the wealth is an e-process: under the
null hypothesis that the one is never expected to be better than the other, it reaches 1/alpha
at any time whatever with probability at most alpha (Choe and Ramdas, "Comparing Sequential
Forecasters", Operations Research 2024; Waudby-Smith and Ramdas 2024 for betting).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

STAKES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Shares of the wealth that are bet, side by side; the wealth is their mean."""

MAX_STARTS = 40
"""Most moments at which betting begins anew: block 0 and each power of two."""

TOGETHER = 1_024
"""Most blocks that are paid out in one go."""

FEW = 16
"""Fewer differences are counted faster one by one."""

_BOTH_WAYS = np.array([STAKES, STAKES]) * [[1.0], [-1.0]]
"""The stakes on the first forecaster and on the second."""

Numbers = NDArray[np.float64]
Blocks = NDArray[np.int64]
Means = Sequence[float] | Numbers


class _Bets(msgspec.Struct, array_like=True):
    """Every other block: what was won from the first on, and the highest wealth of each side.

    Logarithms, as all wealth here. ``won`` holds float64 ``[2, 6]``: on either forecaster, with
    each stake; ``logs`` ``[S, 2, 6]`` what was lost by then where a start began, so that the wealth
    of a start is the sum of both. Without ``won``, ``logs`` are the wealth itself, as an older
    program kept it.
    """

    blocks: int = 0
    logs: bytes = b""
    highest: tuple[float, float] = (0.0, 0.0)
    won: bytes = b""

    def settle(self, means: Means) -> None:
        """Pay out blocks in their order, each with the mean difference that it brought."""
        if len(means) and not self.won:
            self.won = bytes(_BOTH_WAYS.nbytes)
        for chunk in self._between_starts(means):
            steps = np.log1p(np.multiply.outer(_BOTH_WAYS, chunk))
            steps[:, :, 0] += np.frombuffer(self.won).reshape(_BOTH_WAYS.shape)
            won = steps.cumsum(axis=2)
            first, second = _joint(won, self.logs).max(axis=1).tolist()
            self.highest = max(self.highest[0], first), max(self.highest[1], second)
            self.won = won[:, :, -1].tobytes()
            self.blocks += len(chunk)

    def _between_starts(self, means: Means) -> Iterator[Means]:
        """Begin anew where that is due, and yield the blocks up to there in pieces."""
        done = 0
        while done < len(means):
            blocks = self.blocks
            if blocks & (blocks - 1) == 0 and len(self.logs) < MAX_STARTS * _BOTH_WAYS.nbytes:
                self.logs += (-np.frombuffer(self.won)).tobytes()
            following = (1 << blocks.bit_length()) - blocks if blocks else 1
            until = done + min(following, TOGETHER)
            yield means[done:until]
            done = until


class Evidence(msgspec.Struct, array_like=True):
    """Collect evidence that differences are above or below zero on average, from late labels.

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

    def add(self, blocks: Blocks, differences: Numbers) -> None:
        """Count differences in the order in which their labels came.

        It makes no difference how they are cut into calls.

        Parameters
        ----------
        blocks
            ``[N]``, the blocks of time in which the two predictions were made. A block must be as
            long as labels take to come.
        differences
            ``[N]``, from -1 to 1, above 0 where the first forecaster was better.
        """
        add = self._add_few if len(blocks) < FEW else self._add_many
        even, odd = add(blocks, differences)
        self.even.settle(even)
        self.odd.settle(odd)

    def _add_few(self, blocks: Blocks, differences: Numbers) -> tuple[Means, Means]:
        """Count differences; return what the even and the odd blocks brought that are over."""
        over: tuple[list[float], list[float]] = ([], [])
        newest, reference, count, total = self.block, self.reference, self.count, self.total
        for block, difference in zip(blocks.tolist(), differences.tolist(), strict=True):
            if block > newest:
                if reference:
                    over[newest % 2].append(total / reference)
                reference = max(reference, count)
                newest, count, total = block, 0, 0.0
            if block == newest:
                count += 1
                if count <= reference:
                    within = -1.0 <= difference <= 1.0
                    total += difference if within else math.copysign(1.0, difference)
        self.block, self.reference, self.count, self.total = newest, reference, count, total
        return over

    def _add_many(self, blocks: Blocks, differences: Numbers) -> tuple[Means, Means]:
        """Do what :meth:`_add_few` does; the open block's total goes before the differences."""
        in_time = blocks >= np.maximum.accumulate(np.maximum(blocks, self.block))
        blocks = np.concatenate([[self.block], blocks[in_time]])
        begins = np.flatnonzero(np.diff(blocks, prepend=self.block - 1))
        numbers, lengths = blocks[begins], np.diff(begins, append=len(blocks))
        of_block = np.arange(len(numbers)).repeat(lengths)
        places = np.arange(len(blocks)) - begins[of_block] + 1
        places[: lengths[0]] += self.count - 1
        lengths[0] += self.count - 1
        references = np.maximum.accumulate(np.append(self.reference, lengths[:-1]))
        counted = places <= references[of_block]
        counted[0] = True
        within = differences[in_time]
        within = np.where(np.abs(within) <= 1.0, within, np.copysign(1.0, within))
        shares = np.concatenate([[self.total], within])
        totals = np.bincount(of_block[counted], shares[counted], len(numbers))
        self.block, self.reference = int(numbers[-1]), int(references[-1])
        self.count, self.total = int(lengths[-1]), float(totals[-1])
        over = np.flatnonzero(references[:-1])
        means, odd = totals[over] / references[over], numbers[over] % 2 == 1
        return means[~odd], means[odd]

    def copy(self) -> Evidence:
        """Return the same evidence, to go on with apart."""
        return replace(self, even=replace(self.even), odd=replace(self.odd))

    def for_first(self) -> float:
        """Return the evidence that the first forecaster is better: compare it with 1/alpha."""
        return (_adjusted(self.even.highest[0]) + _adjusted(self.odd.highest[0])) / 2

    def for_second(self) -> float:
        """Return the evidence that the second forecaster is better."""
        return (_adjusted(self.even.highest[1]) + _adjusted(self.odd.highest[1])) / 2


def _joint(won: Numbers, logs: bytes) -> Numbers:
    """Return the logarithm ``[2, K]`` of the joint wealth after each of K blocks.

    All starts win the same from block to block, so those that there are can be joined before.

    Parameters
    ----------
    won
        ``[2, 6, K]``, from the first block on.
    logs
        ``[S, 2, 6]``, until a start began; one that is yet to come holds its share unbet.
    """
    starts, joined = _starts(logs)
    rest = 1 / (starts + 1)
    by_stake = won + joined
    top = np.maximum(by_stake.max(axis=1), math.log(rest))
    shifted = np.exp(by_stake - top[:, None]).sum(axis=1) + rest * np.exp(-top)
    return np.asarray(top + np.log(shifted))


@lru_cache(maxsize=256)
def _starts(logs: bytes) -> tuple[int, Numbers]:
    """Return how many starts there are, and ``[2, 6, 1]``: the logarithms joined by their shares.

    They stay the same for as many blocks as there were before.
    """
    lost = np.frombuffer(logs).reshape(-1, *_BOTH_WAYS.shape)
    number = np.arange(len(lost))
    shares = 1 / ((number + 1) * (number + 2))
    joined = np.logaddexp.reduce(lost + np.log(shares / len(STAKES))[:, None, None], axis=0)
    return len(lost), joined[:, :, None]


def _adjusted(log_highest: float) -> float:
    """Return the adjuster ``(e - 1 - ln e) / (ln e)^2`` of the highest wealth e so far."""
    if log_highest < 1e-6:
        return 0.5
    capped = min(log_highest, 600.0)
    return (math.expm1(capped) - capped) / capped**2
