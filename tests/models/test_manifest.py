"""The manifest: one encoding for one meaning, and no combination that no model can have."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given

from headwater.errors import BundleError
from headwater.settings import Duration, encode_hook
from headwater_models.manifest import FORMAT, Array, Manifest
from tests.models.bundles import CHANNELS, manifest_with, manifests

PLAIN = manifest_with(Array(name="w", shape=(2,)), Array(name="own", shape=(3,), merge="local"))


def changed(**fields: Any) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(PLAIN, **fields), enc_hook=encode_hook)


@given(manifests())
def test_a_manifest_survives_its_encoding(manifest: Manifest) -> None:
    assert Manifest.decode(manifest.encode()) == manifest
    assert Manifest.decode(manifest.encode()).encode() == manifest.encode()


def test_local_arrays_are_not_shared() -> None:
    assert [array.name for array in PLAIN.shared] == ["w"]


def test_a_forecast_has_one_output_and_knows_its_column() -> None:
    assert (PLAIN.outputs, PLAIN.target_index) == (1, 0)


def test_a_classification_has_an_output_for_each_class() -> None:
    manifest = Manifest.decode(
        changed(task="classification", classes=("dry", "wet"), loss="cross_entropy", target="")
    )
    assert manifest.outputs == 2


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"format": FORMAT + 1}, "newer than this program"),
        ({"channels": ()}, "at least one is needed"),
        ({"channels": (CHANNELS[0], CHANNELS[0])}, "each name may stand once"),
        (
            {"channels": (msgspec.structs.replace(CHANNELS[0], minimum=10.0),)},
            "minimum must be below maximum",
        ),
        ({"arrays": (Array(name="w", shape=()),), "state": (Array(name="w", shape=()),)}, "once"),
        ({"grid": msgspec.structs.replace(PLAIN.grid, period=Duration(0))}, "above zero"),
        ({"grid": msgspec.structs.replace(PLAIN.grid, max_gap=Duration(1))}, "at least"),
        ({"reserve": msgspec.structs.replace(PLAIN.reserve, block=Duration(61_000))}, "multiple"),
        ({"target": "snow"}, "'snow' must name one of the channels"),
        ({"horizon": Duration(0)}, "horizon must be a multiple"),
        ({"horizon": Duration(90_000)}, "horizon must be a multiple"),
        ({"task": "classification", "loss": "cross_entropy"}, "at least two"),
        ({"loss": "cross_entropy"}, "do not fit"),
        ({"inputs": ("time",)}, "begin with window"),
    ],
)
def test_a_combination_that_no_model_can_have_is_refused(
    fields: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(BundleError, match=complaint):
        Manifest.decode(changed(**fields))


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(BundleError, match="colour"):
        Manifest.decode(PLAIN.encode().replace(b'{"format"', b'{"colour":1,"format"'))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff", b'{"name":"x"}'])
def test_what_is_no_manifest_is_refused(text: bytes) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json"):
        Manifest.decode(text)
