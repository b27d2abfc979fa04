"""Sizes that a graph computes of its own shapes, as far as they are known before it runs.

Exporters write ``view(x.size(0), -1)`` as a chain of operators on shapes. All of it is known but
the number of rows, which has a name.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headwater_models.graphs.sizes import TO_THE_END, Size

Sizes = NDArray[np.object_]
"""Integers, and names where a size is open (``N``, ``3*N``)."""


def sizes_of(values: Sequence[Size]) -> Sizes:
    """Return a vector of sizes."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def fold(operator: str, inputs: Sequence[Sizes | None]) -> Sizes | None:
    """Return what an operator makes of sizes, or None where that is not known.

    Parameters
    ----------
    inputs
        None where one is left out or not known.
    """
    known = [value for value in inputs if value is not None]
    if not known or len(known) < len(inputs):
        return None
    x, *others = known
    integers = [[int(i) for i in np.ravel(other) if not isinstance(i, str)] for other in others]
    found: Sizes | None = None
    match operator:
        case "Cast":
            found = x
        case "Concat":
            found = np.concatenate([np.atleast_1d(value) for value in known])
        case "Gather":
            found = np.asarray(np.take(x, np.array(others[0], int), axis=0), object)
        case "Unsqueeze" | "Squeeze" | "Reshape":
            found = _laid_out(operator, x, integers)
        case "Slice":
            found = _sliced(x, *integers)
        case "Mul" | "Div" | "Add" | "Sub":
            found = _elementwise(operator, x, others[0])
    return found


def _sliced(x: Sizes, starts: list[int], stops: list[int], *more: list[int]) -> Sizes:
    """Cut a vector; *more* are its one axis and the steps."""
    step = more[1][0] if len(more) > 1 else 1
    stop = stops[0] if stops[0] < TO_THE_END else None
    return x[starts[0] : stop : step]


def solved(shape: Sequence[Size], target: Sequence[Size]) -> list[Size]:
    """Return the target of a reshape with its -1 replaced by the size that is left, if it can be.

    Examples
    --------
    >>> solved((6, "N", 4), (6, -1, 2))
    [6, '2*N', 2]
    """
    left: Size | None = 1
    for size in shape:
        left = None if left is None else _combined("Mul", left, size)
    for size in target:
        if left is not None and size != -1:
            left = _combined("Div", left, size)
    return [left if size == -1 and left is not None else size for size in target]


def broadcast(left: Sequence[Size], right: Sequence[Size]) -> tuple[Size, ...]:
    """Return the shape of what is computed of two shapes.

    Examples
    --------
    >>> broadcast(("N", 1), (2, "N", 3))
    (2, 'N', 3)
    """
    rank = max(len(left), len(right))
    pairs = zip(
        (*(1,) * (rank - len(left)), *left), (*(1,) * (rank - len(right)), *right), strict=True
    )
    return tuple(a if b == 1 else b for a, b in pairs)


def _laid_out(operator: str, x: Sizes, integers: Sequence[list[int]]) -> Sizes:
    if operator == "Unsqueeze":
        return np.expand_dims(x, tuple(integers[0]))
    if operator == "Squeeze":
        return np.asarray(np.squeeze(x, tuple(integers[0]) if integers else None), object)
    return x.reshape(integers[0])


def _elementwise(operator: str, left: Sizes, right: Sizes) -> Sizes | None:
    pairs = np.broadcast(left, right)
    found = [_combined(operator, a, b) for a, b in pairs]
    if any(size is None for size in found):
        return None
    result = np.empty(len(found), object)
    result[:] = found
    return result.reshape(pairs.shape)


def _combined(operator: str, a: Size, b: Size) -> Size | None:
    (m, name), (n, other) = _parted(a), _parted(b)
    match operator:
        case "Mul" if not (name and other):
            return _joined(m * n, name or other)
        case "Div" if other in ("", name) and n and m % n == 0:
            return _joined(m // n, "" if other else name)
        case "Add" if name == other:
            return _joined(m + n, name)
        case "Sub" if name == other:
            return _joined(m - n, name)
    return None


def _parted(size: Size) -> tuple[int, str]:
    if not isinstance(size, str):
        return int(size), ""
    count, star, name = size.partition("*")
    return (int(count), name) if star and count.isdigit() else (1, size)


def _joined(count: int, name: str) -> Size:
    if not name or not count:
        return count
    return name if count == 1 else f"{count}*{name}"
