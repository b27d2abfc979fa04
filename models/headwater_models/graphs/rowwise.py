"""What of a graph follows from each row alone, apart from the rest."""

from __future__ import annotations

from collections.abc import Collection

from headwater_models.graphs.expression import Graph, Node, Value
from headwater_models.graphs.stacking.table import ELEMENTWISE


def by_row(graph: Graph, rows: Collection[str]) -> tuple[Graph, Graph]:
    """Part a graph into what can be computed for each row by itself beforehand, and the rest.

    Parameters
    ----------
    graph
        Is parted, and not to be used any more.
    rows
        Its inputs ``[N, ...]`` that begin it.

    Returns
    -------
    tuple
        A graph whose outputs ``[N, ...]`` take the place of *rows* among the inputs of the other
        one, under the same names.
    """
    found = {name: graph.inputs[name] for name in rows if name in graph.inputs}
    before, after = Graph(graph.dtype), graph
    before.inputs, before.constants = dict(found), graph.constants
    rest: list[Node] = []
    for node in graph.needed():
        if _by_row(node, found, graph):
            before.nodes.append(node)
            found |= {value.name: value for value in node.outputs}
        else:
            rest.append(node)
    after.nodes = rest
    taken = {value.name for node in rest for value in node.inputs} | graph.outputs.keys()
    before.outputs = {name: value for name, value in found.items() if name in taken}
    others = {name: value for name, value in graph.inputs.items() if name not in rows}
    after.inputs = before.outputs | others
    return before, after


def _by_row(node: Node, found: Collection[str], graph: Graph) -> bool:
    """Say whether each row of what a node gives follows from the same row of what it takes."""
    given = [value for value in node.inputs if value.name in found]
    frozen = [value for value in node.inputs if value.name in graph.constants]
    if not given or len(given) + len(frozen) < len(node.inputs):
        return False
    rank = len(given[0].shape)
    if node.operator in ELEMENTWISE:
        alike = all(len(value.shape) == rank for value in given)
        return alike and all(_one_for_all(value, rank) for value in frozen)
    if node.operator == "Concat":
        return not frozen and node.attributes["axis"] % rank > 0
    return node.operator == "Reshape" and node.outputs[0].shape[:1] == given[0].shape[:1]


def _one_for_all(constant: Value, rank: int) -> bool:
    """Say whether a constant is the same for all rows of so many axes."""
    axes = len(constant.shape)
    return axes < rank or (axes == rank and constant.shape[0] == 1)
