"""Weights as a safetensors file in the one layout that their manifest allows.

The format is a length, a JSON header and the data (https://github.com/huggingface/safetensors).
The header follows from the manifest alone, so reading is comparing: nothing is parsed, no byte
can be hidden, and the same weights always give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
import numpy as np
import safetensors
from numpy.typing import NDArray

from headwater.errors import BundleError
from headwater_models.arrays import Arrays
from headwater_models.files import read_bounded, write_file
from headwater_models.limits import Limits
from headwater_models.manifest import Array, Manifest

_ITEM = 4
_ALIGN = 8


def check_weights(manifest: Manifest, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Refuse weights that are not those of *manifest*.

    Raises
    ------
    BundleError
        Naming the array that is missing, unknown, of another shape or dtype, or not finite.
    """
    expected = {array.name: array for array in manifest.arrays}
    _refuse_names(expected.keys() - weights.keys(), "are missing")
    _refuse_names(weights.keys() - expected.keys(), "are not in the manifest")
    for name, array in expected.items():
        value = weights[name]
        if value.dtype != np.float32 or value.shape != array.shape:
            raise BundleError(
                f"Weights: {name} is {value.dtype} {list(value.shape)}; "
                f"the manifest says float32 {list(array.shape)}."
            )
        if not np.isfinite(value).all():
            raise BundleError(f"Weights: {name} holds a value that is not finite.")


def encode_weights(weights: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Return the safetensors bytes of float32 arrays, whatever their strides."""
    header = _header({name: value.shape for name, value in weights.items()})
    data = (np.ascontiguousarray(weights[name], "<f4").tobytes() for name in sorted(weights))
    return header + b"".join(data)


def decode_weights(manifest: Manifest, data: bytes) -> Arrays:
    """Read the arrays of *manifest*, each C-contiguous, in the manifest's order.

    Raises
    ------
    BundleError
        When a single byte of the layout differs, or a value is not finite.
    """
    header = _header({array.name: array.shape for array in manifest.arrays})
    size = len(header) + _ITEM * sum(array.size for array in manifest.arrays)
    if len(data) != size or not data.startswith(header):
        raise BundleError(_complaint(manifest, data))
    found: Arrays = {}
    start = len(header)
    for array in _by_name(manifest.arrays):
        flat = np.frombuffer(data, "<f4", array.size, start)
        found[array.name] = flat.reshape(array.shape).astype(np.float32)
        start += _ITEM * array.size
    arrays = {array.name: found[array.name] for array in manifest.arrays}
    check_weights(manifest, arrays)
    return arrays


def save_weights(path: Path, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Write weights so that the file appears whole or not at all; see :func:`encode_weights`."""
    write_file(path, encode_weights(weights))


def load_weights(path: Path, manifest: Manifest, limits: Limits | None = None) -> Arrays:
    """Read a weights file; raises as :func:`decode_weights`, and ``StorageError``."""
    data = read_bounded(path, (limits or Limits()).weights)
    try:
        return decode_weights(manifest, data)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error


def _by_name(arrays: Iterable[Array]) -> list[Array]:
    return sorted(arrays, key=lambda array: array.name)


def _header(shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    """Return the length and the JSON header, padded as the safetensors library pads it."""
    fields = {}
    start = 0
    for name in sorted(shapes):
        end = start + _ITEM * math.prod(shapes[name])
        fields[name] = {"dtype": "F32", "shape": shapes[name], "data_offsets": (start, end)}
        start = end
    text = msgspec.json.encode(fields)
    text += b" " * (-len(text) % _ALIGN)
    return len(text).to_bytes(8, "little") + text


def _refuse_names(names: Iterable[str], what: str) -> None:
    listed = ", ".join(sorted(names))
    if listed:
        raise BundleError(f"Weights: these arrays {what}: {listed}.")


def _complaint(manifest: Manifest, data: bytes) -> str:
    """Say as exactly as the damage allows in what the file differs from the manifest."""
    try:
        found = dict(safetensors.deserialize(data))  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as error:
        return f"The weights file is damaged ({error}); get the bundle again."
    expected = {array.name: list(array.shape) for array in manifest.arrays}
    shapes = {name: list(entry["shape"]) for name, entry in found.items()}
    for name in sorted(expected.keys() | shapes.keys()):
        if expected.get(name) != shapes.get(name):
            return (
                f"Weights: {name} is {shapes.get(name, 'missing')}; "
                f"the manifest says {expected.get(name, 'nothing of it')}."
            )
    return "The weights file is not laid out as Headwater writes it; save it with Headwater."
