"""Rules of sums of products."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_letters

from headwater_models.graphs.expression import Value
from headwater_models.graphs.stacking.rule import Call, Stacked


def matmul(call: Call) -> Sequence[Stacked]:
    """Multiply matrix by matrix; a vector is a row on the left and a column on the right."""
    row, column = call.rank(0) == 1, call.rank(1) == 1
    a, b = (_matrix(call, 0, -2 if row else None), _matrix(call, 1, -1 if column else None))
    rank = max(2, call.rank(0), call.rank(1))
    a, b = (_aligned(call, at, value, rank) for at, value in enumerate((a, b)))
    if not (row or column):
        return [Stacked(call.last("MatMul", a, b))]
    drop = [*([-2] if row else []), *([-1] if column else [])]
    return [Stacked(call.op("MatMul", a, b).squeeze(drop))]


def gemm(call: Call) -> Sequence[Stacked]:
    """``y = alpha * op(a) @ op(b) + beta * c``, where op may transpose."""
    attributes = call.node.attributes
    a, b = (
        _turned(call, at) if attributes.get(key, 0) else call.inputs[at].value
        for at, key in enumerate(("transA", "transB"))
    )
    y = call.op("MatMul", a, b)
    if attributes.get("alpha", 1.0) != 1.0:
        y = y * float(attributes["alpha"])
    if call.given(2):
        c, beta = call.aligned(2, 2), float(attributes.get("beta", 1.0))
        y = y + (c if beta == 1.0 else c * beta)
    return [Stacked(y)]


def einsum(call: Call) -> Sequence[Stacked]:
    """Give the members an index of their own."""
    equation = str(call.node.attributes["equation"]).replace(" ", "")
    terms, arrow, result = equation.partition("->")
    if not arrow or "." in equation:
        raise call.refusal(f"its equation {equation!r} has `...` or no result")
    member = next(letter for letter in ascii_letters if letter not in equation)
    stacked = ",".join(
        member + term if operand.own else term
        for term, operand in zip(terms.split(","), call.inputs, strict=True)
    )
    values = [operand.value for operand in call.inputs]
    return call.again(*values, equation=f"{stacked}->{member}{result}")


def _matrix(call: Call, position: int, axis: int | None) -> Value:
    value = call.inputs[position].value
    return value if axis is None else value.unsqueeze([axis])


def _aligned(call: Call, position: int, value: Value, rank: int) -> Value:
    if not call.inputs[position].own:
        return value
    return value.unsqueeze(range(1, rank + 2 - len(value.shape)))


def _turned(call: Call, position: int) -> Value:
    value = call.inputs[position].value
    rank = len(value.shape)
    return value.transpose([*range(rank - 2), rank - 1, rank - 2])
