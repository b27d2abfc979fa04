"""A scenario run from Python; the code of the guide is run as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headwater.errors import SettingsError
from headwater.settings import Duration
from headwater_coordinator.strategies import Merged, State, Strategy, Updates
from headwater_coordinator.strategies.updates import Floats
from headwater_simulator.report.results import Results
from headwater_simulator.scenario.catalogue import shipped
from headwater_simulator.simulation import load, simulate

GUIDE = Path(__file__).parents[2] / "docs" / "simulator.md"


class Still(Strategy, frozen=True):
    """Keeps the release but for a hair."""

    hair: float = 1e-3

    def merge(self, shared: Floats, updates: Updates, state: State) -> Merged:
        del updates, state
        return Merged(shared + self.hair)


def short(days: int) -> Any:
    return msgspec.structs.replace(load("attack"), length=Duration(days * 86_400_000))


def test_the_guides_strategy_does_better_under_attack_than_the_mean() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(code[code.index("class ") : code.index("scenario =")].strip().splitlines()) <= 20
    said: dict[str, Any] = {}
    exec(compile(code, str(GUIDE), "exec"), said)  # noqa: S102 - the guide is ours
    ours, mean = said["ours"], said["mean"]
    assert isinstance(ours, Results)
    assert ours.name == "MedianLength"
    assert ours.curve[-1].loss < mean.curve[-1].loss


def test_the_guides_table_names_every_scenario_that_ships() -> None:
    named = re.findall(r"^\| `([a-z-]+)` \|", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert named == [
        "quickstart",
        "cold-start",
        "drift",
        "stragglers",
        "attack",
        "offline-weekend",
        "forty-thousand",
    ]
    assert set(named) == set(shipped())


def test_a_report_says_which_strategy_merged_and_with_which_arguments() -> None:
    made = simulate(short(3), strategy=Still(hair=0.01))
    assert msgspec.json.decode(made.scenario)["strategy"] == {"name": "Still", "hair": 0.01}


def test_a_seed_replaces_that_of_the_scenario() -> None:
    assert simulate(short(2), seed=11).seed == 11


def test_a_scenario_that_is_not_there_is_said_so() -> None:
    with pytest.raises(SettingsError, match="there are attack"):
        load("nothing")
