"""``headwater model new``: the command's options, and what it builds from them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer

from headwater import __version__
from headwater.clock import now_ms
from headwater_models.bundle import Bundle
from headwater_models.keys import SigningKey, read_public
from headwater_models.report import tell
from headwater_models.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
Delegates = Annotated[
    list[str] | None,
    typer.Option("--delegate", help="Public key that may release versions; may be repeated."),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="The new folder, or NAME.zip.")]
Kind = Annotated[
    Literal["linear", "mlp"] | None, typer.Argument(help="Network, where no file says it.")
]
Spec = Annotated[
    Path | None,
    typer.Option(help="TOML file with the whole specification; other options override it."),
]
Data = Annotated[
    Path | None, typer.Option(help="CSV (.gz too) to take channels, ranges and scales from.")
]
Label = Annotated[str | None, typer.Option(help="Column of the data with the label.")]
Name = Annotated[str | None, typer.Option(help="The model's name.")]
Task = Annotated[
    Literal["forecast", "regression", "classification"] | None,
    typer.Option(help="What to predict."),
]
Channels = Annotated[
    list[str] | None,
    typer.Option("--channel", help="NAME, NAME:UNIT or NAME:UNIT:MINIMUM:MAXIMUM; repeatable."),
]
Classes = Annotated[list[str] | None, typer.Option("--class", help="A class; repeatable.")]
Target = Annotated[str | None, typer.Option(help="Channel to forecast.")]
Horizon = Annotated[str | None, typer.Option(help="How far ahead to forecast, such as 6h.")]
Period = Annotated[str | None, typer.Option(help="Time between two rows, such as 1h.")]
Window = Annotated[int | None, typer.Option(help="Rows in a window.")]
MaxGap = Annotated[str | None, typer.Option(help="Silence that ends a window [one period].")]
Hold = Annotated[int | None, typer.Option(help="Rows for which a lost value stays the last one.")]
Clock = Annotated[bool, typer.Option("--clock", help="Let the model see the time.")]
Hidden = Annotated[list[int] | None, typer.Option(help="Width of a hidden layer; repeatable.")]
Loss = Annotated[
    Literal["mse", "mae", "huber", "cross_entropy"] | None,
    typer.Option(help="By default mae to forecast, mse in regression, cross_entropy for classes."),
]
Optimiser = Annotated[Literal["sgd", "adam"] | None, typer.Option(help="How it learns.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the first weights.")]
SignKey = Annotated[Path | None, typer.Option(help="The publisher's private key to sign with.")]


def new(
    *,
    kind: Kind = None,
    out: Out,
    spec: Spec = None,
    data: Data = None,
    label: Label = None,
    name: Name = None,
    task: Task = None,
    channels: Channels = None,
    classes: Classes = None,
    target: Target = None,
    horizon: Horizon = None,
    period: Period = None,
    window: Window = None,
    max_gap: MaxGap = None,
    hold: Hold = None,
    clock: Clock = False,
    hidden: Hidden = None,
    loss: Loss = None,
    optimiser: Optimiser = None,
    seed: Seed = 0,
    sign_key: SignKey = None,
    delegate: Delegates = None,
    as_json: AsJson = False,
) -> None:
    """Build a new bundle from a TOML file, options, or both, with scales taken from data."""
    given = {
        "kind": kind,
        "name": name,
        "task": task,
        "channels": channels,
        "classes": classes,
        "target": target,
        "horizon": horizon,
        "grid": {"period": period, "max_gap": max_gap, "hold": hold},
        "window": window,
        "inputs": ["window", "time"] if clock else None,
        "hidden": hidden,
        "loss": loss,
        "optimiser": {"name": optimiser},
    }
    table = Table.read(data) if data else None
    bundle = _build(given, spec, table, label, seed)
    if sign_key is not None:
        bundle = sign_bundle(bundle, sign_key, delegate)
    bundle.save(out)
    tell(bundle, out, as_json=as_json)


def sign_bundle(bundle: Bundle, key: Path, delegates: list[str] | None) -> Bundle:
    """Sign with the private key in a file; *delegates* are public keys or files of them."""
    public = [read_public(delegate) for delegate in delegates or []]
    return bundle.sign(SigningKey.load(key), delegates=public, created=now_ms())


def _build(
    given: Mapping[str, Any],
    spec: Path | None,
    table: Table | None,
    label: str | None,
    seed: int,
) -> Bundle:
    from headwater_models.graphs.builders import build  # noqa: PLC0415 - a device has no onnx
    from headwater_models.recipe import specify  # noqa: PLC0415 - the same

    wanted = specify(given, file=spec, data=table, label=label)
    built = build(wanted, np.random.default_rng(seed))
    return Bundle(
        manifest=built.manifest,
        infer=built.infer,
        train=built.train,
        weights=built.weights,
        facts=_facts(table, seed),
    )


def _facts(table: Table | None, seed: int) -> dict[str, Any]:
    created = datetime.fromtimestamp(now_ms() / 1000, UTC).isoformat(timespec="seconds")
    facts: dict[str, Any] = {"created": created, "headwater": __version__, "seed": seed}
    if table is not None:
        facts["data"] = {"rows": table.rows, "sha256": table.digest}
    return facts
