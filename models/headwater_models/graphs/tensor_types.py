"""What ONNX says of a tensor, as dtype and shape, and back."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from onnx import helper

Shape = tuple[int | str, ...]
"""Sizes by axis; a name stands for a size that is known only when the graph runs."""


def dtype_of(kind: onnx.TypeProto) -> np.dtype[Any]:
    """Return the dtype of a tensor type."""
    return np.dtype(helper.tensor_dtype_to_np_dtype(kind.tensor_type.elem_type))


def shape_of(
    name: str, kind: onnx.TypeProto, known: Mapping[int, int | str] = MappingProxyType({})
) -> Shape:
    """Return the sizes by axis; one that is open and not *known* gets a name of its own."""
    return tuple(
        d.dim_value if d.HasField("dim_value") else d.dim_param or known.get(axis, f"{name}:{axis}")
        for axis, d in enumerate(kind.tensor_type.shape.dim)
    )


def type_of(dtype: np.dtype[Any], shape: Shape) -> onnx.TypeProto:
    """Return the tensor type of a dtype and a shape."""
    return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(dtype), shape)
