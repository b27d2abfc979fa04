"""What compressed updates save, and what they cost: ``python -m benchmarks.compression``.

The WISDM federation of :mod:`benchmarks.wisdm`, with updates as they are and with each way to
compress them: same split, same first weights. Bytes are those of the arrays that devices sent. With
``--json`` one object comes last.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from benchmarks import phones, wisdm
from benchmarks.phones import User
from benchmarks.report import FEDERATED, Figure, Report, report
from headwater_coordinator.settings import Updates

WAYS: Mapping[str, Updates] = {
    "float32": Updates(),
    "float16": Updates(compression="float16"),
    "int8": Updates(compression="int8"),
    "top_k": Updates(compression="top-k", keep=0.1),
}
"""``float32`` is what all others are held against."""

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Share of rows that the release names right, and the bytes that a device sent in a round."""

    accuracy: float
    bytes: float


@app.command()
def command(
    seeds: Annotated[int, typer.Option(min=1, help="Splits and first weights.")] = 3,
    rounds: Annotated[int, typer.Option(min=1, help="Of the federation.")] = 100,
    data: Annotated[
        Path, typer.Option(envvar="HEADWATER_DATA", help="Folder with a folder wisdm_v11.")
    ] = Path("../shared/data"),
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last.")] = False,
) -> None:
    """Measure bytes and accuracy of each way."""
    users = phones.read_users(data / "wisdm_v11")
    found = summary([measure(users, rounds, seed) for seed in range(seeds)])
    found.show(Console(stderr=as_json))
    if as_json:
        typer.echo(found.encode().decode())


def measure(users: Sequence[User], rounds: int, seed: int) -> dict[str, Outcome]:
    """Run a federation for each way."""
    return {name: _run(users, rounds, seed, update) for name, update in WAYS.items()}


def summary(outcomes: Sequence[Mapping[str, Outcome]]) -> Report:
    """Return means over seeds: bytes beside those of float32, and points of accuracy gained."""
    figures: dict[str, float | Figure] = {}
    plain = [outcome["float32"] for outcome in outcomes]
    sent = float(np.mean([one.bytes for one in plain]))
    figures["accuracy_float32"] = float(np.mean([one.accuracy for one in plain]))
    for name in WAYS:
        if name == "float32":
            continue
        ours = [outcome[name] for outcome in outcomes]
        mean = float(np.mean([one.bytes for one in ours]))
        figures[f"bytes_{name}"] = Figure(
            ours=mean, peers={"float32": sent}, ratio=sent / mean, unit="B", better="lower"
        )
        gained = [100 * (a.accuracy - b.accuracy) for a, b in zip(ours, plain, strict=True)]
        figures[f"accuracy_points_{name}"] = float(np.mean(gained))
    figures |= {"seeds": float(len(outcomes)), "cores": float(os.cpu_count() or 1)}
    return report("compression", FEDERATED, figures)


def _run(users: Sequence[User], rounds: int, seed: int, update: Updates) -> Outcome:
    rng = np.random.default_rng(seed)
    learn, score = wisdm.divide(users, wisdm.Case(), rng)
    model = wisdm.chosen(learn, rng)
    devices, _ = wisdm.federate(model, learn, rounds, rng, update)
    released = devices[0].pipeline.learner.version.weights
    right = sum(model.right(user, released) for user in score)
    rows = sum(len(user.labels) for user in score)
    sent = sum(device.sent_bytes for device in devices)
    return Outcome(right / rows, sent / len(devices) / rounds)


if __name__ == "__main__":
    app()
