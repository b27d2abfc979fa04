"""Upsampling by the nearest, taken for what it is: a choice of places along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper
from onnx.reference import ReferenceEvaluator

from headwater_models.graphs.expression import OPSET, Value
from headwater_models.graphs.importing.replay import Step
from headwater_models.graphs.sizes import Size

_COORDINATES = ("asymmetric", "half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn")
"""Transformations of which a whole factor leaves no rounding in doubt."""


@dataclass(frozen=True, slots=True)
class _Change:
    """Another size of an axis."""

    axis: int
    size: int
    scale: float


def resize(step: Step) -> Sequence[Value] | None:
    """Gather along each axis that grows by a whole factor; resize otherwise, all but the rows."""
    x, attributes = step.needed(0), step.attributes
    coordinates = attributes.get("coordinate_transformation_mode", "half_pixel")
    policy = attributes.get("keep_aspect_ratio_policy", "stretch")
    changes = _changes(step, x)
    if changes is None or coordinates == "tf_crop_and_resize" or policy != "stretch":
        return None
    whole = all(change.scale >= 1 and change.scale == int(change.scale) for change in changes)
    nearest = attributes.get("mode", "nearest") == "nearest"
    if not (whole and nearest and coordinates in _COORDINATES):
        return [_plain(step, x, changes)]
    for change in changes:
        places = _places(int(x.shape[change.axis]), change.scale, coordinates, step)
        x = step.graph.op("Gather", x, places, axis=change.axis)
    return [x]


def _changes(step: Step, x: Value) -> list[_Change] | None:
    """Return what gets another size, or None where that is not known before the graph runs."""
    rank, scales, sizes = len(x.shape), step.given(2), step.known(3)
    axes = [int(axis) % rank for axis in step.attributes.get("axes", range(rank))]
    factors = None if scales is None else step.graph.constants.get(scales.name)
    changes = list[_Change | None]()
    for at, axis in enumerate(axes):
        have = x.shape[axis]
        if sizes is not None:
            changes += _to_size(axis, have, sizes[at], step.rows)
        elif factors is not None and factors.size:
            changes += _by_scale(axis, have, float(factors[at]))
        else:
            return None
    found = [change for change in changes if change is not None]
    return found if len(found) == len(changes) else None


def _to_size(axis: int, have: Size, want: Size, rows: int) -> list[_Change | None]:
    """Return nothing where a size stays; that of the rows does, if the export fixed them too."""
    if have == want or (isinstance(have, str) and want == rows):
        return []
    if isinstance(have, str) or isinstance(want, str):
        return [None]
    return [_Change(axis, int(want), want / have)]


def _by_scale(axis: int, have: Size, scale: float) -> list[_Change | None]:
    if scale == 1:
        return []
    return [None if isinstance(have, str) else _Change(axis, int(have * scale), scale)]


def _plain(step: Step, x: Value, changes: Sequence[_Change]) -> Value:
    """Resize along the axes that change, so that the rows stay open."""
    graph, omitted = step.graph, Value(step.graph, "", step.graph.dtype, ())
    told: list[Value | NDArray[Any]] = [np.array([change.scale for change in changes], np.float32)]
    if step.known(3) is not None:
        told = [omitted, np.array([change.size for change in changes], np.int64)]
    shape = list(x.shape)
    for change in changes:
        shape[change.axis] = change.size
    attributes = {**step.attributes, "axes": [change.axis for change in changes]}
    return graph.declare(graph.op("Resize", x, omitted, *told, shape=tuple(shape), **attributes))


def _places(size: int, factor: float, coordinates: str, step: Step) -> NDArray[np.int64]:
    """Return the place that each of ``size * factor`` new ones is nearest to, as ONNX says."""
    rounding = step.attributes.get("nearest_mode", "round_prefer_floor")
    node = helper.make_node(
        "Resize", ["x", "", "scales"], ["y"], mode="nearest", nearest_mode=rounding,
        coordinate_transformation_mode=coordinates,
    )  # fmt: skip
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(np.float32))
    graph = helper.make_graph(
        [node], "nearest",
        [helper.make_tensor_value_info(name, kind, None) for name in ("x", "scales")],
        [helper.make_tensor_value_info("y", kind, None)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    feeds = {"x": np.arange(size, dtype=np.float32), "scales": np.array([factor], np.float32)}
    nearest: Any = ReferenceEvaluator(model).run(["y"], feeds)
    return np.asarray(nearest[0], np.int64)
