"""The canary finder itself: a leak planted on purpose in each encoding is found."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from tests.system.canary import Scaling, find, patterns

ROW = (613.27, 721.83, 57.219, 83.417, 4127.3, 291.61)
SCALING = Scaling(
    "scaled", (80.0, 100.0, 15.0, 50.0, 1200.0, 60.0), (75.0, 90.0, 20.0, 35.0, 1e3, 55)
)
WANTED = patterns(ROW, [SCALING])
RNG = np.random.default_rng(5)
NOISE = RNG.standard_normal(20_000).astype(np.float32).tobytes()
FORMS = ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"]
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "base64": base64.b64encode,
    "url-safe base64": base64.urlsafe_b64encode,
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "base64 in zlib": lambda data: zlib.compress(base64.b64encode(data)),
    "zlib in base64": lambda data: base64.b64encode(zlib.compress(data)),
}


def scaled(row: tuple[float, ...]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return (np.array(row) - SCALING.shift) / SCALING.scale


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("values", [np.array(ROW), scaled(ROW)], ids=["raw", "scaled"])
def test_a_leaked_row_is_found(
    form: str, packing: str, values: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> None:
    body = NOISE + PACKINGS[packing](values.astype(form).tobytes()) + NOISE
    assert find(body, WANTED)


@pytest.mark.parametrize("form", FORMS)
def test_a_leaked_series_is_found(form: str) -> None:
    body = NOISE + np.full(6, ROW[0]).astype(form).tobytes() + NOISE
    assert find(body, WANTED)


@pytest.mark.parametrize("packing", PACKINGS)
def test_leaked_text_is_found(packing: str) -> None:
    text = json.dumps({"note": [f"{ROW[3]} mg"]}).encode()
    assert find(NOISE + PACKINGS[packing](text) + NOISE, WANTED)


def test_scaled_text_is_found() -> None:
    text = json.dumps([float(value) for value in scaled(ROW)]).encode()
    assert find(text, WANTED)


def test_weights_and_their_like_raise_no_alarm() -> None:
    assert find(NOISE * 4, WANTED) == set()
    assert find(base64.b64encode(NOISE) + zlib.compress(NOISE), WANTED) == set()
