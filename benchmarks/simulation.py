"""How fast the simulator is, and what it foretells: ``python -m benchmarks.simulation``.

Cases:

``forty-thousand``
    The shipped scenario of that name (the size of NVIDIA FLARE's edge example: 40,000 devices, 200
    at a time, 20 updates for each of 200 versions), in its own process: seconds, peak memory.
``flare``
    FLARE's experiment with delays: 16 devices that take 100, 200 or 400 seconds longer, 10 rounds
    of all of them against 160 updates merged one by one. It measured 82 and 45 minutes.
``fedbuff``
    Buffered against synchronous federation where a few devices are very slow: virtual time until
    both reach the same loss (Nguyen et al., AISTATS 2022).
``fedprox``
    FedProx with partial work against FedAvg without, under stragglers, on synthetic(1, 1) (Li et
    al., MLSys 2020).
``peers``
    Device-rounds in a second against Flower's simulation engine on Ray and Apple's pfl: a thousand
    devices, all of them in each round (:mod:`benchmarks.simulated_peers`; both are installed apart:
    ``pip install 'flwr[simulation]==1.41.0' pfl torch``).

Virtual times are exact and repeat; seconds are this machine's.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.report import Figure, report
from benchmarks.simulated_peers import DEVICES, PEERS, Measured, alone
from headwater.settings import Duration
from headwater_coordinator.settings import Buffered, Gate, Rounds
from headwater_models.manifest import Optimiser
from headwater_simulator.report.results import Results
from headwater_simulator.scenario.settings import Group, Link, Model, Scenario, Synthetic
from headwater_simulator.simulation import simulate

PACKAGES = ("headwater", "numpy", "onnxruntime")
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000

FLARE_SYNCHRONOUS, FLARE_ASYNCHRONOUS = 82.0, 45.0
"""Minutes that FLARE measured, by its edge example's text."""

FLARE_WORK_S = 60.0
"""Seconds that a round took there without any delay."""

Figures = dict[str, float | Figure]
app = typer.Typer(add_completion=False)


