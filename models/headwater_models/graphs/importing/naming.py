"""Which arrays of a file learn, and the names that a manifest has for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import msgspec

from headwater.errors import UnsupportedError
from headwater_models.graphs.importing.source import Source
from headwater_models.graphs.losses import FEATURES, PREDICTION, RELEASED, SCALE, START
from headwater_models.manifest import Array

RESERVED = {
    *("window", "time", "label", "weight", "learning_rate", "loss", "window.mean", "window.scale"),
    *(PREDICTION, FEATURES, RELEASED, START, SCALE),
}
"""What other values of a bundle's graphs are called."""

_PREFIXES = ("new.", "adam.", "momentum.")
_WEIGHTS = {
    "MatMul": (0, 1),
    "Gemm": (0, 1, 2),
    "Einsum": (0, 1, 2),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "BatchNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "PRelu": (1,),
    "GRU": (1, 2, 3),
    "LSTM": (1, 2, 3),
    "RNN": (1, 2, 3),
    "Gather": (0,),
}
"""Inputs that are weights."""

_AFTER = ("Add", "Mul")
"""Operators whose frozen operand is a bias or a scale if it follows weights."""

_LAYOUT = ("Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Cast", "Slice", "Split",
           "Concat", "Flatten")  # fmt: skip
_STATISTICS = {"BatchNormalization": (3, 4)}


def legal(name: str, taken: Iterable[str] = ()) -> str:
    """Return the name of an array for that of an initialiser.

    What a manifest does not take becomes a full stop, those at the ends are dropped; a name of
    Headwater's own gets ``model.`` before it, and one that is taken a number after it.

    Examples
    --------
    >>> legal("/fc1/weight"), legal("onnx::MatMul_12"), legal("weight")
    ('fc1.weight', 'onnx.MatMul_12', 'model.weight')
    >>> legal("a/b", taken={"a.b"})
    'a.b.2'
    """
    plain = re.sub(r"[^A-Za-z0-9_-]+", ".", name).strip("._-")[:100] or "array"
    if plain in RESERVED or plain.startswith(_PREFIXES):
        plain = f"model.{plain}"
    known, number, free = set(taken), 1, plain
    while free in known:
        number += 1
        free = f"{plain}.{number}"
    return free


def learned(source: Source, patterns: Sequence[str]) -> dict[str, str]:
    """Return the names in the manifest of the arrays that learn, by those in the file.

    Parameters
    ----------
    patterns
        Of either name; none: the weights and biases of linear, convolutional, recurrent and
        normalising operators. What batch normalisation has measured is never among them.

    Raises
    ------
    UnsupportedError
        When a pattern matches nothing, or nothing can learn.
    """
    names: dict[str, str] = {}
    for key in _candidates(source):
        names[key] = legal(key, names.values())
    if patterns:
        for pattern in patterns:
            if not any(_matches(pair, pattern) for pair in names.items()):
                raise UnsupportedError(
                    f"train: {pattern!r} matches none of the arrays {', '.join(names.values())}."
                )
        wanted = {k for k, v in names.items() if any(_matches((k, v), p) for p in patterns)}
    else:
        wanted = _weights(source)
    found = {key: name for key, name in names.items() if key in wanted}
    if not found:
        raise UnsupportedError(
            "The model has no weights that can learn by gradients. Name arrays by --train (it has "
            f"{', '.join(names.values()) or 'none'}), or import a linear model or a network."
        )
    return found


def local(arrays: Sequence[Array], patterns: Iterable[str]) -> tuple[Array, ...]:
    """Keep the arrays whose name one of the patterns matches on the device.

    Raises
    ------
    UnsupportedError
        When a pattern matches none of the arrays.
    """
    kept = tuple(arrays)
    for pattern in patterns:
        matched = {array.name for array in kept if fnmatchcase(array.name, pattern)}
        if not matched:
            names = ", ".join(array.name for array in kept)
            raise UnsupportedError(f"local: {pattern!r} matches none of the arrays {names}.")
        kept = tuple(
            msgspec.structs.replace(array, merge="local") if array.name in matched else array
            for array in kept
        )
    return kept


def _matches(names: tuple[str, str], pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)


def _candidates(source: Source) -> list[str]:
    """Return the floating arrays of the file, without statistics."""
    measured = {
        node.input[at]
        for node in source.nodes
        for at in _STATISTICS.get(node.op_type, ())
        if at < len(node.input)
    }
    return [
        key
        for key, array in source.arrays.items()
        if array.dtype.kind == "f" and array.size and key not in measured
    ]


def _weights(source: Source) -> set[str]:
    """Return what stands where weights do: itself, laid out otherwise, or what it is made of.

    Weight normalisation makes weights of two arrays, a direction and a length.
    """
    candidates = [key for key in _candidates(source) if key not in source.constants]
    origins = {key: {key} for key in candidates if source.arrays[key].ndim}
    weights: set[str] = set()
    learns: set[str] = set()
    frozen = set(source.arrays)
    for node in source.nodes:
        inputs = [origins.get(name, set()) for name in node.input]
        positions: Sequence[int] = _WEIGHTS.get(node.op_type, ())
        if node.op_type in _AFTER and learns.intersection(node.input):
            positions = [
                at for at, keys in enumerate(inputs)
                if node.op_type == "Add" or any(source.arrays[key].size > 1 for key in keys)
            ]  # fmt: skip
        found = set().union(*(inputs[at] for at in positions if at < len(inputs)))
        weights |= found
        if found or learns.intersection(node.input):
            learns.update(node.output)
        elif (made := set().union(*inputs)) and (
            node.op_type in _LAYOUT or frozen.issuperset(filter(None, node.input))
        ):
            origins |= dict.fromkeys(node.output, made)
        if frozen.issuperset(filter(None, node.input)):
            frozen.update(node.output)
    return weights
