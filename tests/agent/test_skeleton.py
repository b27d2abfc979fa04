from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from headwater_agent.codec import Decoder
from headwater_agent.settings import AgentSettings, load_settings
from headwater_agent.skeleton import skeleton
from headwater_models.bundle import Bundle
from tests.models.bundles import PUBLISHER, signed, tiny

EXAMPLE = Path(__file__).parents[2] / "agent" / "agent.example.toml"


def written(bundle: Bundle, coordinator: str = "") -> str:
    return skeleton(
        device="roof-1",
        bundle_path="/models/river.zip",
        bundle=bundle,
        broker="mqtt://broker:1883",
        coordinator=coordinator,
    )


def loaded(folder: Path, text: str) -> AgentSettings:
    (folder / "agent.toml").write_text(text)
    return load_settings(folder / "agent.toml", {})


def test_the_skeleton_passes_its_own_checks_and_fits_the_model(tmp_path: Path) -> None:
    settings = loaded(tmp_path, written(tiny()))
    assert settings.device == "roof-1"
    assert settings.broker.url == "mqtt://broker:1883"
    assert list(settings.inputs[0].channels) == ["level", "rain"]
    Decoder(settings, tiny().manifest)


def test_the_key_that_signed_the_model_is_trusted(tmp_path: Path) -> None:
    assert loaded(tmp_path, written(signed())).trust.publisher == PUBLISHER.public
    assert loaded(tmp_path, written(tiny())).trust.allow_unsigned


@pytest.mark.parametrize("coordinator", ["", "https://hub:9092"])
def test_federation_is_on_where_a_coordinator_is_named(tmp_path: Path, coordinator: str) -> None:
    federation = loaded(tmp_path, written(tiny(), coordinator)).federation
    assert (federation.enabled, federation.coordinator) == (bool(coordinator), coordinator)


SHOWN = (
    "version keepalive retry session_expiry receive_maximum linger allow_unsigned qos "
    "numbers_in_text max_payload retain durability commit_every commit_records rows examples "
    "predictions enabled buffer budget poll watch mean_of quiet streams adwin page_hinkley kswin "
    "estimate react cell row stuck burst records clock hours allow allow_timeout nice"
)


def test_a_commented_key_shows_its_default(tmp_path: Path) -> None:
    text = written(signed())
    opened, count = re.subn(
        rf"^# ({SHOWN.replace(' ', '|')}) = ", r"\1 = ", text, flags=re.MULTILINE
    )
    assert count == len(SHOWN.split()) + 2  # qos and enabled stand twice
    assert loaded(tmp_path, opened) == loaded(tmp_path, text)


def _keys(kind: type[msgspec.Struct], seen: frozenset[type] = frozenset()) -> set[str]:
    keys = set()
    for field in msgspec.structs.fields(kind):
        keys.add(field.name)
        for inner in _structs(field.type):
            if inner not in seen:
                keys |= _keys(inner, seen | {kind, inner})
    return keys


def _structs(kind: object) -> list[type[msgspec.Struct]]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [kind]
    return [found for inner in getattr(kind, "__args__", ()) for found in _structs(inner)]


def test_the_skeleton_and_the_example_speak_of_every_key() -> None:
    for text in (written(signed()), EXAMPLE.read_text()):
        spoken = set(re.findall(r"[a-z_]+", text))
        assert _keys(AgentSettings) <= spoken


def test_the_example_passes_its_own_checks(tmp_path: Path) -> None:
    (tmp_path / "broker.password").write_text("secret\n")
    settings = loaded(tmp_path, EXAMPLE.read_text())
    assert [item.subscription for item in settings.inputs] == ["site/+/+", "air/reports"]
    assert settings.broker.password == "secret"
