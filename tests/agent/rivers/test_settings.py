from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from headwater.errors import SettingsError
from headwater.settings import convert
from headwater_agent.rivers.kinds import build
from headwater_agent.rivers.settings import RiverSettings, find_complaints
from tests.agent.rivers.bundles import bundle, settings

LINEAR = "river.linear_model.LinearRegression"


def test_a_model_by_its_dotted_name_is_all_that_is_needed() -> None:
    assert list(find_complaints(settings(LINEAR))) == []


@pytest.mark.parametrize(
    "name",
    [
        "sklearn.svm.SVC",
        "river",
        "river.LinearRegression.fit",
        "riverside.linear_model.LinearRegression",
        "river.linear_model._base.GLM",
        "river.linear_model..GLM",
        "os.system",
        "river.linear_model.LinearRegression; import os",
    ],
)
def test_a_name_that_is_not_below_river_is_refused_with_its_key(name: str) -> None:
    (complaint,) = find_complaints(settings(name))
    assert complaint.startswith("learn.river.model: ")
    assert "no class below river" in complaint


def test_names_are_checked_wherever_they_stand() -> None:
    wanted = settings(
        "river.ensemble.VotingClassifier",
        before=["os.path", {"model": "river.preprocessing.StandardScaler"}],
        arguments={
            "models": [LINEAR, {"model": "sklearn.svm.SVC"}],
            "more": {"deep": {"model": "river.tree.x"}},
        },
    )
    assert [complaint.split(": ")[0] for complaint in find_complaints(wanted)] == [
        "learn.river.before[0].model",
        "learn.river.arguments.models[1].model",
        "learn.river.arguments.more.deep.model",
    ]


def test_a_nested_part_with_an_unknown_key_is_refused() -> None:
    wanted = settings(LINEAR, arguments={"optimizer": {"model": "river.optim.SGD", "lr": 0.1}})
    (complaint,) = find_complaints(wanted)
    assert complaint.startswith("learn.river.arguments.optimizer: ")
    assert "`lr`" in complaint


def test_an_unknown_key_of_the_table_is_refused_with_its_path() -> None:
    with pytest.raises(SettingsError, match="argumnts: there is no such key"):
        convert({"model": LINEAR, "argumnts": {}}, RiverSettings, source="agent.toml")


def test_rows_are_for_channels() -> None:
    assert list(find_complaints(settings(LINEAR, inputs="channels", rows=3))) == []
    (complaint,) = find_complaints(settings(LINEAR, rows=3))
    assert complaint.startswith("learn.river.rows: ")


def test_the_fingerprint_is_of_what_is_said_not_of_its_order() -> None:
    one = settings(LINEAR, arguments={"l2": 0.1, "l1": 0.0})
    other = settings(LINEAR, arguments={"l1": 0.0, "l2": 0.1})
    assert one.fingerprint == other.fingerprint
    assert one.fingerprint != settings(LINEAR, arguments={"l2": 0.1}).fingerprint


def test_nothing_of_river_is_imported_before_it_is_configured() -> None:
    program = (
        "import sys, headwater_agent.rivers.step, headwater_agent.rivers.personal; "
        "print([name for name in sys.modules if name == 'river' or name.startswith('river.')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"


def test_the_examples_of_the_guide_are_models() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "learning.md").read_text(encoding="utf-8")
    tables = re.findall(r"```toml\n(\[learn\.river\].*?)```", guide, re.DOTALL)
    assert len(tables) >= 2
    for text in tables:
        table = tomllib.loads(text)["learn"]["river"]
        wanted = convert(table, RiverSettings, source="learning.md")
        assert list(find_complaints(wanted)) == []
        build(wanted, bundle("classification", 2).manifest)
