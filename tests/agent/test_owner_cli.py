"""What an owner types, what they see, and how it ends, where no agent runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from headwater.errors import HeadwaterError, SettingsError
from headwater_agent import owner_cli
from headwater_agent.cli import app
from headwater_agent.events import Row, Store
from headwater_agent.folders import make_folders
from headwater_agent.pauses import read_pauses
from headwater_agent.requests import Forget, Reset, Warm, read, waiting
from headwater_agent.settings import AgentSettings, load_settings
from headwater_agent.sqlite_store import SqliteStore
from tests.models.bundles import signed

LATER = "No agent runs; the next start does it first."


@pytest.fixture
def settings(tmp_path: Path) -> AgentSettings:
    signed().save(tmp_path / "bundle")
    (tmp_path / "agent.toml").write_text(
        'device = "pi-1"\nbundle = "bundle"\ntrust.allow_unsigned = true\n'
        'input.pattern = "tank/{stream}"\n'
    )
    made = load_settings(tmp_path / "agent.toml", {})
    make_folders(made)
    store = SqliteStore(made.agent_db, signed().manifest, made.store)
    store.write([Store(rows=(Row("north", 5, np.zeros(2, np.float32), np.ones(2, np.bool_)),))])
    store.close()
    return made


def run(settings: AgentSettings, *arguments: str, answer: str | None = None) -> Result:
    where = ["--settings", str(settings.state.parent / "agent.toml")]
    return CliRunner().invoke(app, [*arguments, *where], input=answer)


def failed(settings: AgentSettings, *arguments: str) -> HeadwaterError:
    done = run(settings, *arguments)
    assert isinstance(done.exception, HeadwaterError), done.output
    return done.exception


def test_what_is_paused_is_said_and_kept_for_the_next_start(settings: AgentSettings) -> None:
    done = run(settings, "pause", "learning")
    assert done.output == "Paused: learning; no agent runs, and the next start will keep to it.\n"
    run(settings, "pause", "federation")
    assert read_pauses(settings.share) == ("learning", "federation")
    run(settings, "resume", "learning")
    assert read_pauses(settings.share) == ("federation",)


def test_without_a_word_everything_is_paused_and_resumed(settings: AgentSettings) -> None:
    assert run(settings, "pause").output.startswith("Paused: learning and federation;")
    assert run(settings, "resume").output.startswith("Paused: nothing;")
    assert read_pauses(settings.share) == ()


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_what_cannot_be_paused_is_named(settings: AgentSettings, command: str) -> None:
    said = str(failed(settings, command, "predictions"))
    assert said == "'predictions' cannot be paused; it is one of learning, federation."


def test_forgetting_is_confirmed(settings: AgentSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(failed(settings, "forget"), SettingsError)
    monkeypatch.setattr(owner_cli, "_is_asked", lambda: True)
    declined = run(settings, "forget", answer="n\n")
    assert "cannot be called back" in declined.output
    assert declined.exit_code == 1
    assert waiting(settings.requests) == []
    assert LATER in run(settings, "forget", answer="y\n").output
    assert run(settings, "forget", "--yes").output == f"{LATER}\n"
    assert [read(path) for path in waiting(settings.requests)] == [Forget(), Forget()]


def test_a_reset_is_of_a_stream_that_is_there(settings: AgentSettings) -> None:
    assert run(settings, "reset", "north").output == f"{LATER}\n"
    assert [read(path) for path in waiting(settings.requests)] == [Reset("north")]
    assert str(failed(settings, "reset", "nroth")) == (
        "there is no stream 'nroth'; there is north."
    )


HISTORY = """\
time,tank,level,rain
2026-01-01T00:01:00Z,south,2.5,0
2026-01-01T00:00:00Z,south,1.5,
2026-01-01T00:00:00Z,north,0.5,1
"""


def handed_over(settings: AgentSettings) -> dict[str, Warm]:
    found = [read(path) for path in waiting(settings.requests)]
    return {one.stream: one for one in found if isinstance(one, Warm)}


def test_a_history_is_handed_over_by_stream_in_the_order_of_time(settings: AgentSettings) -> None:
    (settings.state.parent / "past.csv").write_text(HISTORY)
    file = str(settings.state.parent / "past.csv")
    assert LATER in run(settings, "warm", file, "--stream-column", "tank").output
    found = handed_over(settings)
    assert list(found) == ["south", "north"]
    times, values, labels = found["south"].arrays(2)
    assert (times[1] - times[0], times[0]) == (60_000, 1_767_225_600_000)
    assert np.array_equal(values, np.array([[1.5, np.nan], [2.5, 0]]), equal_nan=True)
    assert np.isnan(labels).all()


def test_one_stream_of_a_history_may_be_chosen(settings: AgentSettings) -> None:
    (settings.state.parent / "past.csv").write_text(HISTORY)
    file = str(settings.state.parent / "past.csv")
    run(settings, "warm", file, "--stream-column", "tank", "--stream", "north")
    assert list(handed_over(settings)) == ["north"]
    nothing = failed(settings, "warm", file, "--stream-column", "tank", "--stream", "east")
    assert "holds no record of east" in str(nothing)


@pytest.mark.parametrize(("options", "stream"), [((), "pi-1"), (("--stream", "east"), "east")])
def test_rows_of_no_named_stream_are_of_the_device_or_the_chosen_one(
    settings: AgentSettings, options: tuple[str, ...], stream: str
) -> None:
    text = "time,level,rain\n2026-01-01T00:00:00Z,1,2\n2026-01-01T00:01:00Z,1,2\n"
    (settings.state.parent / "past.csv").write_text(text)
    run(settings, "warm", str(settings.state.parent / "past.csv"), *options)
    assert list(handed_over(settings)) == [stream]


def test_of_a_long_history_the_newest_is_handed_over(
    settings: AgentSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner_cli, "MAX_HISTORY", 1)
    (settings.state.parent / "past.csv").write_text(HISTORY)
    file = str(settings.state.parent / "past.csv")
    done = run(settings, "warm", file, "--stream-column", "tank")
    assert "south: only the newest 1 records are used" in done.output
    _, values, _ = handed_over(settings)["south"].arrays(2)
    assert values.tolist() == [[2.5, 0]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("level,rain\n1,2\n3,4\n", "--time"),
        ("time,level\n2026-01-01T00:00:00Z,1\n2026-01-01T00:01:00Z,2\n", "rain"),
    ],
)
def test_what_a_history_lacks_is_named(settings: AgentSettings, text: str, said: str) -> None:
    (settings.state.parent / "past.csv").write_text(text)
    assert said in str(failed(settings, "warm", str(settings.state.parent / "past.csv")))
