"""What a rule is, and what several rules ask of a node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from headwater.errors import UnsupportedError
from headwater_models.graphs.expression import Array, Node, Value

Gradients = Sequence[Value | None]
Rule = Callable[..., Gradients]
"""``rule(node, *output gradients) -> input gradients``"""


def given(node: Node, position: int) -> Value | None:
    """Return an optional input, or None where it is left out."""
    return (
        node.inputs[position]
        if len(node.inputs) > position and node.inputs[position].name
        else None
    )


def frozen(node: Node, position: int, default: Any = None) -> Array:
    """Return an input whose numbers are in the graph, or *default* where it is left out.

    Raises
    ------
    UnsupportedError
        When the input is computed.
    """
    value = given(node, position)
    if value is None:
        return np.asarray(default)
    array = value.graph.constants.get(value.name)
    if array is None:
        raise refusal(node, f"its input {value.name!r} is computed", "make it a constant")
    return array


def fixed_sizes(node: Node, sizes: Sequence[int | str]) -> list[int]:
    """Return sizes that are known before the graph runs.

    Raises
    ------
    UnsupportedError
        When one is not.
    """
    if not all(isinstance(size, int) for size in sizes):
        raise refusal(node, f"it works along an axis of open size {list(sizes)}", "fix the size")
    return [int(size) for size in sizes]


def refusal(node: Node, why: str, remedy: str) -> UnsupportedError:
    """Return the error that says why this use of an operator cannot be differentiated."""
    return UnsupportedError(
        f"{node.operator} {node.name!r} cannot be differentiated: {why}; {remedy}."
    )
