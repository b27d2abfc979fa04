"""``headwater simulate``: scenarios are listed, copied, run and compared from the command line."""

from __future__ import annotations

import json
import subprocess
import tomllib
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from headwater.cli import app
from headwater_simulator.report.results import Results, read
from headwater_simulator.report.writing import FILES
from headwater_simulator.scenario.catalogue import find, shipped

ROOT = Path(__file__).resolve().parents[2]
SMALL = """
about = "Three devices for some minutes"
seed = 3
length = "6min"

[model]
kind = "linear"
optimiser = { name = "sgd", learning_rate = 0.05, batch = 16 }

[data]
kind = "synthetic"
features = 3
classes = 3
rows = 80

[[groups]]
name = "all"
devices = 3
speed = 50

[federation]
pause = "1min"
check_in = "1min"

[gate]
tolerance = 1.0
"""


def simulate(*arguments: object, code: int = 0) -> Result:
    found = CliRunner().invoke(
        app, ["simulate", *map(str, arguments)], env={"COLUMNS": "200", "TERM": "dumb"}
    )
    assert found.exit_code == code, found.output
    return found


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


# list


def test_what_ships_is_listed_with_what_it_is_about() -> None:
    listed = simulate("list").output

    for name, about in shipped().items():
        assert name in listed
        assert about in listed
    assert json.loads(simulate("list", "--json").stdout) == shipped()


