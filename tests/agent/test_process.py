"""The agent as a process: SIGHUP reads the settings again, and nothing is lost over it."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from headwater.errors import BundleError, HeadwaterError, SettingsError, StorageError
from headwater_agent.agent_reader import AgentReader
from headwater_agent.process import identity, reload_settings
from headwater_agent.settings import AgentSettings
from headwater_agent.status import is_running
from tests.agent.test_runtime import MINUTE, START, Person, agent, end, person, prepare, until
from tests.conftest import free_port
from tests.models.bundles import signed

__all__ = ["person"]


def change(folder: Path, old: str, new: str) -> None:
    path = folder / "agent.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def starts(settings: AgentSettings) -> int:
    try:
        with closing(AgentReader(settings.agent_db, signed().manifest)) as reader:
            return sum(note.kind == "start" for note in reader.notes(100))
    except StorageError:
        return 0  # it is about to be laid out


def hang_up(process: subprocess.Popen[str], settings: AgentSettings) -> None:
    """Ask for a reload and wait until it was."""
    until(lambda: starts(settings) > 0)
    before = starts(settings)
    process.send_signal(signal.SIGHUP)
    until(lambda: starts(settings) == before + 1)


def test_new_settings_hold_without_a_new_process(
    tmp_path: Path, mosquitto: int, person: Person
) -> None:
    settings = prepare(
        tmp_path, mosquitto, more='[output]\ntopic = "headwater/{device}/{stream}/prediction"\n'
    )
    with agent(tmp_path) as process:
        person.next("status")
        for minute in range(3):
            person.measure(minute, 100 + minute)
        person.next("prediction")
        change(tmp_path, "{stream}/prediction", "{stream}/forecast")
        hang_up(process, settings)
        person.measure(3, 103)
        assert person.next("forecast")["time"] == "2023-11-14T22:17:00.000Z"
        assert process.poll() is None
        log = end(process)
    assert "the settings were read again" in log
    assert not is_running(settings)


def test_wrong_settings_change_nothing_and_are_told(
    tmp_path: Path, mosquitto: int, person: Person
) -> None:
    settings = prepare(tmp_path, mosquitto)
    with agent(tmp_path) as process:
        person.next("status")
        change(tmp_path, 'field = "level_cm"', 'feild = "level_cm"')
        process.send_signal(signal.SIGHUP)
        for minute in range(3):
            person.measure(minute, 100 + minute)
        assert person.next("prediction")["stream"] == "north"
        time.sleep(1.5)
        assert starts(settings) == 1
        change(tmp_path, 'feild = "level_cm"', 'field = "level_cm"')
        change(tmp_path, 'device = "pi-1"', 'device = "pi-2"')
        process.send_signal(signal.SIGHUP)
        time.sleep(1.5)
        assert starts(settings) == 1
        log = end(process)
    assert "the settings stay as they are" in log
    assert "feild: there is no such key" in log
    assert "device: this cannot change while the agent runs" in log


def test_settings_that_let_no_agent_start_give_way_to_the_old_ones(
    tmp_path: Path, mosquitto: int, person: Person
) -> None:
    settings = prepare(tmp_path, mosquitto, more='[learn]\nbudget = "20ms"\n')
    with agent(tmp_path) as process:
        person.next("status")
        change(tmp_path, 'budget = "20ms"\n', _RIVER)
        hang_up(process, settings)
        for minute in range(3):
            person.measure(minute, 100 + minute)
        assert person.next("prediction")["stream"] == "north"
        log = end(process)
    assert "no agent can start with the new settings, the old ones hold" in log


_RIVER = '[learn.river]\nmodel = "river.linear_model.LogisticRegression"\n'
"""It classifies, and the bundle forecasts: known once river is imported."""


def test_under_load_a_reload_loses_and_repeats_nothing(
    tmp_path: Path, mosquitto: int, person: Person
) -> None:
    settings = prepare(tmp_path, mosquitto, more="[serve]\npersonal = true\n")
    with agent(tmp_path) as process:
        person.next("status")
        reloads = 0
        for minute in range(600):
            person.measure(minute, 100 + minute % 7)
            if minute in (150, 300, 450):
                reloads += 1
                process.send_signal(signal.SIGHUP)
                time.sleep(1.2)
        until(lambda: stored(settings) == 600)
        end(process)
    assert starts(settings) == 1 + reloads
    seen = [m["time"] for topic, m in list(person.heard.queue) if topic.endswith("prediction")]
    assert len(set(seen)) == 598


def stored(settings: AgentSettings) -> int:
    with closing(AgentReader(settings.agent_db, signed().manifest)) as reader:
        slots, _ = reader.rows_of("north", START // MINUTE, START // MINUTE + 10_000)
    return len(slots)


@pytest.mark.parametrize("later_s", [0.0, 0.9, 1.0, 1.1])
def test_an_end_is_obeyed_in_the_middle_of_a_reload(
    tmp_path: Path, mosquitto: int, later_s: float
) -> None:
    settings = prepare(tmp_path, mosquitto)
    with agent(tmp_path) as process:
        until(lambda: starts(settings) == 1)
        process.send_signal(signal.SIGHUP)
        time.sleep(later_s)
        end(process)


@contextmanager
def manager(folder: Path) -> Iterator[tuple[str, socket.socket]]:
    """A service manager that listens."""
    address = str(folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address)
        listening.settimeout(0.1)
        yield address, listening


def told(listening: socket.socket) -> str:
    said = b""
    while True:
        try:
            said += listening.recv(4096) + b"\n"
        except TimeoutError:
            return said.decode()


def test_the_service_manager_hears_of_a_reload_and_of_the_end(
    tmp_path: Path, mosquitto: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = prepare(tmp_path, mosquitto)
    with manager(tmp_path) as (address, listening):
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        with agent(tmp_path) as process:
            until(lambda: starts(settings) == 1)
            heard = ""
            deadline = time.monotonic() + 30
            while "READY=1" not in heard and time.monotonic() < deadline:
                heard += told(listening)
            hang_up(process, settings)
            heard = told(listening)
            assert heard.index("RELOADING=1") < heard.index("READY=1")
            assert "STOPPING=1" not in heard
            end(process)
            assert "STOPPING=1" in told(listening)


@pytest.mark.parametrize("key", ["device", "state", "broker.client_id"])
def test_who_the_agent_is_does_not_change_in_a_running_process(tmp_path: Path, key: str) -> None:
    settings = prepare(tmp_path, free_port())
    who = identity(settings, signed().model_id)
    assert reload_settings(tmp_path / "agent.toml", who) == settings
    with pytest.raises(SettingsError, match=f"{key}: this cannot change while the agent runs"):
        reload_settings(tmp_path / "agent.toml", who | {key: "another"})


def test_another_model_needs_a_restart(tmp_path: Path) -> None:
    settings = prepare(tmp_path, free_port())
    with pytest.raises(SettingsError, match="bundle: this cannot change"):
        reload_settings(tmp_path / "agent.toml", identity(settings, "another"))


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ('unit = "cm"', 'unit = "kg"', SettingsError),
        ('device = "pi-1"', "", SettingsError),
        ('bundle = "bundle"', 'bundle = "nowhere"', HeadwaterError),
        ("[trust]\npublisher", '[trust]\npublisher = "' + "0" * 64 + '" #', BundleError),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, old: str, new: str, kind: type[HeadwaterError]
) -> None:
    settings = prepare(tmp_path, free_port())
    change(tmp_path, old, new)
    with pytest.raises(kind):
        reload_settings(tmp_path / "agent.toml", identity(settings, signed().model_id))
