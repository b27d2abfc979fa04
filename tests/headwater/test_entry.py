from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from headwater.entry import agent_to_run

NOTHING: Mapping[str, str] = {}


@pytest.mark.parametrize(
    ("arguments", "environ", "path"),
    [
        ([], NOTHING, "agent.toml"),
        (["--settings", "/etc/a.toml"], NOTHING, "/etc/a.toml"),
        ([], {"HEADWATER_AGENT": "b.toml", "HEADWATER_LOG_LEVEL": "debug"}, "b.toml"),
        (["--settings", "a.toml"], {"HEADWATER_AGENT": "b.toml"}, "a.toml"),
        ([], {"HEADWATER_AGENT": "", "HEADWATER_LOG_FORMAT": "json"}, "agent.toml"),
    ],
)
def test_an_agent_is_run_at_once(
    arguments: list[str], environ: Mapping[str, str], path: str
) -> None:
    assert agent_to_run(["agent", "run", *arguments], environ) == Path(path)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["agent"],
        ["agent", "status"],
        ["agent", "run", "--help"],
        ["agent", "run", "--settings"],
        ["--log-level", "debug", "agent", "run"],
    ],
)
def test_anything_else_is_the_front_doors(arguments: list[str]) -> None:
    assert agent_to_run(arguments, NOTHING) is None


@pytest.mark.parametrize(
    "environ",
    [
        {"HEADWATER_LOG_LEVEL": "loud"},
        {"HEADWATER_LOG_FORMAT": "verse"},
        {"HEADWATER_TRACEBACK": "1"},
    ],
)
def test_so_is_what_only_it_understands_of_the_environment(environ: Mapping[str, str]) -> None:
    assert agent_to_run(["agent", "run"], environ) is None


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def test_an_agent_that_cannot_start_says_why_in_a_sentence(tmp_path: Path) -> None:
    path = str(tmp_path / "none.toml")
    ended = python("-m", "headwater", "agent", "run", "--settings", path)
    assert ended.returncode == 3
    assert ended.stderr.startswith("error: ")
    assert path in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_front_door_opens_for_everything_else() -> None:
    assert python("-m", "headwater", "agent", "run", "--help").stdout.count("--settings") == 1


def test_an_agent_is_loaded_without_the_command_line_and_what_no_broker_needs() -> None:
    program = (
        "import sys; from headwater.sparing import spared\n"
        "with spared('urllib.request'): import paho.mqtt.client\n"
        "import headwater_agent.process\n"
        "unwanted = {'typer', 'click', 'rich', 'sqlite_utils', 'http.client', 'numpy.random'}\n"
        "print(sorted(unwanted & sys.modules.keys()))\n"
        "import urllib.request\n"
        "print(urllib.request.getproxies is not None, 'http.client' in sys.modules)"
    )
    assert python("-c", program).stdout.splitlines() == ["[]", "True True"]
