"""Names: the same content has the same name, any other content another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater.errors import BundleError
from headwater_models.identity import model_id, version_id
from headwater_models.manifest import Array, Manifest
from tests.models.bundles import manifest_with, models

Model = tuple[Manifest, dict[str, NDArray[np.float32]]]

MANIFEST = manifest_with(Array(name="w", shape=(2,)), Array(name="b", shape=()))
WEIGHTS = {"w": np.array([1, 2], np.float32), "b": np.array(3, np.float32)}


@given(models())
def test_strides_and_order_do_not_change_a_version(model: Model) -> None:
    manifest, weights = model
    copied = {name: np.array(weights[name], order="C") for name in sorted(weights, reverse=True)}
    assert version_id(manifest, "0" * 64, weights) == version_id(manifest, "0" * 64, copied)


@given(st.data())
def test_a_single_changed_bit_changes_a_version(data: st.DataObject) -> None:
    bits = WEIGHTS["w"].view(np.uint32).copy()
    bits[data.draw(st.integers(0, 1))] ^= np.uint32(1 << data.draw(st.integers(0, 22)))
    other = {**WEIGHTS, "w": bits.view(np.float32)}
    assert version_id(MANIFEST, "0" * 64, other) != version_id(MANIFEST, "0" * 64, WEIGHTS)


def test_zero_and_minus_zero_are_two_versions() -> None:
    manifest = manifest_with(Array(name="b", shape=()))
    plus, minus = ({"b": np.array(zero, np.float32)} for zero in (0.0, -0.0))
    assert version_id(manifest, "", plus) != version_id(manifest, "", minus)


def test_the_same_weights_of_another_model_are_another_version() -> None:
    assert version_id(MANIFEST, "0" * 64, WEIGHTS) != version_id(MANIFEST, "1" * 64, WEIGHTS)


def test_weights_that_are_not_the_models_have_no_name() -> None:
    with pytest.raises(BundleError, match="b"):
        version_id(MANIFEST, "0" * 64, {"w": WEIGHTS["w"]})


@given(st.binary(max_size=8), st.binary(max_size=8), st.binary(max_size=8), st.integers(0, 24))
def test_no_byte_can_move_from_one_file_to_the_next(
    manifest: bytes, infer: bytes, train: bytes, cut: int
) -> None:
    joined = manifest + infer + train
    moved = (joined[:cut], joined[cut : cut + len(infer)], joined[cut + len(infer) :])
    same = moved == (manifest, infer, train)
    assert (model_id(*moved) == model_id(manifest, infer, train)) is same


def test_the_names_are_fixed_for_ever() -> None:
    assert model_id(b"m", b"i", b"t") == (
        "34fffbde1a6771cb13d143bbbe749724d66061ae39e19ba31a02feb8d264fc0c"
    )
    assert version_id(MANIFEST, "0" * 64, WEIGHTS) == (
        "dab1c843d22d2ed36026538433688e95c88af7bd94712ebed6b7ae353e40d694"
    )


def test_the_graph_of_many_members_counts_where_there_is_one() -> None:
    names = [model_id(b"m", b"i", b"t", stacked) for stacked in (None, b"", b"s", b"u")]
    assert len(set(names)) == 4
    assert names[0] == model_id(b"m", b"i", b"t")
