"""``headwater agent trace``: what people type, and what they see."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from headwater.errors import HeadwaterError, SettingsError, StorageError
from headwater_agent import events
from headwater_agent.cli import app
from headwater_agent.settings import AgentSettings
from headwater_agent.store import Update
from tests.agent.federating import PUBLIC_SETTINGS, settings, task_name
from tests.agent.test_trace import answer, come, learned, predicted, update, write
from tests.agent.test_training import fill

AT = "1970-01-01T00:50:20Z"


@pytest.fixture
def made(tmp_path: Path) -> AgentSettings:
    found = settings(tmp_path)
    (tmp_path / "agent.toml").write_text(PUBLIC_SETTINGS)
    fill(found, learned=100, reserved=0)
    return found


def run(made: AgentSettings, *arguments: str) -> Result:
    where = ["--settings", str(made.state.parent / "agent.toml")]
    return CliRunner(env={"COLUMNS": "160"}).invoke(app, ["trace", *arguments, *where])


def test_the_whole_way_of_a_record_is_shown(made: AgentSettings) -> None:
    mark = events.Mark("s", 50 * 60_000, 1, 99.0, "spike")
    write(
        made,
        events.Store(predictions=(predicted(50),), marks=(mark,)),
        events.Store(scores=(events.Score("v1-50", 2.5),)),
        Update(1, task_name(1), "base", 60, 5_000),
        learned(90),
    )
    answer(made, update())
    come(made, 5, merged=1, kind="release")
    lines = [line.strip().split(maxsplit=1) for line in run(made, "s", AT).output.splitlines()]
    assert lines == [
        ["record", "s, in the row of 1970-01-01 00:50:00Z"],
        ["row", "level 1, rain 1"],
        ["kept", "aside  rain 99 (spike)"],
        ["prediction", "v1-50 by version v1, released was published"],
        ["released", "4, personal 5, baseline 6"],
        ["label", "2.5"],
        ["example", "number 48, learned by the personal model"],
        ["update", "number 1, begun 1970-01-01 00:00:05Z: update at 1970-01-01 00:00:07Z"],
        ["release", f"{5:064x}"[:12] + ", sequence 5, received 1970-01-01 00:00:09Z"],
    ]


def test_what_is_not_there_is_said(made: AgentSettings) -> None:
    text = run(made, "s", "1990-01-01").output
    assert "not stored, or no longer" in text
    assert "none: its window was not whole" in text
    assert "none: it has no label yet" in text
    assert "update" not in text


def test_one_object_says_the_same(made: AgentSettings) -> None:
    write(made, events.Store(predictions=(predicted(50),)))
    found = json.loads(run(made, "s", AT, "--json").output)
    assert found["row"] == {"level": 1.0, "rain": 1.0}
    assert found["predictions"][0]["label"] is None
    assert found["example"] == {"fate": "waits", "sequence": 48, "label": 2.0}
    assert found["update"] is None


@pytest.mark.parametrize(
    ("arguments", "kind"), [(("t", AT), StorageError), (("s", "noon"), SettingsError)]
)
def test_what_is_misspelt_is_named(
    made: AgentSettings, arguments: tuple[str, str], kind: type[HeadwaterError]
) -> None:
    assert isinstance(run(made, *arguments).exception, kind)
