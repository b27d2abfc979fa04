"""Each side is told the same: port, QoS, model."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.agent.sides import SIDES, CannotRunError, Place, settings_of
from benchmarks.agent.workload import PUBLISHER


@pytest.fixture
def place(tmp_path: Path, model: Path) -> Place:
    return Place(port=1883, qos=1, model=model, folder=tmp_path)


@pytest.mark.parametrize("drift", [True, False])
def test_the_agent_s_settings_are_its_defaults_but_drift(place: Place, drift: bool) -> None:
    _, settings = settings_of(place, drift=drift)
    assert settings.trust.publisher == PUBLISHER.public
    assert (settings.inputs[0].qos, settings.output.qos) == (1, 1)
    assert settings.inputs[0].subscription == "sensors/+"
    assert settings.drift.enabled == drift
    assert settings.learn.enabled
    assert settings.guard.enabled
    assert settings.agent_db.parent.is_dir()


def test_without_a_compiler_the_echo_in_c_says_so(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(place.folder))
    with pytest.raises(CannotRunError, match="no C compiler"):
        SIDES["echo_c"].command(place)


def test_without_the_subscriber_it_says_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place.folder))
    with pytest.raises(CannotRunError, match="not installed"):
        SIDES["mosquitto_sub"].command(place)
