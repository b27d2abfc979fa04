"""Many models over one stream: evaluations per second, all in one call beside one by one."""

from __future__ import annotations

import statistics
from collections import defaultdict
from pathlib import Path

from benchmarks.agent import workload
from benchmarks.agent.load import Effort, Figures, saturate
from benchmarks.agent.sides import AGENT_WITH_MODELS, CannotRunError, beside
from benchmarks.agent.stage import Spent, stage
from benchmarks.report import Figure
from headwater_models.bundle import Bundle

RATE = 520
"""Records per second of the stream: what is wanted is 500, and the clock also runs while the last
answers come."""

PEER = "naive_models"


def measure(model: Path, effort: Effort, missing: dict[str, str]) -> Figures:
    """Return what they come to at a steady rate, and at most; of the peer at most alone.

    It cannot keep up with the rate.
    """
    folder = beside(model)
    folder.mkdir()
    workload.save_beside(folder, Bundle.load(model), effort.models)
    steady: list[Spent] = []
    most: dict[str, list[Spent]] = defaultdict(list)
    for _ in range(effort.turns):
        for side in (AGENT_WITH_MODELS, PEER):
            if side in missing:
                continue
            try:
                with stage(model) as place, place.side(side, 0) as running:
                    running.warm()
                    if side == AGENT_WITH_MODELS:
                        steady.append(running.at_rate(RATE, effort.seconds))
                    most[side].append(saturate(running, effort))
            except CannotRunError as error:
                if side == AGENT_WITH_MODELS:
                    raise
                missing[side] = str(error)
    return figures(steady, most, effort.models)


def figures(steady: list[Spent], most: dict[str, list[Spent]], models: int) -> Figures:
    """Return medians over turns; every record that was answered is an evaluation of each model."""

    def evaluations(turns: list[Spent]) -> float:
        return models * statistics.median(turn.events / turn.wall_s for turn in turns)

    ours = evaluations(most[AGENT_WITH_MODELS])
    peers = {side: evaluations(turns) for side, turns in most.items() if side == PEER}
    ratio = ours / peers[PEER] if peers else float("nan")
    return {
        "evaluations_per_second": evaluations(steady),
        "evaluations_per_second_lost": sum(turn.lost for turn in steady)
        / sum(turn.events + turn.lost for turn in steady),
        "evaluations_per_second_cores": statistics.median(
            turn.cpu_s / turn.wall_s for turn in steady
        ),
        "evaluations_per_second_at_most": Figure(
            ours=ours, peers=peers, ratio=ratio, unit="1/s", better="higher"
        ),
    }
