"""``headwater agent quarantine``: what people type, what they see, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from headwater.errors import HeadwaterError, SettingsError, StorageError
from headwater_agent.cli import app
from headwater_agent.events import Held, Mark, Row, Store
from headwater_agent.folders import make_folders
from headwater_agent.quarantine import Wanted
from headwater_agent.requests import Clear, read, waiting
from headwater_agent.settings import AgentSettings, load_settings
from headwater_agent.sqlite_store import SqliteStore
from tests.models.bundles import signed

MINUTE = 60_000
START = 29_000_000
"""The slot of the first row; its time is 2025-02-19T21:20Z."""


@pytest.fixture
def settings(tmp_path: Path) -> AgentSettings:
    """A device that kept two values aside, and three windows for the first of them."""
    signed().save(tmp_path / "bundle")
    (tmp_path / "agent.toml").write_text(
        'device = "pi-1"\nbundle = "bundle"\ntrust.allow_unsigned = true\n'
        'input.pattern = "tank/{stream}"\n'
    )
    made = load_settings(tmp_path / "agent.toml", {})
    make_folders(made)
    store = SqliteStore(made.agent_db, signed().manifest, made.store)
    rows = tuple(
        Row("north", slot, np.array([slot - START, 0], np.float32), np.ones(2, np.bool_))
        for slot in range(START, START + 20)
    )
    missing = Row("north", START + 4, np.array([np.nan, 0], np.float32), np.ones(2, np.bool_))
    held = tuple(
        Held("north", slot * MINUTE, 1.0, reserved=False) for slot in range(START + 4, START + 7)
    )
    marks = (
        Mark("north", (START + 4) * MINUTE, 0, 9.5, "spike"),
        Mark("north", (START + 15) * MINUTE, 1, float("inf"), "infinite"),
    )
    store.write([Store(rows=rows), Store(rows=(missing,), marks=marks, held=held)])
    store.close()
    return made


def run(settings: AgentSettings, *arguments: str) -> Result:
    folder = settings.state.parent
    return CliRunner().invoke(
        app, ["quarantine", *arguments, "--settings", str(folder / "agent.toml")]
    )


def failed(settings: AgentSettings, *arguments: str) -> HeadwaterError:
    done = run(settings, *arguments)
    assert isinstance(done.exception, HeadwaterError), done.output
    return done.exception


def test_the_list_says_what_and_why(settings: AgentSettings) -> None:
    done = run(settings, "list")
    assert "2 values kept aside, 3 windows held back" in done.output
    assert "1 infinite, 1 spike" in done.output
    (line,) = [line for line in done.output.splitlines() if "spike" in line and "north" in line]
    assert line.split() == ["north", "2025-02-19", "21:24:00Z", "level", "9.5", "m", "spike"]


def test_the_list_as_one_object_can_be_narrowed(settings: AgentSettings) -> None:
    done = run(settings, "list", "--json", "--reason", "spike")
    found = json.loads(done.output)
    assert (found["values"], found["windows"]) == (1, 3)
    (value,) = found["newest"]
    assert value["channel"] == "level"
    assert json.loads(run(settings, "list", "--json", "--newest", "1").output)["values"] == 2
    since = run(settings, "list", "--json", "--since", "2025-02-19T21:25:00Z")
    assert json.loads(since.output)["values"] == 1


def test_a_release_waits_for_an_agent_that_does_not_run(settings: AgentSettings) -> None:
    done = run(settings, "release", "--stream", "north")
    assert "will put 1 value back and learn from 3 windows when it runs" in done.output
    assert "1 value not finite, and so not usable, left aside" in done.output
    assert [read(path) for path in waiting(settings.requests)] == [Clear(Wanted(stream="north"))]


def test_where_nothing_is_kept_aside_nothing_is_asked(settings: AgentSettings) -> None:
    done = run(settings, "release", "--stream", "south")
    assert "Nothing that could be put back" in done.output
    assert waiting(settings.requests) == []


def test_a_release_of_everything_must_be_said(settings: AgentSettings) -> None:
    assert isinstance(failed(settings, "release"), SettingsError)
    assert "or --all" in str(failed(settings, "release"))
    done = run(settings, "release", "--all", "--json")
    assert json.loads(done.output) == {"values": 1, "windows": 3, "done": False}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--channel", "lvel"), "--channel: the model has no 'lvel'; it has level, rain"),
        (("--reason", "odd"), "--reason: 'odd' is none of infinite, range"),
        (("--since", "yesterday"), "--since: 'yesterday' is no time; write it as"),
    ],
)
def test_what_is_misspelt_is_named(
    settings: AgentSettings, arguments: tuple[str, str], said: str
) -> None:
    for command in ("list", "release"):
        assert said in str(failed(settings, command, *arguments))


def test_without_an_agents_data_it_says_so(settings: AgentSettings) -> None:
    settings.agent_db.unlink()
    assert isinstance(failed(settings, "list"), StorageError)