def test_what_ships_is_in_the_wheel() -> None:
    """Of its packages a wheel takes every file that git does not ignore."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    for name in shipped():
        path = find(name)
        assert (ROOT / "simulator" / "headwater_simulator") in path.parents
        ignored = subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False)
        assert ignored.returncode != 0
    assert "simulator/headwater_simulator" in packages


# new


def test_a_new_scenario_is_a_copy_with_its_comments(tmp_path: Path) -> None:
    told = simulate("new", tmp_path / "mine.toml", "--from", "drift").output

    assert "headwater simulate run" in told
    assert (tmp_path / "mine.toml").read_bytes() == find("drift").read_bytes()


def test_a_new_scenario_replaces_nothing(scenario: Path) -> None:
    assert "small.toml" in simulate("new", scenario, code=8).output
    assert scenario.read_text() == SMALL


# run


def test_a_run_leaves_a_report_for_programs_for_people_and_for_a_browser(
    scenario: Path, tmp_path: Path
) -> None:
    told = simulate("run", scenario, "--out", tmp_path / "report").output

    assert "small: 3 devices" in told
    assert {path.name for path in (tmp_path / "report").iterdir()} == set(FILES)
    results = read(tmp_path / "report" / "report.json")
    assert (results.name, results.seed, results.engine) == ("small", 3, "virtual")
    assert results.totals.releases > 2


def test_by_default_the_report_is_in_a_folder_of_the_scenarios_name(
    scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    simulate("run", scenario)

    assert (tmp_path / "small" / "report.html").exists()


def test_totals_are_printed_for_programs(scenario: Path, tmp_path: Path) -> None:
    told = simulate("run", scenario, "--out", tmp_path / "report", "--json").stdout

    said = json.loads(told)
    assert said["report"] == str(tmp_path / "report")
    written = json.loads((tmp_path / "report" / "report.json").read_bytes())
    assert said["totals"] == written["totals"]


def test_several_seeds_have_a_folder_each(scenario: Path, tmp_path: Path) -> None:
    seeds = ["--seed", 1, "--seed", 2, "--seed", 1]

    lines = simulate("run", scenario, "--out", tmp_path / "runs", *seeds, "--json").stdout

    assert len(lines.splitlines()) == 2
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["seed-1", "seed-2"]
    found = [read(tmp_path / "runs" / f"seed-{n}" / "report.json") for n in (1, 2)]
    assert [one.seed for one in found] == [1, 2]
    assert found[0].curve != found[1].curve


def test_the_same_seed_leaves_equal_files_and_device_by_device_it_is_the_same_run(
    scenario: Path, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        simulate("run", scenario, "--out", tmp_path / name)
    simulate("run", scenario, "--out", tmp_path / "alone", "--device-by-device")

    for file in FILES:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    together, alone = (read(tmp_path / n / "report.json") for n in ("one", "alone"))
    assert alone.totals.stacked == 0 < alone.totals.looped
    assert _losses(alone) == pytest.approx(_losses(together), rel=1e-4)


def _losses(results: Results) -> list[float]:
    return [one.loss for one in results.curve]


@pytest.mark.parametrize("seeds", [[], ["--seed", 1, "--seed", 2]])
def test_a_report_is_only_replaced_if_one_says_so(
    scenario: Path, tmp_path: Path, seeds: list[object]
) -> None:
    out = tmp_path / "report"
    last = out / "seed-2" if seeds else out
    last.mkdir(parents=True)
    (last / "report.md").write_text("mine")

    told = simulate("run", scenario, "--out", out, *seeds, code=8).output
    assert "already" in told
    assert (last / "report.md").read_text() == "mine"
    assert len(list(out.rglob("*.*"))) == 1

    simulate("run", scenario, "--out", out, *seeds, "--overwrite")
    assert (last / "report.md").read_text() != "mine"


def test_a_wrong_scenario_is_refused_with_every_wrong_key(scenario: Path, tmp_path: Path) -> None:
    scenario.write_text(SMALL.replace("devices = 3", "devices = 0\nsped = 1"))

    told = simulate("run", scenario, "--out", tmp_path / "report", code=3).output

    assert "small.toml" in told
    assert "devices" in told
    assert "sped" in told
    assert not (tmp_path / "report").exists()


def test_a_scenario_that_cannot_work_is_refused_in_a_sentence(
    scenario: Path, tmp_path: Path
) -> None:
    scenario.write_text(SMALL.replace("[gate]", "[gate]\nmin_evaluators = 9"))

    told = simulate("run", scenario, "--out", tmp_path / "report", code=3).output

    assert "gate.min_evaluators must be at most 3, the number of devices" in told


def test_a_scenario_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "there are attack, " in simulate("run", "nothing", code=3).output
    assert "simulate new" in simulate("run", tmp_path / "nothing.toml", code=3).output


@pytest.mark.parametrize("option", [("--seed", -1), ("--seed", 2**32), ("--threads", 0)])
def test_options_have_bounds(scenario: Path, option: tuple[str, int]) -> None:
    assert option[0] in simulate("run", scenario, *option, code=2).output


@pytest.mark.parametrize(
    ("engine", "option", "own"),
    [
        ("virtual", ("--speed", 10), "live"),
        ("ray", ("--broker", "mqtt://127.0.0.1:1"), "live"),
        ("live", ("--ray-address", "127.0.0.1:1"), "ray"),
        ("live", ("--threads", 2), "virtual"),
        ("ray", ("--device-by-device",), "virtual"),
    ],
)
def test_an_option_of_another_engine_is_refused(
    scenario: Path, engine: str, option: tuple[object, ...], own: str
) -> None:
    told = simulate("run", scenario, "--engine", engine, *option, code=3).output

    assert f"{option[0]} is for --engine {own}" in told


def test_the_live_engine_refuses_a_table_before_it_starts_anything(scenario: Path) -> None:
    assert "needs a stream" in simulate("run", scenario, "--engine", "live", code=5).output


# compare


def test_two_runs_are_compared(scenario: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(SMALL.replace("learning_rate = 0.05", "learning_rate = 0.5"))
    for path in (scenario, other):
        simulate("run", path, "--out", tmp_path / path.stem, "--seed", 1, "--seed", 2)

    words = simulate("compare", tmp_path / "small", tmp_path / "other").output
    found = json.loads(simulate("compare", tmp_path / "small", tmp_path / "other", "--json").stdout)

    assert "learning_rate" in words
    assert found


def test_what_holds_no_report_cannot_be_compared(scenario: Path, tmp_path: Path) -> None:
    told = simulate("compare", tmp_path, scenario, code=8).output

    assert "report.json" in told
