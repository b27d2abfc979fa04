"""Operators in float64 by their definition, where neither ONNX Runtime nor ONNX has them right."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

Array = NDArray[Any]
Result = tuple[Array]
ALL = slice(None)


def reference(graph: bytes) -> Callable[..., dict[str, Array]]:
    """Return a function from inputs to outputs, by name, that needs no runtime."""
    model = ReferenceEvaluator(onnx.load_model_from_string(graph), new_ops=OPERATORS)
    names = model.output_names
    return lambda feeds: dict(zip(names, model.run(None, dict(feeds)), strict=True))


def _erf(x: Array) -> Array:
    return np.asarray(np.vectorize(math.erf, otypes=[x.dtype])(x))


class Erf(OpRun):
    """ONNX's own rounds to float32."""

    def _run(self, x: Array) -> Result:
        return (_erf(x),)


class Gelu(OpRun):
    """ONNX's own uses its ``Erf``."""

    def _run(self, x: Array, approximate: str = "none") -> Result:
        if approximate == "tanh":
            inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
            return (np.asarray(0.5 * x * (1 + np.tanh(inner))),)
        return (np.asarray(0.5 * x * (1 + _erf(x / math.sqrt(2)))),)


class Mean(OpRun):
    """ONNX's own adds up in place, which does not broadcast."""

    def _run(self, *x: Array) -> Result:
        return (np.asarray(sum(x) / len(x), x[0].dtype),)


class Windows:
    """Where the windows over the places of ``[N, C, places...]`` lie."""

    def __init__(self, sizes: Any, kernel: Any, given: dict[str, Any]) -> None:
        axes = len(sizes)
        self.kernel = tuple(kernel)
        self.strides = given.get("strides") or [1] * axes
        self.dilations = given.get("dilations") or [1] * axes
        reach = [d * (k - 1) + 1 for k, d in zip(kernel, self.dilations, strict=True)]
        pads = given.get("pads") or [0] * 2 * axes
        self.before, after = list(pads[:axes]), list(pads[axes:])
        rounding = math.ceil if given.get("ceil_mode") else math.floor
        self.counts = []
        for i, size in enumerate(sizes):
            if given.get("auto_pad") in ("SAME_UPPER", "SAME_LOWER"):
                count = math.ceil(size / self.strides[i])
                total = max((count - 1) * self.strides[i] + reach[i] - size, 0)
                halves = [total // 2, total - total // 2]
                if given["auto_pad"] == "SAME_LOWER":
                    halves.reverse()
                self.before[i], after[i] = halves
            room = size + self.before[i] + after[i] - reach[i]
            self.counts.append(rounding(room / self.strides[i]) + 1)
        self.padded = [s + b + a for s, b, a in zip(sizes, self.before, after, strict=True)]

    def offsets(self) -> list[tuple[int, ...]]:
        """List the places within a window."""
        return list(itertools.product(*map(range, self.kernel)))

    def at(self, window: tuple[int, ...], offset: tuple[int, ...]) -> tuple[int, ...]:
        """Return the place under a window's offset; below 0 and beyond the size in the padding."""
        steps = zip(window, offset, self.strides, self.dilations, self.before, strict=True)
        return tuple(w * s + o * d - b for w, o, s, d, b in steps)


def _inside(place: tuple[int, ...], sizes: Any) -> bool:
    return all(0 <= at < size for at, size in zip(place, sizes, strict=True))


def _index(*parts: Any) -> Any:
    return parts


class Conv(OpRun):
    """ONNX's own fails on groups."""

    def _run(self, x: Array, w: Array, b: Array | None = None, **given: Any) -> Result:
        windows, group = Windows(x.shape[2:], w.shape[2:], given), given.get("group") or 1
        y = np.zeros((len(x), len(w), *windows.counts), x.dtype)
        into, out = w.shape[1], len(w) // group
        for window in np.ndindex(*windows.counts):
            for offset in windows.offsets():
                place = windows.at(window, offset)
                for g in range(group) if _inside(place, x.shape[2:]) else ():
                    taken = x[_index(ALL, slice(g * into, (g + 1) * into), *place)]
                    to = slice(g * out, (g + 1) * out)
                    y[_index(ALL, to, *window)] += taken @ w[_index(to, ALL, *offset)].T
        return (y if b is None else y + b.reshape(-1, *[1] * (x.ndim - 2)),)


class ConvTranspose(OpRun):
    """ONNX's own fails on groups."""

    def _run(self, x: Array, w: Array, b: Array | None = None, **given: Any) -> Result:
        windows, group = Windows(x.shape[2:], w.shape[2:], given), given.get("group") or 1
        axes = x.ndim - 2
        pads, extra = given.get("pads") or [0] * 2 * axes, given.get("output_padding") or [0] * axes
        sizes = [
            windows.strides[i] * (x.shape[2 + i] - 1)
            + windows.dilations[i] * (w.shape[2 + i] - 1)
            + (1 + extra[i] - pads[i] - pads[axes + i])
            for i in range(axes)
        ]
        into, out = len(w) // group, w.shape[1]
        y = np.zeros((len(x), group * out, *sizes), x.dtype)
        for window in np.ndindex(*x.shape[2:]):
            for offset in windows.offsets():
                place = windows.at(window, offset)
                for g in range(group) if _inside(place, sizes) else ():
                    taken = slice(g * into, (g + 1) * into)
                    part = x[_index(ALL, taken, *window)] @ w[_index(taken, ALL, *offset)]
                    y[_index(ALL, slice(g * out, (g + 1) * out), *place)] += part
        return (y if b is None else y + b.reshape(-1, *[1] * axes),)


class AveragePool(OpRun):
    """ONNX's own leaves dilations out of the count."""

    def _run(self, x: Array, kernel_shape: Any = None, **given: Any) -> Result:
        windows = Windows(x.shape[2:], kernel_shape, given)
        y = np.zeros((*x.shape[:2], *windows.counts), x.dtype)
        for window in np.ndindex(*windows.counts):
            places = [windows.at(window, offset) for offset in windows.offsets()]
            inside = [place for place in places if _inside(place, x.shape[2:])]
            if given.get("count_include_pad"):
                shifted = [np.add(place, windows.before) for place in places]
                count = sum(_inside(tuple(place), windows.padded) for place in shifted)
            else:
                count = len(inside)
            total = np.sum([x[_index(..., *place)] for place in inside], axis=0)
            y[_index(..., *window)] = total / count
        return (y,)


class GlobalMaxPool(OpRun):
    """ONNX's own takes two axes of places for granted."""

    def _run(self, x: Array) -> Result:
        return (np.asarray(x.max(axis=tuple(range(2, x.ndim)), keepdims=True)),)


OPERATORS = [AveragePool, Conv, ConvTranspose, Erf, Gelu, GlobalMaxPool, Mean]
