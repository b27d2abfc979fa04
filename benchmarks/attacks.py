"""What attackers among the devices can do: ``python -m benchmarks.attacks``.

Fifty devices learn WISDM's activities (:mod:`.attacked`), their rows dealt out at random or
unevenly (Dirichlet 0.5 over activities), while a share of them attacks (:mod:`.attackers`). Ours is
the strategy ``screened`` behind the firewall; the peers are Flower's rules as Headwater computes
them. They are told how many attackers there are, and ours is told 30 % whatever there are. The
settings of ours were chosen on other seeds, from 100 on.

A loss is in points of accuracy, against the same defence without an attack, and a figure is the
mean over seeds. With ``--json`` one object comes last.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Annotated, get_args

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import phones
from benchmarks.accuracy import DATA, AsJson, Data, Quick, Seeds
from benchmarks.attacked import DEVICES, Defence, Outcome, Run, play
from benchmarks.attackers import UNTARGETED, Attack
from benchmarks.report import FEDERATED, Figure, report
from headwater_coordinator.settings import Firewall

ALPHAS: Mapping[str, float | None] = {"even": None, "uneven": 0.5}
HOW = {"even": "at random", "uneven": "unevenly"}
SHARES = (0.1, 0.2, 0.3)
ATTACKS: tuple[Attack, ...] = tuple(one for one in get_args(Attack) if one != "none")
OURS = Defence(
    name="ours",
    strategy=(("name", "screened"), ("malicious_share", 0.3)),
    firewall=Firewall(norm_multiple=5.0),
)

SHOWN: Mapping[str, str] = {
    "backdoor": "backdoor",
    "flagged": "flagged",
    "false flags": "false_flags",
    "voteless": "voteless",
    "false voteless": "false_voteless",
}
"""What is shown of ours beside its accuracy."""

Cell = tuple[str, str, Attack, float]
"""Defence, how rows are dealt, attack, and share of attackers."""

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is run."""

    seeds: int = 5
    rounds: int = 50
    attacks: tuple[Attack, ...] = ATTACKS
    shares: tuple[float, ...] = SHARES
    peers: bool = True
    """Without them FedAvg alone stands beside ours, and only where nobody attacks."""


QUICK = Plan(seeds=1, rounds=2, attacks=("NaN", "Min-Max", "backdoor"), shares=(0.2,))


@app.command()
def command(
    data: Data = DATA,
    seeds: Seeds = 5,
    jobs: Annotated[int, typer.Option(min=1, max=2, help="Runs at the same time.")] = 2,
    *,
    peers: Annotated[bool, typer.Option(help="Let other rules be attacked, too.")] = True,
    quick: Quick = False,
    as_json: AsJson = False,
) -> None:
    """Measure what is left of a fleet's accuracy under attack."""
    plan = QUICK if quick else Plan(seeds=seeds, peers=peers)
    users = phones.read_users(data / "wisdm_v11")
    found = gather(partial(play, users), plan, jobs)
    console = Console(stderr=as_json)
    for dealt in ALPHAS:
        console.print(kept(found, dealt, plan))
        console.print(seen(found, dealt, plan))
    made = report("attacks", FEDERATED, figures(found, plan))
    made.show(console)
    if as_json:
        typer.echo(made.encode().decode())


def defences(share: float) -> tuple[Defence, ...]:
    """Return ours and the peers, which are told how many attackers there are.

    Bulyan is left out where its proof does not hold.
    """
    count = round(share * DEVICES)
    told = ("num_malicious_nodes", count)
    peers: dict[str, tuple[tuple[str, object], ...]] = {
        "FedAvg": (("name", "fedavg"),),
        "Krum": (("name", "krum"), told),
        "FedMedian": (("name", "fedmedian"),),
        "FedTrimmedAvg": (("name", "fedtrimmedavg"), ("beta", share)),
    }
    if 4 * count + 3 <= DEVICES:
        peers["Bulyan"] = (("name", "bulyan"), told)
    return (OURS, *(Defence(name=name, strategy=how) for name, how in peers.items()))


def runs(plan: Plan) -> Iterator[tuple[Cell, Run]]:
    """Yield every run with its place in the table; without an attack peers expect none."""
    for seed in range(plan.seeds):
        for dealt, alpha in ALPHAS.items():
            common = partial(Run, seed=seed, alpha=alpha, rounds=plan.rounds)
            for share in (0.0, *plan.shares):
                for defence in _asked(plan, share):
                    for attack in plan.attacks if share else ("none",):
                        yield (
                            (defence.name, dealt, attack, share),
                            common(defence=defence, attack=attack, share=share),
                        )


def _asked(plan: Plan, share: float) -> list[Defence]:
    """Return the defences that a plan wants at a share; the cost of ours is against FedAvg."""
    needed = {OURS.name} if share else {OURS.name, "FedAvg"}
    return [one for one in defences(share) if plan.peers or one.name in needed]


