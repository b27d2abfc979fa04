"""An optimiser's moments where nothing is learned any more: they fade, to zero and no further.

They fall by a tenth with each step, until they are subnormal, and stay so. A processor takes a
hundred times as long over each.
"""

from __future__ import annotations

import numpy as np

from headwater_models.arrays import State

EVERY = 64
"""Steps after which it is looked for what has faded; to look takes a tenth of a small one."""

_SMALLEST = np.finfo(np.float32).tiny
"""Of float32 with all digits."""


def faded(state: State, steps: int) -> State:
    """Return the state of an optimiser after so many steps, what has faded in it being zero.

    It is as it was but after each :data:`EVERY` of them, whoever takes them and however often they
    are interrupted; parameters do not change by it. Statistics, float64, never fade.

    Parameters
    ----------
    state
        By name; float32 where it is an optimiser's.
    steps
        From 1.
    """
    if steps % EVERY:
        return state
    return {
        name: array * (np.abs(array) >= _SMALLEST) if array.dtype == np.float32 else array
        for name, array in state.items()
    }
