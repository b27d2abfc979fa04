"""Sizes that ONNX's shape inference leaves open, though they follow from names.

It keeps the number of rows, ``N``, through most operators, but not where an exporter writes
``view(-1, 12)``, slices all rows, or pads none of them. Gradients need to know that it is still N.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Size = int | str

TO_THE_END = 2**31 - 1
"""Exporters write this, or more, where a slice runs to the end."""


def follow(
    operator: str, shape: Sequence[Size], constants: Sequence[NDArray[Any] | None]
) -> Mapping[int, Size]:
    """Return what can be said of the sizes of an operator's output, by axis.

    Parameters
    ----------
    shape
        Of the first input.
    constants
        The other inputs, None where one is left out.
    """
    match operator, constants:
        case "Reshape", [target]:
            return _reshaped(shape, np.asarray(target).tolist())
        case "Tile", [repeats]:
            same = np.asarray(repeats) == 1
        case "Pad", [pads, *_]:
            around = np.zeros((2, len(shape)), np.int64)
            around[:, _axes(constants[2:], len(shape), len(shape))] = np.asarray(pads).reshape(
                2, -1
            )
            same = ~around.any(0)
        case "Slice", [starts, stops, *_]:
            starts, steps = np.asarray(starts), constants[3] if len(constants) > 3 else 1
            same = np.ones(len(shape), np.bool_)
            axes = _axes(constants[2:], len(starts), len(shape))
            same[axes] = (starts == 0) & (np.asarray(stops) >= TO_THE_END) & (steps == 1)
        case _:
            return {}
    return {axis: shape[axis] for axis in np.flatnonzero(same).tolist()}


def _reshaped(shape: Sequence[Size], target: Sequence[int]) -> dict[int, Size]:
    """Solve for the size that is left to -1, if it is the only open one."""
    wanted = [shape[axis] if size == 0 else size for axis, size in enumerate(target)]
    left = [size for size in shape if isinstance(size, str)]
    for size in wanted:
        if isinstance(size, str):
            left.remove(size)
    have, want = (math.prod(s for s in sizes if isinstance(s, int)) for sizes in (shape, wanted))
    return {wanted.index(-1): left[0]} if -1 in wanted and len(left) == 1 and have == -want else {}


def _axes(given: Sequence[NDArray[Any] | None], count: int, rank: int) -> NDArray[np.int64]:
    return np.arange(count) if not given or given[0] is None else given[0] % rank
