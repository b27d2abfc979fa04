"""A strategy's state survives the books bit for bit; weights that are not finite never do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from headwater.errors import StorageError, UnsupportedError
from headwater_coordinator.strategies.strategy import decode_state, encode_state, moved

ARRAYS = st.one_of(
    npst.arrays("f4", npst.array_shapes(min_dims=0, max_dims=2)),
    npst.arrays("f8", npst.array_shapes(min_dims=0, max_dims=2)),
)


@given(st.dictionaries(st.sampled_from(["m_t", "v_t", "steps"]), ARRAYS))
def test_a_state_comes_back_bit_for_bit(state: dict[str, NDArray[np.floating]]) -> None:
    back = decode_state(encode_state({name: array.T for name, array in state.items()}))
    assert back.keys() == state.keys()
    for name, array in state.items():
        assert (back[name].dtype, back[name].shape) == (array.dtype, array.T.shape)
        assert back[name].tobytes() == np.ascontiguousarray(array.T).tobytes()


def test_a_state_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        decode_state(b"hello")


@pytest.mark.parametrize("step", [np.nan, np.inf, 1e39])
def test_weights_that_are_not_finite_are_refused(step: float) -> None:
    with pytest.raises(UnsupportedError, match="not finite"):
        moved(np.ones(2, np.float32), np.array([0.0, step]))
