"""The weights file: plain safetensors, in one layout, whatever the strides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater.errors import BundleError
from headwater_models.limits import Limits
from headwater_models.manifest import Array, Manifest
from headwater_models.weights import (
    check_weights,
    decode_weights,
    encode_weights,
    load_weights,
    save_weights,
)
from tests.models.bundles import manifest_with, models

Model = tuple[Manifest, dict[str, NDArray[np.float32]]]

MANIFEST = manifest_with(Array(name="w", shape=(2, 3)), Array(name="b", shape=(3,)))
WEIGHTS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(3, np.float32)}


@given(models())
def test_weights_survive_the_file_bit_for_bit(model: Model) -> None:
    manifest, weights = model
    back = decode_weights(manifest, encode_weights(weights))
    assert list(back) == [array.name for array in manifest.arrays]
    for name, value in back.items():
        assert value.tobytes() == weights[name].tobytes()
        assert value.shape == weights[name].shape
        assert value.flags.c_contiguous
        assert value.flags.writeable


@given(models())
def test_the_file_is_what_the_library_writes_of_contiguous_arrays(model: Model) -> None:
    _, weights = model
    contiguous = {name: np.asarray(value, order="C") for name, value in weights.items()}
    assert encode_weights(weights) == safetensors.numpy.save(contiguous)


@given(models())
def test_the_library_reads_the_file(model: Model) -> None:
    _, weights = model
    back = safetensors.numpy.load(encode_weights(weights))
    assert back.keys() == weights.keys()
    assert all(np.array_equal(back[name], weights[name]) for name in weights)


@given(st.data())
def test_a_change_to_the_layout_is_refused(data: st.DataObject) -> None:
    whole = encode_weights(WEIGHTS)
    header = len(whole) - 4 * 9
    at = data.draw(st.integers(0, header - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[at]))
    with pytest.raises(BundleError):
        decode_weights(MANIFEST, whole[:at] + bytes([byte]) + whole[at + 1 :])


@given(st.integers(0, len(encode_weights(WEIGHTS)) - 1))
def test_a_truncated_file_is_refused(size: int) -> None:
    with pytest.raises(BundleError, match="damaged"):
        decode_weights(MANIFEST, encode_weights(WEIGHTS)[:size])


def test_hidden_metadata_is_refused() -> None:
    file = safetensors.numpy.save(WEIGHTS, metadata={"note": "hello"})
    with pytest.raises(BundleError, match="not laid out as Headwater writes it"):
        decode_weights(MANIFEST, file)


@pytest.mark.parametrize(
    ("weights", "complaint"),
    [
        ({"w": WEIGHTS["w"]}, "b is missing"),
        ({**WEIGHTS, "x": WEIGHTS["b"]}, r"x is \[3\]; the manifest says nothing of it"),
        ({**WEIGHTS, "w": WEIGHTS["w"].T}, r"w is \[3, 2\]; the manifest says \[2, 3\]"),
        ({**WEIGHTS, "b": WEIGHTS["b"] * np.nan}, "b holds a value that is not finite"),
    ],
)
def test_a_file_of_another_model_is_refused_by_the_name_of_the_array(
    weights: dict[str, NDArray[np.float32]], complaint: str
) -> None:
    with pytest.raises(BundleError, match=complaint):
        decode_weights(MANIFEST, encode_weights(weights))


@pytest.mark.parametrize(
    ("weights", "complaint"),
    [
        ({"w": WEIGHTS["w"]}, "missing: b"),
        ({**WEIGHTS, "x": WEIGHTS["b"]}, "not in the manifest: x"),
        ({**WEIGHTS, "b": WEIGHTS["b"].astype(np.float64)}, r"b is float64 \[3\]"),
        ({**WEIGHTS, "b": WEIGHTS["b"][:2]}, r"b is float32 \[2\]; .* float32 \[3\]"),
        ({**WEIGHTS, "b": WEIGHTS["b"] * np.inf}, "b holds a value that is not finite"),
    ],
)
def test_arrays_of_another_model_are_refused_by_name(
    weights: dict[str, NDArray[np.float32]], complaint: str
) -> None:
    with pytest.raises(BundleError, match=complaint):
        check_weights(MANIFEST, weights)


def test_a_saved_file_is_loaded_again(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    save_weights(path, WEIGHTS)
    assert np.array_equal(load_weights(path, MANIFEST)["w"], WEIGHTS["w"])
    assert [entry.name for entry in tmp_path.iterdir()] == ["v.safetensors"]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(BundleError, match=r"v\.safetensors: The weights file is damaged"):
        load_weights(path, MANIFEST)


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    save_weights(path, WEIGHTS)
    with pytest.raises(BundleError, match="larger than the 16 bytes"):
        load_weights(path, MANIFEST, Limits(weights=16))
