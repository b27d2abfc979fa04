from __future__ import annotations

import numpy as np
import onnx
from hypothesis import given
from hypothesis import strategies as st

from headwater_models.graphs.tensor_types import Shape, dtype_of, shape_of, type_of

SHAPES = st.lists(st.integers(1, 9) | st.sampled_from(["N", "T"]), max_size=4).map(tuple)


@given(st.sampled_from([np.float32, np.float64, np.int64, np.bool_]), SHAPES)
def test_a_type_says_its_dtype_and_shape(dtype: type, shape: Shape) -> None:
    kind = type_of(np.dtype(dtype), shape)
    assert (dtype_of(kind), shape_of("x", kind)) == (np.dtype(dtype), shape)


def test_an_open_size_is_the_known_one_or_gets_a_name_of_its_own() -> None:
    kind = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [None, None, 3])
    assert shape_of("x", kind, {0: "N"}) == ("N", "x:1", 3)
