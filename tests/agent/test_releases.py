from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from headwater.errors import BundleError
from headwater.wire import Kind
from headwater_agent.compute import Compute
from headwater_agent.correspondence import StoredTask, StoredVersion
from headwater_agent.exchange import Exchange
from headwater_agent.releases import Releases, first_version
from headwater_agent.settings import AgentSettings, Input, Trust
from headwater_models.arrays import Arrays
from headwater_models.identity import version_id
from headwater_models.keys import SigningKey
from headwater_models.signing import sign_model, sign_version
from headwater_models.weights import save_weights
from tests.models.bundles import CREATED, PUBLISHER, RELEASE, STRANGER, signed


@dataclass
class Device:
    """A device's exchange folder, written as the federation client would."""

    settings: AgentSettings
    exchange: Exchange
    releases: Releases

    def receive(
        self,
        weights: Arrays,
        sequence: int,
        *,
        key: SigningKey = RELEASE,
        kind: Literal["release", "candidate", "rollback"] = "release",
        claimed: Literal["release", "rollback"] = "release",
    ) -> str:
        bundle = signed()
        name = version_id(bundle.manifest, bundle.model_id, weights)
        statement = sign_version(
            key, kind=kind, model=bundle.model_id, version=name, sequence=sequence
        )
        save_weights(self.settings.exchange / "versions" / f"{name}.safetensors", weights)
        task = StoredTask(
            task=f"{sequence:064x}", kind=Kind.RELEASE, fields=b"", flower=b"", received_ms=0
        )
        stored = StoredVersion(name, claimed, sequence, statement, merged=7, received_ms=0)
        self.exchange.keep(task, stored)
        return name

    def path(self, name: str) -> Path:
        return self.settings.exchange / "versions" / f"{name}.safetensors"


@pytest.fixture
def device(tmp_path: Path) -> Device:
    settings = AgentSettings(
        device="roof-1",
        bundle=tmp_path / "bundle",
        input=Input(pattern="tank/{stream}"),
        state=tmp_path,
        trust=Trust(publisher=PUBLISHER.public),
    )
    (settings.exchange / "versions").mkdir(parents=True)
    bundle = signed()
    return Device(
        settings, Exchange(settings.exchange_db), Releases(settings, bundle, Compute(bundle))
    )


def moved(by: float) -> Arrays:
    return {name: array + np.float32(by) for name, array in signed().weights.items()}


def test_a_proved_release_is_found_with_the_updates_it_contains(device: Device) -> None:
    name = device.receive(moved(0.1), 2)
    found = device.releases.newer(first_version(signed()))
    assert found is not None
    version, merged = found
    assert (version.name, version.sequence, merged) == (name, 2, 7)
    np.testing.assert_equal(version.weights, moved(0.1))


def test_a_release_of_an_older_sequence_is_not_taken(device: Device) -> None:
    device.receive(moved(0.1), 2)
    device.receive(moved(0.2), 3)
    found = device.releases.newer(first_version(signed()))
    assert found is not None
    assert found[0].sequence == 3
    assert device.releases.newer(found[0]) is None


def change_a_byte(device: Device) -> None:
    path = device.path(device.receive(moved(0.1), 2))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def sign_with_a_strange_key(device: Device) -> None:
    device.receive(moved(0.1), 2, key=STRANGER)


def call_a_candidate_a_release(device: Device) -> None:
    device.receive(moved(0.1), 2, kind="candidate")


def send_weights_without_a_finite_answer(device: Device) -> None:
    device.receive({n: np.full_like(a, 3e38) for n, a in signed().weights.items()}, 2)


def say(device: Device, *keys: SigningKey, later: int = 1) -> None:
    """Keep a statement of the publisher, as the federation client would."""
    task = StoredTask(task="f" * 64, kind=Kind.CHECK_IN, fields=b"", flower=b"", received_ms=0)
    said = sign_model(
        PUBLISHER,
        model=signed().model_id,
        release_keys=[key.public for key in keys],
        created=CREATED + later,
    )
    device.exchange.keep(task, None, delegation=said)


def test_a_key_that_the_publisher_names_later_may_release_and_one_that_it_leaves_out_not(
    device: Device,
) -> None:
    say(device, STRANGER)
    current = first_version(signed())
    device.receive(moved(0.1), 2, key=RELEASE)
    with pytest.raises(BundleError, match="delegate"):
        device.releases.newer(current)

    device.receive(moved(0.1), 3, key=STRANGER)

    found = device.releases.newer(current)
    assert found is not None
    assert found[0].sequence == 3, "the same version, but signed by another key"


def test_a_statement_that_is_older_than_the_bundles_changes_nothing(device: Device) -> None:
    say(device, STRANGER, later=-1)
    device.receive(moved(0.1), 2, key=RELEASE)
    assert device.releases.newer(first_version(signed())) is not None


@pytest.mark.parametrize(
    ("attack", "sentence"),
    [
        (change_a_byte, "changed"),
        (sign_with_a_strange_key, "delegate"),
        (call_a_candidate_a_release, "never served"),
        (send_weights_without_a_finite_answer, "finite"),
    ],
)
def test_what_cannot_be_proved_is_refused_once_in_words(
    device: Device, attack: Callable[[Device], None], sentence: str
) -> None:
    attack(device)
    current = first_version(signed())
    with pytest.raises(BundleError, match=sentence):
        device.releases.newer(current)
    assert device.releases.newer(current) is None


def test_without_a_federation_there_is_nothing_to_find(tmp_path: Path) -> None:
    settings = AgentSettings(
        device="roof-1", bundle=tmp_path, input=Input(pattern="a/b"), state=tmp_path
    )
    releases = Releases(settings, signed(), Compute(signed()))
    assert releases.newer(first_version(signed())) is None