def gather(play: Callable[[Run], Outcome], plan: Plan, jobs: int) -> dict[Cell, list[Outcome]]:
    """Carry out all runs, some at a time, each in a process that does nothing else."""
    cells, asked = zip(*runs(plan), strict=True)
    found: dict[Cell, list[Outcome]] = defaultdict(list)
    context = multiprocessing.get_context("spawn")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    shown = Console(stderr=True)
    with ProcessPoolExecutor(jobs, context, initializer=_quieten) as pool:
        outcomes = track(pool.map(play, asked), "runs", total=len(asked), console=shown)
        for cell, outcome in zip(cells, outcomes, strict=True):
            found[cell].append(outcome)
    return dict(found)


def _quieten() -> None:
    logging.disable(logging.WARNING)


def figures(found: Mapping[Cell, Sequence[Outcome]], plan: Plan) -> dict[str, float | Figure]:
    """Return what ours loses at worst, over both ways to deal rows and for each."""
    made: dict[str, float | Figure] = {}
    for share in plan.shares:
        worst = {
            dealt: max(
                (lost(found, ("ours", dealt, a, share)) for a in plan.attacks if a in UNTARGETED),
            )
            for dealt in ALPHAS
        }
        percent = round(100 * share)
        made[f"worst_loss_points_{percent}"] = max(worst.values())
        made |= {f"worst_loss_points_{percent}_{dealt}": one for dealt, one in worst.items()}
        if "noisy copies" in plan.attacks:
            made[f"noisy_copies_loss_points_{percent}"] = max(
                lost(found, ("ours", dealt, "noisy copies", share)) for dealt in ALPHAS
            )
    backdoor = {
        f"backdoor_success_{round(100 * share)}_{dealt}": mean(
            found["ours", dealt, "backdoor", share], "backdoor"
        )
        for dealt in ALPHAS
        for share in plan.shares
    }
    made |= {"backdoor_success": max(backdoor.values())} | backdoor
    quiet: dict[str, Cell] = {dealt: ("ours", dealt, "none", 0.0) for dealt in ALPHAS}
    for what in ("false_flags", "false_voteless"):
        made[what] = max(mean(found[cell], what) for cell in quiet.values())
    costs = {dealt: cost(found, dealt) for dealt in ALPHAS}
    made["no_attack_cost_points"] = max(costs.values())
    made |= {f"no_attack_cost_points_{dealt}": value for dealt, value in costs.items()}
    return made | {"seeds": float(plan.seeds)}


def lost(found: Mapping[Cell, Sequence[Outcome]], cell: Cell) -> float:
    """Return the points of accuracy that an attack costs a defence."""
    defence, dealt, _, _ = cell
    quiet = mean(found[defence, dealt, "none", 0.0], "accuracy")
    return 100 * (quiet - mean(found[cell], "accuracy"))


def cost(found: Mapping[Cell, Sequence[Outcome]], dealt: str) -> float:
    """Return the points that ours is below FedAvg when nobody attacks; below zero: above it."""
    ours, average = (
        mean(found[name, dealt, "none", 0.0], "accuracy") for name in ("ours", "FedAvg")
    )
    return 100 * (average - ours)


def kept(found: Mapping[Cell, Sequence[Outcome]], dealt: str, plan: Plan) -> Table:
    """Return the accuracy that each defence keeps."""
    names = list(dict.fromkeys(name for name, *_ in found))
    table = _table(f"accuracy, rows dealt out {HOW[dealt]}", names)
    for attack, share in _rows(plan):
        cells = (found.get((name, dealt, attack, share)) for name in names)
        table.add_row(
            f"{attack} {share:.0%}",
            *(f"{mean(cell, 'accuracy'):.3f}" if cell else "" for cell in cells),
        )
    return table


def seen(found: Mapping[Cell, Sequence[Outcome]], dealt: str, plan: Plan) -> Table:
    """Return whom ours refuses, and what a backdoor comes to."""
    table = _table(f"ours, %, rows dealt out {HOW[dealt]}", SHOWN)
    for attack, share in _rows(plan):
        ours = found["ours", dealt, attack, share]
        shown = (f"{100 * mean(ours, what):.1f}" for what in SHOWN.values())
        table.add_row(f"{attack} {share:.0%}", *shown)
    return table


def _table(title: str, columns: Iterable[str]) -> Table:
    table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("attack", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right")
    return table


def _rows(plan: Plan) -> list[tuple[Attack, float]]:
    return [("none", 0.0), *((attack, share) for attack in plan.attacks for share in plan.shares)]


def mean(outcomes: Sequence[Outcome], what: str) -> float:
    """Return the mean of one thing over seeds."""
    return statistics.fmean(getattr(outcome, what) for outcome in outcomes)


if __name__ == "__main__":
    app()
