from __future__ import annotations

import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from headwater.errors import PeerError
from headwater_models.arrays import packed_size
from headwater_models.compression import Method, check_compressed, compress, decompress
from tests.models.bundles import tiny

MANIFEST = tiny("mlp").manifest
SIZE = packed_size(MANIFEST)
ENDS = np.cumsum([array.size for array in MANIFEST.shared])
METHODS: tuple[Method, ...] = ("float16", "int8", "top-k")
RNG = np.random.default_rng(0)

vectors = arrays.arrays(np.float32, SIZE, elements=st.floats(-1000, 1000, width=32))


def drawn() -> np.ndarray:
    return RNG.normal(0, 0.01, SIZE).astype(np.float32)


@given(vectors)
def test_half_precision_keeps_eleven_bits(vector: np.ndarray) -> None:
    back = decompress(compress(vector, MANIFEST, "float16"), MANIFEST)
    np.testing.assert_allclose(back, vector, rtol=2**-11, atol=2**-24)


@given(vectors)
def test_whole_numbers_are_off_by_half_a_step_of_their_array_at_most(vector: np.ndarray) -> None:
    back = decompress(compress(vector, MANIFEST, "int8"), MANIFEST)
    for part, found in zip(np.split(vector, ENDS[:-1]), np.split(back, ENDS[:-1]), strict=True):
        step = np.abs(part).max(initial=0) / 127
        assert np.abs(found - part).max(initial=0) <= 0.5001 * step + 1e-30


@given(vectors, st.floats(0.01, 1))
def test_the_largest_entries_are_kept_and_all_others_are_nothing(
    vector: np.ndarray, keep: float
) -> None:
    back = decompress(compress(vector, MANIFEST, "top-k", keep), MANIFEST)
    count = max(1, round(keep * SIZE))
    assert (back != 0).sum() <= count
    left, kept = np.abs(vector[back == 0]), np.abs(vector[back != 0])
    if kept.size:
        assert np.sort(np.abs(vector))[-count] <= kept.min()
    large = left > np.sort(np.abs(vector))[-count]
    steps = np.repeat(
        [np.abs(p).max(initial=0) / 127 for p in np.split(vector, ENDS[:-1])],
        np.diff([0, *ENDS]),
    )[back == 0]
    assert (left[large] <= 0.5001 * steps[large]).all()


def test_each_takes_fewer_bytes_than_the_one_before() -> None:
    big = tiny("mlp").manifest
    vector = drawn()
    sizes = [compress(vector, big, method, 0.1).size for method in METHODS]
    assert 4 * SIZE > sizes[0] > sizes[1] > sizes[2]


@pytest.mark.parametrize("method", METHODS)
def test_what_is_cut_off_too_long_or_of_another_model_is_refused(method: Method) -> None:
    data = compress(drawn(), MANIFEST, method)
    for wrong in (data[:-3], data[:0], np.append(data, data), np.append(np.uint8(9), data[1:])):
        with pytest.raises(PeerError):
            decompress(wrong.astype(np.uint8), MANIFEST)
    with pytest.raises(PeerError):
        decompress(data, tiny("linear").manifest)


@given(st.binary(max_size=200), st.sampled_from([1, 2, 3]))
def test_any_bytes_give_a_vector_of_the_model_or_are_refused(body: bytes, code: int) -> None:
    data = np.frombuffer(bytes([code]) + zlib.compress(body), np.uint8)
    try:
        found = decompress(data, MANIFEST)
    except PeerError:
        return
    assert found.dtype == np.float32
    assert found.shape == (SIZE,)


@pytest.mark.parametrize("scale", [np.nan, np.inf, -1.0])
def test_a_scale_that_is_none_is_refused(scale: float) -> None:
    body = np.full(len(ENDS), scale, "<f4").tobytes() + bytes(SIZE)
    with pytest.raises(PeerError, match="laid out"):
        decompress(np.frombuffer(b"\x02" + zlib.compress(body), np.uint8), MANIFEST)


def test_a_bomb_is_not_unpacked() -> None:
    bomb = np.frombuffer(b"\x02" + zlib.compress(bytes(50_000_000)), np.uint8)
    tracemalloc.start()
    with pytest.raises(PeerError):
        decompress(bomb, MANIFEST)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize("method", METHODS)
def test_what_was_compressed_here_holds_a_vector_and_nothing_else(method: Method) -> None:
    check_compressed(compress(drawn(), MANIFEST, method, 0.1), MANIFEST, method)


def test_bytes_between_the_parts_another_method_and_infinity_are_found() -> None:
    data = compress(drawn(), MANIFEST, "int8")
    body = zlib.decompress(data[1:].tobytes())
    longer = np.frombuffer(b"\x02" + zlib.compress(body, 0), np.uint8)
    with pytest.raises(PeerError, match="more than its vector"):
        check_compressed(longer, MANIFEST, "int8")
    with pytest.raises(PeerError, match="float16 was asked for"):
        check_compressed(data, MANIFEST, "float16")
    infinite = b"\x01" + zlib.compress(np.full(SIZE, np.inf, "<f2").tobytes(), 6)
    with pytest.raises(PeerError, match="not finite"):
        check_compressed(np.frombuffer(infinite, np.uint8), MANIFEST, "float16")
