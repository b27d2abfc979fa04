"""A scenario file is checked whole: every wrong key is named, and every file looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.errors import SettingsError
from headwater.settings import Duration
from headwater_coordinator.settings import Buffered, Rounds
from headwater_simulator.scenario.reading import read_scenario
from headwater_simulator.scenario.settings import DAY, Air, Replay, Table

SMALL = """\
length = "2d"
[data]
kind = "air"
[[groups]]
name = "all"
devices = 4
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def complaints(folder: Path, text: str) -> list[str]:
    path = write(folder, text)
    with pytest.raises(SettingsError) as caught:
        read_scenario(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return [line.removeprefix(f"{path}: ") for line in lines]


def test_length_data_and_a_group_are_enough(tmp_path: Path) -> None:
    scenario = read_scenario(write(tmp_path, SMALL))
    assert scenario.length == 2 * DAY
    assert scenario.data == Air()
    assert scenario.devices == 4
    assert scenario.federation == Rounds()


def test_the_discipline_is_named_or_rounds(tmp_path: Path) -> None:
    scenario = read_scenario(
        write(
            tmp_path, f'{SMALL}[federation]\ndiscipline = "buffered"\nbuffer = 3\nconcurrency = 9'
        )
    )
    assert scenario.federation == Buffered(buffer=3, concurrency=9)
    scenario = read_scenario(write(tmp_path, f'{SMALL}[federation]\npause = "2h"'))
    assert scenario.federation == Rounds(pause=Duration(7_200_000))


def test_every_wrong_key_is_named_in_one_pass(tmp_path: Path) -> None:
    found = complaints(
        tmp_path,
        f"""{SMALL}speed = -1.0
spede = 3
link = {{ loss = 2.0, poll = "now" }}
[[groups]]
name = "Upper Case"
devices = 0
[model]
kind = "transformer"
[agent.learn]
batch = 0
rate = 1
[federation]
buffer = 3
epochs = 0
""",
    )
    begins = [line.partition(": ")[0] for line in found]
    assert sorted(begins) == [
        "agent.learn.batch",
        "agent.learn.rate",
        "federation.buffer",
        "federation.epochs",
        "groups[0].link.loss",
        "groups[0].link.poll",
        "groups[0].spede",
        "groups[0].speed",
        "groups[1].devices",
        "groups[1].name",
        "model.kind",
    ]
    assert 'federation.buffer: only with federation.discipline = "buffered"; remove it' in found


def test_impossible_combinations_come_together_with_each_other(tmp_path: Path) -> None:
    found = complaints(
        tmp_path,
        f"""{SMALL}joins = "9d"
[federation]
buffer = 3
min_devices = 40
[strategy]
name = "fedbest"
""",
    )
    assert len(found) == 4
    assert any(line.startswith("federation.buffer: only with") for line in found)
    assert any(line.startswith("groups[0].joins must be before the end, 2d") for line in found)
    assert any(line.startswith("federation.min_devices must be at most 4") for line in found)
    assert any("fedbest" in line for line in found)


def test_what_a_strategy_and_the_gate_need_is_checked_as_by_the_coordinator(
    tmp_path: Path,
) -> None:
    text = f'{SMALL}[strategy]\nname = "screened"\n[gate]\ntolerance = 0.1\nmargin = 0.1'
    found = complaints(tmp_path, text)
    assert any("federation.min_devices must be at least 5, for strategy" in line for line in found)
    assert any("exclude each other" in line for line in found)


@pytest.mark.parametrize(
    "data",
    [
        'kind = "replay"\nfiles = ["data/a.csv"]\nperiod = "1h"\nlabel = "x"',
        'kind = "table"\nfiles = ["data/a.csv"]\nlabel = "x"',
    ],
)
def test_files_are_looked_for_from_the_scenarios_folder(
    tmp_path: Path, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path("/"))
    text = SMALL.replace('kind = "air"', data)
    missing = tmp_path / "data" / "a.csv"
    assert complaints(tmp_path, text) == [f"data.files: there is no file {missing}"]
    missing.parent.mkdir()
    missing.write_text("x\n1\n")
    read = read_scenario(write(tmp_path, text)).data
    assert isinstance(read, Replay | Table)
    assert read.files == (missing,)


def test_a_bundle_is_looked_for_from_the_scenarios_folder(tmp_path: Path) -> None:
    text = f'{SMALL}[model]\nbundle = "model"'
    assert complaints(tmp_path, text) == [f"model.bundle: there is no {tmp_path / 'model'}"]
    (tmp_path / "model").mkdir()
    assert read_scenario(write(tmp_path, text)).model.bundle == tmp_path / "model"


@pytest.mark.parametrize("text", ["", "length = 3", "[data]\nkind = 'chaos'", "length = [", "\0"])
def test_what_is_no_scenario_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"mine\.toml"):
        read_scenario(write(tmp_path, text))
