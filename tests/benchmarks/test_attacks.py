"""The table of attacks: who is asked what, and which figures follow."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import attacks, phones
from benchmarks.attacked import Outcome, Run
from benchmarks.attacks import ALPHAS, QUICK, Cell, Plan, defences, figures, runs
from headwater_coordinator.strategies import choose
from tests.benchmarks.test_attacked import users

PLAN = Plan(seeds=1, attacks=("NaN", "Min-Max", "backdoor"), shares=(0.2, 0.3))
QUIET = Outcome(
    accuracy=0.8,
    backdoor=0.0,
    flagged=0.0,
    false_flags=0.01,
    voteless=0.0,
    false_voteless=0.02,
)


def outcomes(**changed: Outcome) -> dict[Cell, list[Outcome]]:
    """Outcomes of every cell of the plan; by name, those of ours against an attack at 30 %."""
    found: dict[Cell, list[Outcome]] = {}
    for cell, _ in runs(PLAN):
        name, _, attack, share = cell
        hit = name == "ours" and share == 0.3 and attack in changed
        found[cell] = [changed[attack] if hit else QUIET]
    return found


def test_every_defence_is_a_strategy_and_bulyan_stands_where_its_bound_allows() -> None:
    for share, bulyan in ((0.0, True), (0.2, True), (0.3, False)):
        names = [one.name for one in defences(share)]
        assert ("Bulyan" in names) == bulyan
        for one in defences(share):
            assert choose(dict(one.strategy), source="test").least <= 50


def test_every_cell_is_run_once_for_each_seed() -> None:
    cells = [(cell, run.seed) for cell, run in runs(replace(PLAN, seeds=2))]
    assert len(cells) == len(set(cells))
    quiet = [run for (_, _, attack, _), run in runs(PLAN) if attack == "none"]
    assert len(quiet) == len(ALPHAS) * len(defences(0.0))


def test_without_peers_ours_is_run_everywhere_and_fedavg_where_nobody_attacks() -> None:
    alone = [cell for cell, _ in runs(replace(PLAN, peers=False))]
    everything = [cell for cell, _ in runs(PLAN)]
    assert [cell for cell in alone if cell[0] == "ours"] == [
        cell for cell in everything if cell[0] == "ours"
    ]
    others = {(name, attack) for name, _, attack, _ in alone if name != "ours"}
    assert others == {("FedAvg", "none")}
    assert figures({cell: [QUIET] for cell in alone}, replace(PLAN, peers=False))["seeds"] == 1


def test_the_worst_loss_is_of_untargeted_attacks_against_ours_without_one() -> None:
    harmed = {"Min-Max": replace(QUIET, accuracy=0.75), "backdoor": replace(QUIET, accuracy=0.1)}
    found = figures(outcomes(**harmed), PLAN)
    assert found["worst_loss_points_20"] == pytest.approx(0.0)
    assert found["worst_loss_points_30"] == pytest.approx(5.0)


def test_flags_cost_and_backdoor_are_the_worst_of_both_ways_to_deal() -> None:
    results = outcomes(backdoor=replace(QUIET, backdoor=0.4))
    results["FedAvg", "uneven", "none", 0.0] = [replace(QUIET, accuracy=0.82)]
    results["ours", "even", "none", 0.0] = [replace(QUIET, false_flags=0.03, false_voteless=0.1)]
    found = figures(results, PLAN)
    assert found["backdoor_success"] == 0.4
    assert found["false_flags"] == 0.03
    assert found["false_voteless"] == 0.1
    assert found["no_attack_cost_points"] == pytest.approx(2.0)
    assert found["no_attack_cost_points_even"] == pytest.approx(0.0)


def test_the_command_runs_a_small_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = replace(QUICK, attacks=("NaN", "backdoor"), rounds=1)
    monkeypatch.setattr(attacks, "QUICK", few)
    monkeypatch.setattr(phones, "read_users", lambda _: users(600))
    monkeypatch.setattr(attacks, "gather", in_this_process)
    result = CliRunner().invoke(attacks.app, ["--quick", "--json", "--data", str(tmp_path)])
    assert result.exit_code == 0, result.output
    made = json.loads(result.stdout.splitlines()[-1])
    assert {"worst_loss_points_20", "backdoor_success", "false_flags"} <= made["figures"].keys()


def in_this_process(play: object, plan: Plan, _: int) -> dict[Cell, list[Outcome]]:
    found: dict[Cell, list[Outcome]] = {}
    for cell, run in runs(plan):
        kept = cell[0] in ("ours", "FedAvg") and isinstance(run, Run)
        found[cell] = [play(run) if kept else QUIET]  # type: ignore[operator]
    assert all(np.isfinite(one.accuracy) for many in found.values() for one in many)
    return found
