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
from headwater_models.publishing import Publisher, check_out
from headwater_models.report import tell
from headwater_models.table import Table

DATA, NETWORK, LEARNING = "Data and task", "Network", "Learning"
"""The panels of the help."""

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
Delegates = Annotated[
    list[str] | None,
    typer.Option("--delegate", help="Public key that may release versions; may be repeated."),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="The new folder, or NAME.zip.")]
Kind = Annotated[
    Literal["linear", "mlp", "resnet", "cnn", "gru", "autoencoder"] | None,
    typer.Argument(help="Network, where no file says it."),
]
Spec = Annotated[
    Path | None,
    typer.Option(help="TOML file with the whole specification; other options override it."),
]
Name = Annotated[str | None, typer.Option(help="The model's name.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the first weights.")]
SignKey = Annotated[Path | None, typer.Option(help="The publisher's private key to sign with.")]

Data = Annotated[
    Path | None,
    typer.Option(
        help="CSV (.gz too) to take channels, ranges and scales from.", rich_help_panel=DATA
    ),
]
Label = Annotated[
    str | None, typer.Option(help="Column of the data with the label.", rich_help_panel=DATA)
]
Task = Annotated[
    Literal["forecast", "regression", "classification", "anomaly"] | None,
    typer.Option(help="What to predict.", rich_help_panel=DATA),
]
Channels = Annotated[
    list[str] | None,
    typer.Option(
        "--channel",
        help="NAME, NAME:UNIT or NAME:UNIT:MINIMUM:MAXIMUM; repeatable.",
        rich_help_panel=DATA,
    ),
]
Categories = Annotated[
    list[str] | None,
    typer.Option(
        "--category",
        help="CHANNEL=ONE,OTHER,... for a channel of names, or CHANNEL alone for those of the "
        "data; repeatable.",
        rich_help_panel=DATA,
    ),
]
Log = Annotated[
    list[str] | None,
    typer.Option(
        help="Channel that is mostly small and sometimes huge, to read by its logarithm; "
        "repeatable.",
        rich_help_panel=DATA,
    ),
]
Classes = Annotated[
    list[str] | None,
    typer.Option("--class", help="A class; repeatable.", rich_help_panel=DATA),
]
Target = Annotated[str | None, typer.Option(help="Channel to forecast.", rich_help_panel=DATA)]
Horizon = Annotated[
    str | None,
    typer.Option(help="How far ahead to forecast, such as 6h.", rich_help_panel=DATA),
]
Quantiles = Annotated[
    list[float] | None,
    typer.Option(
        "--quantile",
        help="Predict the value below which this share of labels lies, such as 0.9; repeatable.",
        rich_help_panel=DATA,
    ),
]
Period = Annotated[
    str | None, typer.Option(help="Time between two rows, such as 1h.", rich_help_panel=DATA)
]
Window = Annotated[int | None, typer.Option(help="Rows in a window.", rich_help_panel=DATA)]
MaxGap = Annotated[
    str | None,
    typer.Option(help="Silence that ends a window; by default one period.", rich_help_panel=DATA),
]
Hold = Annotated[
    int | None,
    typer.Option(help="Rows for which a lost value stays the last one.", rich_help_panel=DATA),
]
Clock = Annotated[
    bool, typer.Option("--clock", help="Let the model see the time.", rich_help_panel=DATA)
]
Hidden = Annotated[
    list[int] | None,
    typer.Option(help="Width of a hidden layer; repeatable.", rich_help_panel=NETWORK),
]
Activation = Annotated[
    Literal["relu", "tanh", "silu"] | None,
    typer.Option(help="Between layers; by default relu.", rich_help_panel=NETWORK),
]
Normalise = Annotated[
    Literal["none", "layer"] | None,
    typer.Option(help="Layer normalisation after hidden layers.", rich_help_panel=NETWORK),
]
Kernel = Annotated[
    int | None,
    typer.Option(
        help="Rows that a convolution of a cnn sees; by default 3.", rich_help_panel=NETWORK
    ),
]
Embedding = Annotated[
    int | None,
    typer.Option(
        help="Numbers that stand for one category; by default 4.", rich_help_panel=NETWORK
    ),
]
Personal = Annotated[
    Literal["none", "head", "blend"] | None,
    typer.Option(
        help="What stays on each device: nothing, the last layer, or a second last layer that "
        "adds to the released one.",
        rich_help_panel=NETWORK,
    ),
]
Learner = Annotated[
    Literal["gradient", "ridge", "naive_bayes"] | None,
    typer.Option(
        help="Train all by gradients, or solve the last layer from statistics that merge exactly; "
        "by default gradient.",
        rich_help_panel=LEARNING,
    ),
]
Ridge = Annotated[
    float | None,
    typer.Option(help="What weighs against statistics; by default 1.", rich_help_panel=LEARNING),
]
MinCount = Annotated[
    int | None,
    typer.Option(
        help="Examples from which on a device contributes statistics; by default the larger of "
        "50 and twice the features.",
        rich_help_panel=LEARNING,
    ),
]
Freeze = Annotated[
    list[str] | None,
    typer.Option(
        help="Pattern of arrays that are never trained, such as 'hidden.*'; repeatable.",
        rich_help_panel=LEARNING,
    ),
]
Loss = Annotated[
    Literal["mse", "mae", "huber", "quantile", "cross_entropy"] | None,
    typer.Option(
        help="By default what suits the task: mae, mse, cross_entropy or quantile.",
        rich_help_panel=LEARNING,
    ),
]
Optimiser = Annotated[
    Literal["sgd", "momentum", "adam", "adamw"] | None,
    typer.Option(help="How it learns; by default adam.", rich_help_panel=LEARNING),
]
LearningRate = Annotated[
    float | None, typer.Option(help="Size of a step; by default 0.001.", rich_help_panel=LEARNING)
]
Batch = Annotated[
    int | None, typer.Option(help="Rows in a step; by default 32.", rich_help_panel=LEARNING)
]


