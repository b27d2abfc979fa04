"""Recurrent operators, unrolled over the window: one state after the other, in plain operators.

Gates and equations are those of ONNX's GRU, LSTM and RNN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from headwater_models.graphs.builders.networks import MAX_STEPS
from headwater_models.graphs.expression import Value
from headwater_models.graphs.importing.replay import Step

Cell = Callable[[Value, tuple[Value, ...], Value, Value | None], tuple[Value, ...]]
"""``cell(given, states, weight, bias) -> states``, all ``[1, N, ...]``; the first is the output."""


def gru(step: Step) -> Sequence[Value]:
    """Cho et al. (2014); gates update, reset, new."""
    _refuse_activations(step, ["Sigmoid", "Tanh"])
    cell = _gru_after if step.attributes.get("linear_before_reset", 0) else _gru_before
    return _unrolled(step, cell, gates=3, states=1)


def lstm(step: Step) -> Sequence[Value]:
    """Hochreiter and Schmidhuber (1997); gates input, output, forget, cell."""
    _refuse_activations(step, ["Sigmoid", "Tanh", "Tanh"])
    if step.given(7) is not None or step.attributes.get("input_forget", 0):
        raise step.refusal("it has peepholes or coupled gates", "export a plain LSTM")
    return _unrolled(step, _lstm, gates=4, states=2)


def rnn(step: Step) -> Sequence[Value]:
    """Elman (1990), with tanh or relu."""
    named = step.attributes.get("activations", ["Tanh"])
    activation = {b"Tanh": "Tanh", b"Relu": "Relu"}.get(_encoded(named[0]))
    if activation is None or len({_encoded(name) for name in named}) > 1:
        raise step.refusal("its activation is neither Tanh nor Relu", "use one of these")

    def cell(
        given: Value, states: tuple[Value, ...], weight: Value, bias: Value | None
    ) -> tuple[Value, ...]:
        return (given.graph.op(activation, given + _moved(states[0] @ weight, bias)),)

    return _unrolled(step, cell, gates=1, states=1)


def _unrolled(step: Step, cell: Cell, *, gates: int, states: int) -> Sequence[Value]:
    """Return the outputs ``[T, D, N, H]`` and each last state ``[D, N, H]``."""
    graph, x = step.graph, step.needed(0)
    weights, recurrent, biases = step.needed(1), step.needed(2), step.given(3)
    directions, hidden, steps = weights.shape[0], recurrent.shape[-1], x.shape[0]
    if not (isinstance(directions, int) and isinstance(hidden, int) and isinstance(steps, int)):
        raise step.refusal("its number of steps is open", "export it with a fixed window")
    if steps > MAX_STEPS:
        raise step.refusal(
            f"it is unrolled over at most {MAX_STEPS} rows, not {steps}",
            "take a longer period or a shorter window",
        )
    if step.given(4) is not None or step.attributes.get("layout", 0) or "clip" in step.attributes:
        raise step.refusal(
            "it has lengths of its own, clipping, or rows first", "export it without"
        )
    backwards = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    outputs, last = [], []
    for at, back in enumerate(backwards[step.attributes.get("direction", "forward")]):
        into, kept = (graph.op("Gather", w, np.array(at), axis=0) for w in (weights, recurrent))
        bias = None if biases is None else graph.op("Gather", biases, np.array(at), axis=0)
        own, other = (None, None) if bias is None else _halves(bias, gates * hidden)
        given = _moved(x @ into.transpose([1, 0]), own)
        rows = graph.apply("Split", (given, np.ones(steps, np.int64)), {"axis": 0}, count=steps)
        state = tuple(_first(step, 5 + number, at, hidden) for number in range(states))
        kept, made = kept.transpose([1, 0]), []
        for row in reversed(rows) if back else rows:
            state = cell(row, state, kept, other)
            made.append(state[0])
        joined = graph.op("Concat", *(made[::-1] if back else made), axis=0)
        outputs.append(joined.unsqueeze([1]))
        last.append(state)
    whole = outputs[0] if len(outputs) == 1 else graph.op("Concat", *outputs, axis=1)
    ends = [
        each[0] if len(last) == 1 else graph.op("Concat", *each, axis=0)
        for each in zip(*last, strict=True)
    ]
    return [whole, *ends]


def _gru_after(
    given: Value, states: tuple[Value, ...], weight: Value, bias: Value | None
) -> tuple[Value, ...]:
    """Reset after the recurrent product, as cuDNN and PyTorch do."""
    (state,) = states
    rest = _moved(state @ weight, bias)
    width = int(state.shape[-1])
    (gates, new), (kept, kept_new) = (_split(v, 2 * width, width) for v in (given, rest))
    update, reset = _split(state.graph.op("Sigmoid", gates + kept), width, width)
    proposed = state.graph.op("Tanh", new + reset * kept_new)
    return (proposed + update * (state - proposed),)


def _gru_before(
    given: Value, states: tuple[Value, ...], weight: Value, bias: Value | None
) -> tuple[Value, ...]:
    (state,) = states
    width = int(state.shape[-1])
    of_gates, of_new = _split(weight, 2 * width, width)
    bias_gates, bias_new = (None, None) if bias is None else _split(bias, 2 * width, width)
    gates, new = _split(given, 2 * width, width)
    both = state.graph.op("Sigmoid", gates + _moved(state @ of_gates, bias_gates))
    update, reset = _split(both, width, width)
    proposed = state.graph.op("Tanh", new + _moved((reset * state) @ of_new, bias_new))
    return (proposed + update * (state - proposed),)


def _lstm(
    given: Value, states: tuple[Value, ...], weight: Value, bias: Value | None
) -> tuple[Value, ...]:
    state, cell = states
    width, op = int(state.shape[-1]), state.graph.op
    gates, new = _split(given + _moved(state @ weight, bias), 3 * width, width)
    enter, leave, keep = _split(op("Sigmoid", gates), width, width, width)
    cell = keep * cell + enter * op("Tanh", new)
    return leave * op("Tanh", cell), cell


def _first(step: Step, position: int, direction: int, hidden: int) -> Value:
    """Return the state ``[1, N or 1, H]`` to start from, zeros where none is given."""
    given = step.given(position)
    number = 0.0 if given is None else step.uniform.get(given.name)
    if given is None or number is not None:
        return step.graph.constant(np.full((1, 1, hidden), number, step.graph.dtype))
    if given.shape[0] == 1:
        return given
    return step.graph.op("Gather", given, np.array([direction]), axis=0)


def _halves(bias: Value, width: int) -> tuple[Value, ...]:
    """Part the bias of the input from that of the state."""
    return _split(bias, width, width)


def _split(value: Value, *sizes: int) -> tuple[Value, ...]:
    return value.graph.apply("Split", (value, np.array(sizes)), {"axis": -1}, count=len(sizes))


def _moved(value: Value, bias: Value | None) -> Value:
    return value if bias is None else value + bias


def _refuse_activations(step: Step, usual: Sequence[str]) -> None:
    named = [_encoded(name) for name in step.attributes.get("activations", [])]
    expected = [_encoded(name) for name in usual]
    if named and named != expected * (len(named) // len(expected)):
        raise step.refusal(f"its activations are not {', '.join(usual)}", "use these")


def _encoded(name: str | bytes) -> bytes:
    return name if isinstance(name, bytes) else name.encode()
