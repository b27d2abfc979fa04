"""What the graphs of a bundle must take and give, by its manifest. Needs no ``onnx``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from headwater.errors import BundleError
from headwater_models.arrays import MEMBERS
from headwater_models.manifest import Manifest
from headwater_models.session import OpenGraph
from headwater_models.statistics.solving import check_layout


def check_graphs(
    manifest: Manifest, infer: bytes, train: bytes, stacked: bytes | None = None
) -> None:
    """Refuse graphs whose inputs and outputs are not those that the manifest promises.

    A stacked graph has all arrays and outputs with the axis of the members in front. An inference
    graph may also give ``features``, float32 ``[N, F]``, and ``released``, the
    prediction without the arrays that stay on the device.
    :mod:`headwater_models.graphs.inspect` looks at the operators too.

    Raises
    ------
    BundleError
        Naming the file, the tensor, what it is and what it should be.
    """
    check_layout(manifest)
    rows = {"window": f"float32 [N, {manifest.window}, {len(manifest.channels)}]"}
    if "time" in manifest.inputs:
        rows["time"] = "int64 [N]"
    arrays = {a.name: f"float32 {list(a.shape)}" for a in manifest.arrays}
    kept = (*manifest.state, *manifest.statistics)
    state = {a.name: f"{a.dtype} {list(a.shape)}" for a in kept}
    step = {"label": "float32 [N, 1]", "weight": "float32 [N]"}
    moved = state
    if not manifest.statistics:
        step, moved = step | {"learning_rate": "float32 []"}, arrays | state
    new = {f"new.{name}": kind for name, kind in moved.items()}
    inference = OpenGraph("infer.onnx", infer, 1)
    predicted = f"float32 [N, {manifest.outputs}]"
    optional = {"released": predicted, "features": _features(inference)}
    given = {name: kind for name, kind in optional.items() if name in inference.outputs}
    given["prediction"] = predicted
    _check_graph(inference, rows | arrays, given)
    if stacked is not None:
        together = OpenGraph("infer.stacked.onnx", stacked, 1)
        _check_graph(together, rows | _each(arrays), _each(given))
    inputs, outputs = rows | arrays | state | step, new | {"loss": "float32 [N]"}
    _check_graph(OpenGraph("train.onnx", train, 1), inputs, outputs)


def _each(kinds: Mapping[str, str]) -> dict[str, str]:
    """Put the axis of the members in front."""
    return {name: kind.replace("[", "[M, ").replace("[M, ]", "[M]") for name, kind in kinds.items()}


def _features(graph: OpenGraph) -> str:
    """Return how features must be declared: of any fixed width."""
    _, shape = graph.outputs.get("features", (None, []))
    return f"float32 [N, {shape[-1] if shape and isinstance(shape[-1], int) else 'F'}]"


def _check_graph(graph: OpenGraph, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> None:
    for role, wanted, found in (
        ("input", inputs, graph.inputs),
        ("output", outputs, graph.outputs),
    ):
        for name in sorted(wanted.keys() | found.keys()):
            have = _describe(*found[name]) if name in found else "missing"
            want = wanted.get(name, "none of that name")
            if have != want:
                raise BundleError(
                    f"{graph.name}: {role} `{name}` is {have}, where the manifest has {want}. "
                    "Build the bundle again."
                )


def _describe(dtype: np.dtype[Any], shape: list[int | str | None]) -> str:
    names = [size if isinstance(size, int) else "N" for size in shape]
    if shape[:1] == [MEMBERS]:
        names[0] = MEMBERS
    sizes = ", ".join(map(str, names))
    return f"{dtype} [{sizes}]"
