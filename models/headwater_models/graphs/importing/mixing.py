"""Operators that work along the rows of a batch, which a bundle's predictions must not."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from headwater_models.graphs.expression import Node, Value
from headwater_models.graphs.gradients.rule import given
from headwater_models.graphs.sizes import Size

ROWS = "N"
"""The name of the number of rows."""

_ONE_AXIS = ("Hardmax", "LogSoftmax", "Softmax", "TopK")
"""Operators along the axis that an attribute names."""

_PLACES = ("AveragePool", "Conv", "ConvTranspose", "GlobalAveragePool", "GlobalMaxPool",
           "InstanceNormalization", "MaxPool")  # fmt: skip
"""Operators along all axes but the first two."""


def mixes_rows(node: Node) -> bool:
    """Say whether a node makes one number of several rows, as far as sizes tell."""
    if node.operator == "BatchNormalization":
        return bool(node.attributes.get("training_mode", 0))
    if node.operator == "Einsum":
        return _sums_rows_away(node)
    return any(
        value.name and _is_rows(value.shape[axis]) for value, axes in _along(node) for axis in axes
    )


def _along(node: Node) -> list[tuple[Value, Iterable[int]]]:
    """Return the inputs that a node brings together along axes, and these axes."""
    x, *others = node.inputs
    operator, rank, axes = node.operator, len(x.shape), list[tuple[Value, Iterable[int]]]()
    if operator in _ONE_AXIS:
        axes = [(x, [node.attributes.get("axis", -1)])]
    elif operator.startswith("Reduce") or operator == "CumSum":
        axes = [(x, _reduced(node, rank))]
    elif operator == "LayerNormalization":
        axes = [(x, range(node.attributes.get("axis", -1) % rank, rank))]
    elif operator in _PLACES:
        axes = [(x, range(2, rank))]
    elif operator == "MatMul":
        axes = [(x, [-1]), (others[0], [-2 if len(others[0].shape) > 1 else -1])]
    elif operator == "Gemm":
        turned, turned_other = (node.attributes.get(key, 0) for key in ("transA", "transB"))
        axes = [(x, [0 if turned else 1]), (others[0], [1 if turned_other else 0])]
    return axes


def _reduced(node: Node, rank: int) -> Iterable[int]:
    """Return the axes that an input names; none where they are not known before the graph runs."""
    if (axes := given(node, 1)) is not None:
        return [int(axis) for axis in np.ravel(axes.graph.constants.get(axes.name, ()))]
    return [] if node.attributes.get("noop_with_empty_axes", 0) else range(rank)


def _sums_rows_away(node: Node) -> bool:
    terms, arrow, result = str(node.attributes["equation"]).replace(" ", "").partition("->")
    if not arrow or "." in terms:
        return False
    return any(
        index not in result and _is_rows(size)
        for term, value in zip(terms.split(","), node.inputs, strict=True)
        for index, size in zip(term, value.shape, strict=True)
    )


def _is_rows(size: Size) -> bool:
    return isinstance(size, str) and size.rpartition("*")[2] == ROWS