def new(
    *,
    kind: Kind = None,
    out: Out,
    spec: Spec = None,
    name: Name = None,
    seed: Seed = 0,
    data: Data = None,
    label: Label = None,
    task: Task = None,
    channels: Channels = None,
    categories: Categories = None,
    log: Log = None,
    classes: Classes = None,
    target: Target = None,
    horizon: Horizon = None,
    quantiles: Quantiles = None,
    period: Period = None,
    window: Window = None,
    max_gap: MaxGap = None,
    hold: Hold = None,
    clock: Clock = False,
    hidden: Hidden = None,
    activation: Activation = None,
    normalise: Normalise = None,
    kernel: Kernel = None,
    embedding: Embedding = None,
    personal: Personal = None,
    learner: Learner = None,
    ridge: Ridge = None,
    min_count: MinCount = None,
    freeze: Freeze = None,
    loss: Loss = None,
    optimiser: Optimiser = None,
    learning_rate: LearningRate = None,
    batch: Batch = None,
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
        "categories": categories,
        "log": log,
        "classes": classes,
        "target": target,
        "horizon": horizon,
        "quantiles": quantiles,
        "grid": {"period": period, "max_gap": max_gap, "hold": hold},
        "window": window,
        "inputs": ["window", "time"] if clock else None,
        "hidden": hidden,
        "activation": activation,
        "normalise": normalise,
        "kernel": kernel,
        "embedding": embedding,
        "personal": personal,
        "learner": learner,
        "ridge": ridge,
        "min_count": min_count,
        "freeze": freeze,
        "loss": loss,
        "optimiser": {"name": optimiser, "learning_rate": learning_rate, "batch": batch},
    }
    check_out(out)
    publisher = Publisher(sign_key, delegate)
    bundle = publisher.sign(_build(given, spec, data, label, seed))
    bundle.save(out)
    tell(bundle, out, as_json=as_json)


def _build(
    given: Mapping[str, Any],
    spec: Path | None,
    data: Path | None,
    label: str | None,
    seed: int,
) -> Bundle:
    from headwater_models.graphs.builders import build  # noqa: PLC0415 - a device has no onnx
    from headwater_models.recipe import check, specify  # noqa: PLC0415 - the same

    check(given, spec)
    table = Table.read(data) if data else None
    wanted = specify(given, file=spec, data=table, label=label)
    built = build(wanted, np.random.default_rng(seed))
    return built.bundle(facts(table) | {"seed": seed})


def facts(table: Table | None) -> dict[str, Any]:
    """Return how a model came to be: when, by which version, and from which data."""
    created = datetime.fromtimestamp(now_ms() / 1000, UTC).isoformat(timespec="seconds")
    told: dict[str, Any] = {"created": created, "headwater": __version__}
    if table is not None:
        told["data"] = {"rows": table.rows, "sha256": table.digest}
    return told
