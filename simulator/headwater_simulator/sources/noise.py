"""Autocorrelated noise that can be read at any row: of any device, in any order, always the same.

The noise is cut into blocks of :data:`BLOCK` rows. Philox counts, and what it gives at a count
needs nothing of what came before: a block's white noise is what it gives at (block, level, device)
(Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011). A block is an AR(1) process
that is tied to the values at both of its ends (a bridge: the law of the process given its ends).
The ends are a series of the same kind, one for each block, with the memory that is left after a
block: white where that is next to nothing, else noise of the next level, in blocks again. So the
correlation is that of AR(1) within blocks and over their borders, and each block is one product of
a matrix with white noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

BLOCK = 256
"""Rows of a block."""

FORGOTTEN = 1e-3
"""A correlation that counts as none."""

NOTHING = 1e-20
"""What a float32 can barely hold."""

TRAITS, MISSING, DRIFT = 100, 101, 102
"""Levels for what is drawn beside the noise; drifts have one each, from the last one on."""


class Chance:
    """Random numbers by their place.

    Parameters
    ----------
    seed
        Of all of them.
    """

    def __init__(self, seed: int) -> None:
        self._philox = np.random.Philox(key=seed)
        self._state = self._philox.state
        self._counter = self._state["state"]["counter"]
        self._generator = np.random.Generator(self._philox)

    def at(self, device: int, level: int, block: int) -> np.random.Generator:
        """Return a generator that stands at a place, until the next one is asked for."""
        self._counter[:] = 0, block, level, device
        self._philox.state = self._state
        return self._generator


class Noise:
    """AR(1) noise with mean 0 and deviation 1, in channels that know nothing of each other.

    Parameters
    ----------
    chance
        Where it comes from.
    channels
        Number of channels C.
    memory
        Correlation from one row to the next, from 0 to below 1.
    """

    def __init__(self, chance: Chance, channels: int, memory: float) -> None:
        self._chance = chance
        self._channels = channels
        self._bridges = [bridge(memory)]
        while (memory := memory**BLOCK) >= FORGOTTEN:
            self._bridges.append(bridge(memory))

    def block(self, device: int, block: int) -> Floats:
        """Return one block of a device, float32 ``[BLOCK, C]``."""
        return self._block(device, 0, block)

    def _block(self, device: int, level: int, block: int) -> Floats:
        drawn = np.empty((BLOCK + 2, self._channels), np.float32)
        drawn[0], drawn[-1] = self._ends(device, level + 1, block)
        self._chance.at(device, level, block).standard_normal(dtype=np.float32, out=drawn[1:-1])
        return np.asarray(self._bridges[level] @ drawn, np.float32)

    def _ends(self, device: int, level: int, block: int) -> Sequence[Floats] | Floats:
        """Return the values at the beginning of a block and of the next one."""
        if level == len(self._bridges):
            return [self._white(device, level, place) for place in (block, block + 1)]
        first = self._block(device, level, block // BLOCK)
        inside = block % BLOCK
        if inside + 1 < BLOCK:
            return first[inside : inside + 2]
        return first[inside], self._block(device, level, block // BLOCK + 1)[0]

    def _white(self, device: int, level: int, place: int) -> Floats:
        return self._chance.at(device, level, place).standard_normal(self._channels, np.float32)


def bridge(memory: float) -> Floats:
    """Return what makes a block out of its first value, white noise, and the next block's first.

    Returns
    -------
    numpy.ndarray
        float32 ``[BLOCK, BLOCK + 2]``.
    """
    rows = np.arange(BLOCK + 1)
    apart = rows[:, None] - rows
    free = np.where(apart >= 0, memory ** np.maximum(apart, 0), 0.0)
    free[:, 1:] *= np.sqrt(1 - memory**2)
    pull = memory ** (BLOCK - rows) * (1 - memory ** (2.0 * rows)) / (1 - memory ** (2 * BLOCK))
    tied = free - pull[:, None] * free[-1]
    made = np.column_stack([tied, pull])[:-1].astype(np.float32)
    made[np.abs(made) < NOTHING] = 0  # processors take ten times as long over such numbers
    return made
