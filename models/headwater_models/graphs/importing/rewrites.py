"""What exporters write, as what can learn and takes any number of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from headwater_models.graphs.expression import Value
from headwater_models.graphs.importing.folding import broadcast, solved
from headwater_models.graphs.importing.logistic import divide, reciprocal
from headwater_models.graphs.importing.mixing import ROWS
from headwater_models.graphs.importing.recurrent import gru, lstm, rnn
from headwater_models.graphs.importing.replay import Rewrite, Step
from headwater_models.graphs.importing.resizing import resize
from headwater_models.graphs.tensor_types import Shape

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)


def rewrites() -> dict[str, Rewrite]:
    """Return what becomes of each operator that is not taken as it is."""
    return {
        "Cast": cast,
        "ConstantOfShape": filled,
        "Div": divide,
        "Dropout": lambda step: [step.needed(0)],
        "Expand": expand,
        "GRU": gru,
        "Identity": lambda step: [step.needed(0)],
        "LSTM": lstm,
        "RNN": rnn,
        "Reciprocal": reciprocal,
        "Reshape": reshape,
        "Resize": resize,
        "Squeeze": squeeze,
    }


def cast(step: Step) -> Sequence[Value]:
    """Make floating numbers of one kind."""
    kind = step.attributes["to"]
    x = step.needed(0)
    return [x.cast(step.graph.dtype) if kind in _FLOATS else step.graph.op("Cast", x, to=kind)]


def reshape(step: Step) -> Sequence[Value]:
    """Leave a size open that follows from the rows, whatever it was when exported."""
    x, target = step.needed(0), step.known(1)
    if target is None:
        raise step.refusal("its target depends on data", "export it with fixed sizes")
    wanted = [size if isinstance(size, str) else int(size) for size in target]
    if not step.attributes.get("allowzero", 0):
        wanted = [x.shape[at] if size == 0 else size for at, size in enumerate(wanted)]
    if step.rows:
        _open_rows(x.shape, wanted, step.rows)
    if -1 in wanted:
        wanted = solved(x.shape, wanted)
    plain = [
        (0 if at < len(x.shape) and x.shape[at] == size else -1) if isinstance(size, str) else size
        for at, size in enumerate(wanted)
    ]
    if ROWS in x.shape and not any(isinstance(size, str) or size == -1 for size in wanted):
        raise step.refusal(
            f"its target {wanted} fixes the number of rows",
            "export it with an open number of rows, in front (in PyTorch: batch_first=True)",
        )
    if plain.count(-1) > 1:
        raise step.refusal(f"more than one size of {wanted} is open", "fix all but the rows")
    known = None if -1 in wanted else tuple(wanted)
    made = step.graph.op("Reshape", x, np.array(plain, np.int64), shape=known)
    return [step.graph.declare(made) if known else made]


def _open_rows(shape: Shape, wanted: list[int | str], rows: int) -> None:
    """Where an export fixed the number of rows, open the size that stands for it."""
    if ROWS not in shape or any(isinstance(size, str) for size in wanted):
        return
    before = math.prod(size for size in shape[: shape.index(ROWS)] if isinstance(size, int))
    for at, size in enumerate(wanted):
        if size == rows and math.prod(wanted[:at]) == before:
            wanted[at] = ROWS
            return


def filled(step: Step) -> Sequence[Value]:
    """Keep what is known of the shape."""
    sizes = step.known(0)
    if sizes is None:
        raise step.refusal("its shape depends on data", "export it with fixed sizes")
    made = step.graph.op("ConstantOfShape", step.needed(0), shape=tuple(sizes), **step.attributes)
    return [step.graph.declare(made)]


def expand(step: Step) -> Sequence[Value]:
    """Keep what is known of the shape."""
    x, sizes = step.needed(0), step.known(1)
    if sizes is None:
        raise step.refusal("its shape depends on data", "export it with fixed sizes")
    wanted = broadcast(x.shape, tuple(sizes))
    return [step.graph.declare(step.graph.op("Expand", x, step.needed(1), shape=wanted))]


def squeeze(step: Step) -> Sequence[Value]:
    """Name the axes, where none are named."""
    x, axes = step.needed(0), step.known(1)
    if axes is None:
        axes = np.array([at for at, size in enumerate(x.shape) if size == 1], object)
    return [x.squeeze([int(axis) for axis in axes])]