def forty_thousand(seeds: Sequence[int]) -> Figures:
    """Run the shipped scenario in a process of its own."""
    took, peak = [], []
    for seed in seeds:
        code = (
            "import resource; from time import perf_counter\n"
            "from headwater_simulator.simulation import simulate\n"
            f"began = perf_counter(); made = simulate('forty-thousand', seed={seed})\n"
            "print(perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,"
            " made.totals.releases, made.totals.updates_accepted)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
        seconds, kilobytes, releases, updates = map(float, done.stdout.split())
        took.append(seconds)
        peak.append(kilobytes * 1024 / 1e6)
    return {
        "forty_thousand_s": statistics.median(took),
        "forty_thousand_mb": max(peak),
        "forty_thousand_releases": releases,
        "forty_thousand_updates": updates,
    }


def flare(seeds: Sequence[int]) -> Figures:
    """Return how much sooner the same number of updates is merged without rounds."""
    both = [(_flare(seed, rounds=True), _flare(seed, rounds=False)) for seed in seeds]
    synchronous = statistics.fmean(_merged_ms(a, 160) / MINUTE for a, _ in both)
    asynchronous = statistics.fmean(_merged_ms(b, 160) / MINUTE for _, b in both)
    ratio, measured = synchronous / asynchronous, FLARE_SYNCHRONOUS / FLARE_ASYNCHRONOUS
    return {
        "flare_synchronous_min": _beside(synchronous, FLARE_SYNCHRONOUS, "min"),
        "flare_asynchronous_min": _beside(asynchronous, FLARE_ASYNCHRONOUS, "min"),
        "flare_ratio": _beside(ratio, measured, "times"),
    }


def _flare(seed: int, *, rounds: bool) -> Results:
    rows = 120
    groups = tuple(
        Group(
            name=name,
            devices=devices,
            speed=rows / FLARE_WORK_S,
            delay=Duration(delay * SECOND),
            link=Link(latency=Duration(2_500), jitter=0.1, poll=Duration(0)),
        )
        for name, devices, delay in (("fast", 5, 100), ("middle", 6, 200), ("slow", 5, 400))
    )
    federation: Rounds | Buffered
    if rounds:
        federation = Rounds(
            min_devices=16,
            deadline=Duration(HOUR),
            check_in=Duration(DAY),
            pause=Duration(0),
        )
    else:
        federation = Buffered(
            min_devices=1,
            buffer=1,
            concurrency=16,
            max_staleness=100,
            deadline=Duration(HOUR),
            check_in=Duration(DAY),
        )
    scenario = Scenario(
        length=Duration(3 * HOUR),
        model=Model(hidden=(16,), optimiser=Optimiser(name="sgd", learning_rate=0.1, batch=10)),
        data=Synthetic(iid=True, features=10, classes=4, rows=rows + 30, held=0.2),
        groups=groups,
        federation=federation,
        gate=Gate(tolerance=1.0, max_evaluators=1),
        strategy={"name": "fedavg" if rounds else "fedasync"},
        seed=seed,
    )
    return simulate(scenario)


def _merged_ms(made: Results, updates: int) -> float:
    """Return when so many updates were merged, milliseconds of virtual time."""
    total = 0
    for one in made.rounds:
        total += one.accepted
        if total >= updates and one.closed_ms is not None:
            return float(one.closed_ms)
    raise SystemExit(f"Only {total} updates were merged; let the scenario run longer.")


def fedbuff(seeds: Sequence[int]) -> Figures:
    """Return how much sooner the buffered federation is as good as the synchronous one."""
    factors = []
    for seed in seeds:
        slow = _heavy_tailed(seed, rounds=True)
        quick = _heavy_tailed(seed, rounds=False)
        aim = max(min(p.loss for p in slow.curve), min(p.loss for p in quick.curve)) * 1.02
        factors.append(_reached_ms(slow, aim) / _reached_ms(quick, aim))
    return {"fedbuff_speedup": statistics.fmean(factors), "fedbuff_speedup_least": min(factors)}


def _heavy_tailed(seed: int, *, rounds: bool) -> Results:
    federation: Rounds | Buffered = (
        Rounds(
            max_devices=20,
            min_devices=5,
            deadline=Duration(HOUR),
            pause=Duration(SECOND),
            check_in=Duration(DAY),
        )
        if rounds
        else Buffered(
            buffer=10,
            concurrency=20,
            min_devices=5,
            deadline=Duration(HOUR),
            check_in=Duration(DAY),
        )
    )
    scenario = Scenario(
        length=Duration(2 * DAY),
        releases=60 if rounds else 200,
        model=Model(hidden=(16,), optimiser=Optimiser(name="sgd", learning_rate=0.05, batch=10)),
        data=Synthetic(alpha=0.5, beta=0.5, features=20, classes=5, rows=150),
        groups=(Group(name="devices", devices=100, speed=10.0, speed_spread=1.2, link=_NEAR),),
        federation=federation,
        gate=Gate(tolerance=0.05, max_evaluators=10, min_evaluators=2),
        strategy={"name": "fedavg" if rounds else "fedbuff"},
        seed=seed,
    )
    return simulate(scenario)


def fedprox(seeds: Sequence[int]) -> Figures:
    """Return how good FedProx and FedAvg are after as many releases.

    The loss is the mean over devices, the accuracy is over all rows: few devices have most of them.
    """
    last = {
        name: [_stragglers(seed, name).curve[-1] for seed in seeds]
        for name in ("fedprox", "fedavg")
    }
    ours, theirs = (statistics.fmean(p.spread.mean for p in points) for points in last.values())
    better, worse = (
        statistics.fmean(p.accuracy or 0.0 for p in points) for points in last.values()
    )
    return {
        "fedprox_loss": Figure(
            ours=ours, peers={"fedavg": theirs}, ratio=theirs / ours, unit="", better="lower"
        ),
        "fedprox_accuracy": Figure(
            ours=better, peers={"fedavg": worse}, ratio=better / worse, unit="", better="higher"
        ),
    }


def _stragglers(seed: int, name: str) -> Results:
    """Hold rounds in which the half of the devices, or more, does not come to all its work."""
    strategy: dict[str, object] = {"name": name}
    if name == "fedprox":
        strategy |= {"proximal_mu": 1.0, "budget": "20s"}
    scenario = Scenario(
        length=Duration(DAY),
        releases=50,
        model=Model(kind="linear", optimiser=Optimiser(name="sgd", learning_rate=0.01, batch=10)),
        data=Synthetic(alpha=1.0, beta=1.0, mean_log=3.0, sigma_log=1.5),
        groups=(Group(name="devices", devices=30, speed=200.0, speed_spread=1.5, link=_NEAR),),
        federation=Rounds(
            max_devices=10,
            min_devices=1,
            epochs=20,
            deadline=Duration(30 * SECOND),
            pause=Duration(SECOND),
            backoff=Duration(SECOND),
            check_in=Duration(HOUR),
        ),
        gate=Gate(tolerance=1.0),
        strategy=strategy,
        seed=seed,
    )
    return simulate(scenario)


_NEAR = Link(latency=Duration(50), poll=Duration(SECOND))


def peers(seeds: Sequence[int]) -> Figures:
    """Run all three in turns, each in a process of its own; the accuracies must be alike."""
    made: dict[str, list[Measured]] = {}
    for name in [name for _ in seeds for name in PEERS]:
        try:
            measured = alone(name)
        except RuntimeError as error:
            MISSING[name] = str(error)
        else:
            made.setdefault(name, []).append(measured)
    rates = {
        name: DEVICES / statistics.median(one.round_s for one in some)
        for name, some in made.items()
    }
    figures: Figures = {}
    for name in rates.keys() - {"ours"}:
        figures[NAMES[name]] = Figure(
            ours=rates["ours"],
            peers={name: rates[name]},
            ratio=rates["ours"] / rates[name],
            unit="device-rounds/s",
            better="higher",
        )
    for name, some in made.items():
        figures[f"{name}_start_s"] = statistics.median(one.start_s for one in some)
        figures[f"{name}_accuracy"] = some[0].accuracy
    return figures


NAMES = {"flower": "flwr", "pfl": "pfl"}
MISSING: dict[str, str] = {}
"""Peers that could not run, with the reason."""


def _reached_ms(made: Results, loss: float) -> float:
    return float(next(p.time_ms for p in made.curve if p.loss <= loss))


def _beside(ours: float, measured: float, unit: str) -> Figure:
    """Return what was foretold beside what FLARE measured; the ratio is how near they are."""
    return Figure(
        ours=ours,
        peers={"flare_measured": measured},
        ratio=ours / measured,
        unit=unit,
        better="lower",
    )


CASES: Mapping[str, Callable[[Sequence[int]], Figures]] = {
    "forty-thousand": forty_thousand,
    "flare": flare,
    "fedbuff": fedbuff,
    "fedprox": fedprox,
    "peers": peers,
}


@app.command()
def main(
    cases: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(CASES)}.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each case, with other seeds.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last.")] = False,
) -> None:
    """Measure the simulator, and hold what it foretells against what others measured."""
    wanted = cases or list(CASES)
    if unknown := set(wanted) - CASES.keys():
        raise typer.BadParameter(f"there is no case {', '.join(unknown)}")
    console, figures = Console(stderr=as_json), dict[str, float | Figure]()
    for name in wanted:
        began = perf_counter()
        figures |= CASES[name](range(1, seeds + 1))
        console.print(f"[dim]{name}: {perf_counter() - began:.0f} s[/]")
    made = report("simulation", PACKAGES, figures, MISSING)
    made.show(console)
    if as_json:
        typer.echo(made.encode())


if __name__ == "__main__":
    app()
