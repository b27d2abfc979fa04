"""The shipped scenarios are whole, teach by their comments, and can be copied to begin with."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from headwater.errors import SettingsError, StorageError
from headwater_simulator.scenario.catalogue import find, new, shipped
from headwater_simulator.scenario.reading import read_scenario
from headwater_simulator.scenario.settings import Scenario
from headwater_simulator.sources.opening import open_source

NAMES = (
    "attack",
    "cold-start",
    "drift",
    "forty-thousand",
    "offline-weekend",
    "quickstart",
    "stragglers",
)


def read(name: str) -> Scenario:
    return read_scenario(find(name))


def test_seven_scenarios_are_shipped() -> None:
    assert tuple(shipped()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_can_be_read_and_its_data_opened(name: str) -> None:
    scenario = read(name)
    assert scenario.about == shipped()[name]
    open_source(scenario)


@pytest.mark.parametrize("name", NAMES)
def test_each_says_what_it_is_about_and_explains_its_keys(name: str) -> None:
    text = find(name).read_text()
    lines = [line for line in text.splitlines() if line.strip()]
    assert 20 < len(shipped()[name]) <= 80
    assert sum("#" in line for line in lines) > len(lines) / 4
    assert max(map(len, lines)) <= 105
    assert text.isascii()


def test_they_have_seeds_of_their_own() -> None:
    assert len({read(name).seed for name in NAMES}) == len(NAMES)


def test_forty_thousand_is_the_example_that_it_names() -> None:
    raw = tomllib.loads(find("forty-thousand").read_text())
    scenario = read("forty-thousand")
    assert scenario.devices == 40_000
    assert scenario.releases == 200
    federation = raw["federation"]
    assert (federation["discipline"], federation["buffer"], federation["concurrency"]) == (
        "buffered",
        20,
        200,
    )


def test_a_file_is_found_by_its_path_and_a_shipped_one_by_its_name(tmp_path: Path) -> None:
    mine = tmp_path / "drift.toml"
    mine.write_text("")
    assert find(str(mine)) == mine
    assert find("drift") != mine


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("drfit", r"no scenario called drfit; there are attack, cold-start, .*ends in \.toml"),
        ("gone.toml", r"There is no scenario gone\.toml\. Make one with `headwater simulate new`"),
        ("here/gone", "There is no scenario here/gone"),
        ("", "no scenario called"),
    ],
)
def test_what_is_not_there_is_refused(name: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        find(name)


def test_a_new_file_is_a_copy_with_its_comments(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    new(path, "quickstart")
    assert path.read_bytes() == find("quickstart").read_bytes()
    assert read_scenario(path) == read("quickstart")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("mine")
    with pytest.raises(StorageError, match="is there already"):
        new(path, "quickstart")
    assert path.read_text() == "mine"


def test_a_new_file_must_be_one_that_is_found_again(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ends in \.toml"):
        new(tmp_path / "mine", "quickstart")
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_is_not_begun_for_a_name_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no scenario called"):
        new(tmp_path / "mine.toml", "gone")
    assert list(tmp_path.iterdir()) == []
