"""Rules of sums of products."""

from __future__ import annotations

from headwater_models.graphs.expression import Node, Value
from headwater_models.graphs.gradients.rule import Gradients, refusal


def matmul(node: Node, g: Value) -> Gradients:
    """``y = a @ b``; a vector is a matrix of one row on the left, of one column on the right."""
    a, b = node.inputs
    row = [-2] if len(a.shape) == 1 else []
    column = [-1] if len(b.shape) == 1 else []
    a, b, g = a.unsqueeze(row), b.unsqueeze(column), g.unsqueeze([*row, *column])
    to_a = g @ _swapped(b)
    if len(b.shape) == 2 and len(a.shape) > 2:  # many matrices met one: join their rows
        a, g = a.as_matrix(), g.as_matrix()
    return to_a.squeeze(row), (_swapped(a) @ g).squeeze(column)


def gemm(node: Node, g: Value) -> Gradients:
    """``y = alpha * op(a) @ op(b) + beta * c``, where op may transpose."""
    a, b, *c = node.inputs
    alpha, beta = node.attributes.get("alpha", 1.0), node.attributes.get("beta", 1.0)
    turned_a, turned_b = (node.attributes.get(key, 0) for key in ("transA", "transB"))
    scaled = g if alpha == 1.0 else g * alpha
    left = scaled @ (b if turned_b else _swapped(b))
    right = (a if turned_a else _swapped(a)) @ scaled
    return (
        _swapped(left) if turned_a else left,
        _swapped(right) if turned_b else right,
        *(g if beta == 1.0 else g * beta for _ in c),
    )


def einsum(node: Node, g: Value) -> Gradients:
    """Exchange an operand and the result; an index summed away at once is spread out again."""
    equation = str(node.attributes["equation"]).replace(" ", "")
    terms, arrow, result = equation.partition("->")
    operands = terms.split(",")
    if not arrow or "." in equation or any(len(set(o)) != len(o) for o in operands):
        raise refusal(
            node,
            f"its equation {equation!r} has `...`, an index twice in one operand, or no result",
            "write one letter for each axis, and `->`",
        )
    return [
        _einsum_operand(operands, result, node.inputs, g, position)
        for position in range(len(operands))
    ]


def _einsum_operand(
    operands: list[str], result: str, inputs: tuple[Value, ...], g: Value, position: int
) -> Value:
    own = operands[position]
    others = [o for i, o in enumerate(operands) if i != position]
    known = set(result).union(*others)
    kept = "".join(index for index in own if index in known)
    equation = f"{','.join([result, *others])}->{kept}"
    factors = [value for i, value in enumerate(inputs) if i != position]
    found = g.graph.op("Einsum", g, *factors, equation=equation)
    alone = [axis for axis, index in enumerate(own) if index not in known]
    return found.unsqueeze(alone).expand_like(inputs[position]) if alone else found


def _swapped(x: Value) -> Value:
    """Exchange the last two axes."""
    rank = len(x.shape)
    return x.transpose([*range(rank - 2), rank - 1, rank - 2])
