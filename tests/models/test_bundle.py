"""Bundles: the same bytes for the same model, and not a byte of them can change unseen."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater.errors import BundleError, StorageError
from headwater_models.bundle import Bundle
from headwater_models.graphs.stack import stack_inference
from headwater_models.keys import SigningKey
from headwater_models.limits import Limits
from headwater_models.manifest import Manifest
from headwater_models.signing import sign_version
from headwater_models.zipped import pack_zip
from tests.models.bundles import CREATED, PUBLISHER, RELEASE, STRANGER, models, signed, tiny

ROOT = Path(__file__).resolve().parents[2]
ENV = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "models")])}

Model = tuple[Manifest, dict[str, NDArray[np.float32]]]


def same(one: Bundle, other: Bundle) -> bool:
    return one._files() == other._files()


@cache
def zipped() -> bytes:
    return pack_zip(signed()._files())


@pytest.mark.parametrize("name", ["river", "river.zip"])
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_a_bundle_is_loaded_as_it_was_saved(tmp_path: Path, name: str, kind: str) -> None:
    tiny(kind).save(tmp_path / name)
    loaded = Bundle.load(tmp_path / name)
    assert same(loaded, tiny(kind))
    assert (loaded.model_id, loaded.version_id) == (tiny(kind).model_id, tiny(kind).version_id)


@given(models())
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_manifest_and_weights_survive_the_zip(tmp_path: Path, model: Model) -> None:
    manifest, weights = model
    bundle = Bundle(manifest=manifest, infer=tiny().infer, train=tiny().train, weights=weights)
    path = tmp_path / "b.zip"
    bundle.save(path, replace=True)
    loaded = Bundle.load(path)
    assert same(loaded, bundle)
    assert loaded.version_id == bundle.version_id
    for name, value in loaded.weights.items():
        assert value.tobytes() == weights[name].tobytes()


def test_a_bundle_has_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.models.bundles import signed;"
        "signed().save(Path(sys.argv[1]))"
    )
    for number in ("1", "2"):
        path = str(tmp_path / f"{number}.zip")
        subprocess.run([sys.executable, "-c", program, path], check=True, cwd=ROOT, env=ENV)
    digests = {hashlib.sha256(p.read_bytes()).hexdigest() for p in tmp_path.glob("*.zip")}
    assert digests == {hashlib.sha256(zipped()).hexdigest()}


def test_the_graph_of_many_members_is_part_of_the_model(tmp_path: Path) -> None:
    stacked = stack_inference(tiny().infer, tiny().manifest)
    bundle = dataclasses.replace(tiny(), stacked=stacked)
    bundle.save(tmp_path / "b.zip")
    loaded = Bundle.load(tmp_path / "b.zip")
    assert loaded.stacked == stacked
    assert loaded.model_id == bundle.model_id != tiny().model_id
    with pytest.raises(BundleError, match=r"about"):
        dataclasses.replace(signed(), stacked=stacked).verify()


def test_a_card_for_people_is_outside_of_names_and_signatures(tmp_path: Path) -> None:
    bundle = dataclasses.replace(signed(), card="# River\n")
    bundle.save(tmp_path / "b.zip")
    loaded = Bundle.load(tmp_path / "b.zip", publisher=PUBLISHER.public)
    assert (loaded.card, loaded.version_id) == ("# River\n", signed().version_id)


def test_facts_are_outside_of_names_and_signatures(tmp_path: Path) -> None:
    bundle = dataclasses.replace(signed(), facts={"created": "2026-01-01", "host": "mill"})
    bundle.save(tmp_path / "b")
    loaded = Bundle.load(tmp_path / "b", publisher=PUBLISHER.public)
    assert loaded.facts == {"created": "2026-01-01", "host": "mill"}
    assert (loaded.model_id, loaded.version_id) == (tiny().model_id, tiny().version_id)


def test_a_manifest_written_by_another_program_keeps_its_name(tmp_path: Path) -> None:
    spaced = tiny().manifest_json.replace(b'"format":2', b'"format": 2')
    bundle = dataclasses.replace(tiny(), manifest_json=spaced)
    bundle.save(tmp_path / "b")
    loaded = Bundle.load(tmp_path / "b")
    assert loaded.manifest == tiny().manifest
    assert loaded.model_id == bundle.model_id != tiny().model_id


def test_a_manifest_and_its_json_cannot_differ() -> None:
    other = tiny().manifest.encode().replace(b'"river"', b'"brook"')
    with pytest.raises(BundleError, match="not the JSON of the manifest"):
        dataclasses.replace(tiny(), manifest_json=other)


def test_the_publisher_signs_the_model_and_its_first_version() -> None:
    model, version = signed().verify(publisher=PUBLISHER.public)
    assert (model.model, model.release_keys) == (signed().model_id, (RELEASE.public,))
    assert (version.kind, version.sequence) == ("release", 1)
    assert (version.version, version.key) == (signed().version_id, PUBLISHER.public)


def released(key: Any = RELEASE, sequence: int = 7) -> Bundle:
    weights = {name: value + 1 for name, value in tiny().weights.items()}
    unsigned = signed().with_version(weights, None)
    statement = sign_version(
        key,
        kind="release",
        model=unsigned.model_id,
        version=unsigned.version_id,
        sequence=sequence,
        parent=signed().version_id,
    )
    return signed().with_version(weights, statement)


def test_a_release_key_signs_later_versions_of_the_same_model(tmp_path: Path) -> None:
    released().save(tmp_path / "b")
    loaded = Bundle.load(tmp_path / "b", publisher=PUBLISHER.public)
    assert loaded.model_id == signed().model_id
    assert loaded.version_id != signed().version_id
    assert loaded.verify()[1].sequence == 7


def test_signing_again_keeps_a_version_whose_key_may_still_speak() -> None:
    again = released().sign(PUBLISHER, delegates=[RELEASE.public], created=CREATED + 1)
    assert again.version_statement == released().version_statement
    assert again.verify()[0].created == CREATED + 1


def test_revoking_a_release_key_has_the_publisher_sign_the_weights_as_the_next_release() -> None:
    model, version = released().sign(PUBLISHER, created=CREATED + 1).verify()
    assert model.release_keys == ()
    assert (version.sequence, version.key) == (8, PUBLISHER.public)


def test_a_version_of_a_key_without_delegation_is_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not delegate"):
        released(STRANGER).save(tmp_path / "b")


def test_a_key_that_comes_in_the_publishers_place_is_believed_as_the_publishers() -> None:
    heir = SigningKey.from_seed(b"h" * 32)
    handed = signed().sign(heir, delegates=["ab" * 32], created=CREATED + 1, replaces=PUBLISHER)
    model, version = handed.verify(publisher=PUBLISHER.public)
    assert (model.publisher, version.key) == (heir.public, heir.public)
    again = handed.sign(heir, created=CREATED + 2)
    assert again.verify(publisher=PUBLISHER.public)[0].successions == model.successions
    after = again.sign(RELEASE, created=CREATED + 3, replaces=heir)
    for trusted in (PUBLISHER, heir, RELEASE):
        assert after.verify(publisher=trusted.public)[0].publisher == RELEASE.public
    with pytest.raises(BundleError, match="trusted here"):
        handed.sign(STRANGER, created=CREATED + 2).verify(publisher=PUBLISHER.public)


def test_only_the_key_that_publishes_a_bundle_can_be_replaced() -> None:
    for bundle in (tiny(), signed()):
        with pytest.raises(BundleError, match="does not publish this bundle"):
            bundle.sign(RELEASE, created=CREATED + 1, replaces=STRANGER)


def test_a_publishers_key_can_be_replaced_sixteen_times() -> None:
    bundle = signed()
    for n in range(16):
        key, other = (PUBLISHER, STRANGER) if n % 2 == 0 else (STRANGER, PUBLISHER)
        bundle = bundle.sign(other, created=CREATED + 1 + n, replaces=key)
    assert bundle.verify(publisher=PUBLISHER.public)
    with pytest.raises(BundleError, match="replaced 16 times"):
        bundle.sign(STRANGER, created=CREATED + 99, replaces=PUBLISHER)


def test_an_unsigned_bundle_is_refused_where_a_publisher_is_asked_for(tmp_path: Path) -> None:
    tiny().save(tmp_path / "b")
    with pytest.raises(BundleError, match=r"not signed .*headwater model sign"):
        Bundle.load(tmp_path / "b", publisher=PUBLISHER.public)


def test_a_bundle_of_another_publisher_is_refused(tmp_path: Path) -> None:
    tiny().sign(STRANGER, created=CREATED).save(tmp_path / "b")
    with pytest.raises(BundleError, match="is the publisher trusted here"):
        Bundle.load(tmp_path / "b", publisher=PUBLISHER.public)


@pytest.mark.parametrize("name", ["model.sig.json", "version.json"])
def test_half_a_signature_is_refused(tmp_path: Path, name: str) -> None:
    signed().save(tmp_path / "b")
    (tmp_path / "b" / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        Bundle.load(tmp_path / "b")


def test_weights_that_the_statement_does_not_name_are_refused(tmp_path: Path) -> None:
    weights = {name: value + 1 for name, value in tiny().weights.items()}
    with pytest.raises(BundleError, match="the signed statement is about"):
        signed().with_version(weights, signed().version_statement).save(tmp_path / "b")


def flipped(whole: bytes, data: st.DataObject) -> bytes:
    """The same bytes but one, which is drawn."""
    at = data.draw(st.integers(0, len(whole) - 1))
    return whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_signed_folder_with_a_changed_byte_is_refused(
    tmp_path: Path, data: st.DataObject
) -> None:
    folder = tmp_path / "b"
    if not folder.exists():
        signed().save(folder)
    file = folder / data.draw(st.sampled_from(sorted(signed()._files())))
    whole = file.read_bytes()
    file.write_bytes(flipped(whole, data))
    with pytest.raises(BundleError):
        Bundle.load(folder)
    file.write_bytes(whole)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_signed_zip_with_a_changed_byte_is_refused(tmp_path: Path, data: st.DataObject) -> None:
    (tmp_path / "b.zip").write_bytes(flipped(zipped(), data))
    with pytest.raises(BundleError):
        Bundle.load(tmp_path / "b.zip")


@pytest.mark.parametrize("name", ["infer", "train", "stacked"])
def test_a_graph_with_data_in_another_file_is_neither_saved_nor_loaded(
    tmp_path: Path, name: str
) -> None:
    graph = onnx.load_model_from_string(tiny().infer)
    tensor = graph.graph.initializer.add(name="far", data_type=onnx.TensorProto.FLOAT, dims=[1])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../far.bin")
    leaky = dataclasses.replace(tiny(), **{name: graph.SerializeToString()})
    with pytest.raises(BundleError, match=rf"{name}\.onnx keeps a tensor in another file"):
        leaky.save(tmp_path / "b")
    (tmp_path / "b.zip").write_bytes(pack_zip(leaky._files()))
    with pytest.raises(BundleError, match=rf"{name}\.onnx keeps a tensor in another file"):
        Bundle.load(tmp_path / "b.zip")


@pytest.mark.parametrize(
    ("name", "data", "complaint"),
    [
        ("manifest.json", b"{", r"manifest\.json"),
        ("weights.safetensors", b"", "damaged"),
        ("facts.json", b"[1]", r"facts\.json is damaged"),
        ("facts.json", b'{"\xff":1}', r"facts\.json is damaged"),
        ("facts.json", b'{"a":' + b"[" * 100_000, r"facts\.json is damaged"),
        ("model.sig.json", b"\xff", r"model\.sig\.json is no text"),
        ("version.json", b"{}", "is missing"),
        ("infer.onnx", b"\x0b", r"infer\.onnx is no ONNX graph"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, data: bytes, complaint: str) -> None:
    tiny().save(tmp_path / "b")
    (tmp_path / "b" / name).write_bytes(data)
    with pytest.raises(BundleError, match=complaint):
        Bundle.load(tmp_path / "b")


def test_limits_are_those_of_the_caller(tmp_path: Path) -> None:
    tiny().save(tmp_path / "b")
    with pytest.raises(BundleError, match="larger than the 100 bytes"):
        Bundle.load(tmp_path / "b", limits=Limits(graph=100))


def test_a_bundle_is_not_overwritten_by_accident(tmp_path: Path) -> None:
    tiny().save(tmp_path / "b")
    with pytest.raises(StorageError, match="is there already"):
        signed().save(tmp_path / "b")
    signed().save(tmp_path / "b", replace=True)
    assert Bundle.load(tmp_path / "b").model_statement is not None


def test_weights_of_another_model_make_no_bundle() -> None:
    with pytest.raises(BundleError, match="missing"):
        dataclasses.replace(tiny(), weights={})


def test_loading_a_bundle_imports_no_onnx(tmp_path: Path) -> None:
    signed().save(tmp_path / "b")
    program = (
        "import sys; from pathlib import Path; from headwater_models.bundle import Bundle;"
        "Bundle.load(Path(sys.argv[1]));"
        "print(*{'onnx', 'onnxruntime', 'flwr'} & {name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "b")],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=ENV,
    )
    assert done.stdout.strip() == ""
