"""Reverse-mode differentiation: from a value of a graph back to its parameters.

Only what lies between the parameters and the differentiated value needs a rule; values that are
not floating point carry no gradient. See Griewank and Walther, *Evaluating Derivatives* (2008).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from headwater.errors import UnsupportedError
from headwater_models.graphs.expression import Graph, Node, Value
from headwater_models.graphs.gradients.rule import Rule
from headwater_models.graphs.gradients.table import rules
from headwater_models.graphs.tensor_types import Shape


def differentiate(
    graph: Graph, output: Value, parameters: Sequence[Value], seed: Value | float = 1.0
) -> dict[str, Value]:
    """Extend *graph* by the gradient of ``sum(seed * output)`` for each parameter.

    Parameters
    ----------
    output
        A floating value; for a scalar loss leave *seed* at 1.
    parameters
        Inputs of the graph.
    seed
        Weights of the output's elements, of the output's shape or one number for all.

    Returns
    -------
    dict
        By parameter name, a value of the parameter's shape; zeros where the output does not
        depend on the parameter.

    Raises
    ------
    UnsupportedError
        Naming the operator and node that has no rule, and what to do.
    """
    table = rules()
    between = _between(graph, output, parameters)
    if not isinstance(seed, Value):
        seed = graph.constant(np.asarray(seed, output.dtype)).expand_like(output)
    gradients = {output.name: seed}
    for node in reversed(graph.nodes.copy()):
        passes = any(value.name in between for value in node.inputs)
        if passes and any(value.name in gradients for value in node.outputs):
            if node.operator not in table:
                raise _unknown(node, _origins(graph, node, parameters), table)
            _step_back(node, table[node.operator], between, gradients)
    return {p.name: gradients.get(p.name) or p.zeros_like() for p in parameters}


def _between(graph: Graph, output: Value, parameters: Sequence[Value]) -> set[str]:
    """Return the names of the floating values that depend on a parameter and reach the output."""
    reached = {parameter.name for parameter in parameters}
    for node in graph.nodes:
        if any(value.name in reached for value in node.inputs):
            reached.update(value.name for value in node.outputs if value.is_float)
    wanted = {output.name}
    for node in reversed(graph.nodes):
        if any(value.name in wanted for value in node.outputs):
            wanted.update(value.name for value in node.inputs)
    return reached & wanted


def _step_back(node: Node, rule: Rule, between: set[str], gradients: dict[str, Value]) -> None:
    """Add to the gradients of a node's inputs what its outputs' gradients give them."""
    incoming = [gradients.get(value.name) for value in node.outputs]
    for value, gradient in zip(node.inputs, rule(node, *incoming), strict=False):
        if gradient is not None and value.name in between:
            summed = sum_to(gradient, value.shape)
            known = gradients.get(value.name)
            gradients[value.name] = summed if known is None else known + summed


def _unknown(node: Node, origins: Sequence[str], table: Mapping[str, Rule]) -> UnsupportedError:
    return UnsupportedError(
        f"Operator {node.operator} (node {node.name!r}) lies between the parameters "
        f"{', '.join(map(repr, origins))} and the loss and cannot be differentiated. Replace it "
        f"by operators that can ({', '.join(sorted(table))}), or freeze these parameters."
    )


def _origins(graph: Graph, node: Node, parameters: Sequence[Value]) -> list[str]:
    """Return the parameters that a node depends on."""
    needed = {value.name for value in node.inputs}
    for before in reversed(graph.nodes[: graph.nodes.index(node)]):
        if any(value.name in needed for value in before.outputs):
            needed.update(value.name for value in before.inputs)
    return [parameter.name for parameter in parameters if parameter.name in needed]


def sum_to(gradient: Value, shape: Shape) -> Value:
    """Undo broadcasting: sum over the axes along which an operand of *shape* was repeated.

    Raises
    ------
    UnsupportedError
        When a size that is known only at run time leaves open whether an axis was repeated.
    """
    added = len(gradient.shape) - len(shape)
    if added > 0:
        gradient = gradient.sum(range(added))
    pairs = list(zip(gradient.shape, shape, strict=True))
    repeated = [axis for axis, (have, want) in enumerate(pairs) if want == 1 and have != 1]
    if any(want not in (have, 1) for have, want in pairs):
        raise UnsupportedError(
            f"A gradient of shape {list(gradient.shape)} cannot be brought to {list(shape)}; "
            "give the graph fixed shapes (all but the number of rows, under one name)."
        )
    return gradient.sum(repeated, keepdims=True) if repeated else gradient
