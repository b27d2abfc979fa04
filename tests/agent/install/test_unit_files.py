"""The units: sandboxed, limited, and made of what the settings say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from headwater_agent.install.plan import Site, read_settings
from headwater_agent.install.unit_files import (
    AGENT,
    FEDERATE,
    RESIDENT,
    TIMER,
    Files,
    make_files,
)
from tests.agent.install import image
from tests.agent.install.image import PYTHON, SMALLEST, TIMED, needs_systemd
from tests.conftest import skip_or_fail
from tests.models.bundles import signed

NAMED = '[broker]\nurl = "mqtts://broker.example.org:8883"\n'
EXPOSURE = 20
"""Tenths of `systemd-analyze security`'s measure, where 100 is no protection at all."""


def files(text: str) -> Files:
    return make_files(read_settings(Site(Path("/nowhere")), text), PYTHON)


def lines(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


@pytest.mark.parametrize(
    ("text", "unit"),
    [(SMALLEST, AGENT), (SMALLEST + NAMED, AGENT), (image.RESIDENT, RESIDENT), (TIMED, FEDERATE)],
)
def test_a_service_is_hardly_exposed(tmp_path: Path, text: str, unit: str) -> None:
    needs_systemd()
    path = tmp_path / unit
    path.write_text(files(text).units[unit])
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}"]
    done = subprocess.run(
        [*command, "--no-pager", str(path)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("text", [image.RESIDENT, TIMED])
def test_systemd_understands_every_line(tmp_path: Path, text: str) -> None:
    needs_systemd()
    units = files(text).units
    for name, content in units.items():
        (tmp_path / name).write_text(content.replace(str(PYTHON), "/bin/sh"))
    done = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / name) for name in units)],
        check=False,
        capture_output=True,
        text=True,
    )
    newer = ("RestartSteps", "RestartMaxDelaySec")  # systemd 254
    wrong = [
        line
        for line in done.stderr.splitlines()
        if str(tmp_path) in line and not any(f"'{key}'" in line for key in newer)
    ]
    assert wrong == []


def test_nothing_is_left_to_fill_in() -> None:
    for _, text in files(TIMED):
        assert "{" not in text


def test_without_a_federation_there_is_the_agent_alone() -> None:
    assert list(files(SMALLEST).units) == [AGENT]


def test_the_federation_client_stays_or_comes_as_the_settings_say() -> None:
    resident, timed = files(image.RESIDENT).units, files(TIMED).units
    assert set(resident) == {AGENT, RESIDENT}
    assert set(timed) == {AGENT, FEDERATE, TIMER}
    assert "--once" not in resident[RESIDENT]
    assert lines(resident[RESIDENT], "Restart") == ["always"]
    assert lines(timed[FEDERATE], "ExecStart")[0].endswith("--once")
    assert lines(timed[FEDERATE], "Type") == ["oneshot"]
    assert lines(timed[TIMER], "OnUnitInactiveSec") == ["21600s"]


def test_a_service_writes_into_its_own_folders_only() -> None:
    units = files(image.RESIDENT).units
    state = "/var/lib/headwater"
    assert lines(units[AGENT], "ReadWritePaths") == [f"{state}/agent {state}/share"]
    assert lines(units[RESIDENT], "ReadWritePaths") == [f"{state}/exchange"]
    assert lines(units[RESIDENT], "InaccessiblePaths") == [f"-{state}/agent"]
    for unit in units.values():
        assert lines(unit, "ProtectSystem") == ["strict"]


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("mqtt://localhost", ["localhost"]),
        ("mqtt://10.0.0.7:1883", ["localhost 10.0.0.7"]),
        ("mqtt://[fd00::7]:1883", ["localhost fd00::7"]),
        ("mqtt://broker.lan:1883", []),
    ],
)
def test_a_peer_with_an_address_is_the_only_one_that_is_spoken_to(
    url: str, allowed: list[str]
) -> None:
    unit = files(f'{SMALLEST}[broker]\nurl = "{url}"\n').units[AGENT]
    assert lines(unit, "IPAddressAllow") == allowed
    assert lines(unit, "IPAddressDeny") == ["any"] * len(allowed)


def test_the_agent_is_watched_and_never_given_up() -> None:
    unit = files(SMALLEST).units[AGENT]
    assert lines(unit, "Type") == ["notify"]
    assert lines(unit, "WatchdogSec") == ["2min"]
    assert lines(unit, "Restart") == ["always"]
    assert lines(unit, "StartLimitIntervalSec") == ["0"]


def test_a_state_folder_elsewhere_is_the_one_that_is_opened() -> None:
    made = files(SMALLEST.replace('state = "/var/lib/headwater"', 'state = "/srv/hw"'))
    assert lines(made.units[AGENT], "ReadWritePaths") == ["/srv/hw/agent /srv/hw/share"]
    assert "d /srv/hw/agent 0700 headwater-agent" in made.tmpfiles


def test_the_folder_of_the_metrics_is_opened_and_a_port_for_others_takes_the_filter_away() -> None:
    metrics = '[metrics]\ntextfile = "/var/lib/prom/hw.prom"\nlisten = "127.0.0.1:9464"\n'
    here = files(SMALLEST + metrics).units[AGENT]
    assert lines(here, "ReadWritePaths")[0].endswith(" /var/lib/prom")
    assert lines(here, "IPAddressDeny") == ["any"]
    everywhere = files(SMALLEST + metrics.replace("127.0.0.1", "[::]")).units[AGENT]
    assert lines(everywhere, "IPAddressDeny") == []


FORBIDS_NEW_CODE = """
import ctypes, pathlib, sys
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) != 0:
    sys.exit(77)
import numpy as np
import headwater_agent.federation, headwater_agent.runtime, river.drift
from headwater_agent.nodekey import make_key
from headwater_models.bundle import Bundle
from headwater_models.checks import check_bundle
list(check_bundle(Bundle.load(pathlib.Path(sys.argv[1])), np.random.default_rng(0)))
make_key(pathlib.Path(sys.argv[1]).parent)
"""


def test_the_program_works_where_no_memory_becomes_code(tmp_path: Path) -> None:
    """What MemoryDenyWriteExecute= forbids, the kernel forbids here (Linux 6.3)."""
    signed().save(tmp_path / "model")
    done = subprocess.run(
        [sys.executable, "-c", FORBIDS_NEW_CODE, str(tmp_path / "model")], check=False
    )
    if done.returncode == 77:
        skip_or_fail("the kernel cannot forbid memory that becomes code")
    assert done.returncode == 0
