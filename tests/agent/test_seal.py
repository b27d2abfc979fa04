from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.seal import seal, unseal
from headwater_agent.segment import DamagedError


@given(st.binary(max_size=64), st.text(max_size=8))
def test_a_state_is_got_back(state: bytes, about: str) -> None:
    assert unseal(seal(state, about), about) == state


@given(st.binary(max_size=64), st.data())
def test_no_bit_changes_unnoticed(state: bytes, data: st.DataObject) -> None:
    sealed = bytearray(seal(state, "stream"))
    place = data.draw(st.integers(0, 8 * len(sealed) - 1))
    sealed[place // 8] ^= 1 << place % 8
    with pytest.raises(DamagedError, match="'stream'"):
        unseal(bytes(sealed), "stream")


@pytest.mark.parametrize("sealed", [None, 3, "text", b"", b"abc", seal(b"state", "other")])
def test_what_was_never_sealed_so_is_refused(sealed: object) -> None:
    with pytest.raises(DamagedError, match="not as it was written"):
        unseal(sealed, "stream")
