"""``headwater train`` and ``headwater predict``: from a table to a model, and from both to answers.

Exit codes are those of the front door: 3 a table or wishes that do not fit, 4 a bundle that is
damaged, 5 what no model can do or is not installed, 8 the disk.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer
from rich.console import Console

from headwater.clock import now_ms
from headwater.errors import StorageError
from headwater_models.bundle import Bundle
from headwater_models.files import write_file
from headwater_models.keys import read_public
from headwater_models.new import (
    Activation,
    AsJson,
    Batch,
    Categories,
    Channels,
    Clock,
    Delegates,
    Embedding,
    Freeze,
    Hidden,
    Hold,
    Horizon,
    Kernel,
    Learner,
    LearningRate,
    Log,
    Loss,
    Name,
    Normalise,
    Optimiser,
    Out,
    Personal,
    Quantiles,
    SignKey,
    Spec,
    Target,
    Task,
    sign_bundle,
)
from headwater_models.offline.recordings import Wishes
from headwater_models.report import names as names_of
from headwater_models.table import read_all

DATA, NETWORK, TIME = "Data and task", "Network", "Learning"
"""The panels of the help."""

train_app = typer.Typer(add_completion=False)
predict_app = typer.Typer(add_completion=False)

Files = Annotated[
    list[Path],
    typer.Argument(help="CSV (.gz too) or Parquet; several with the same columns are streams."),
]
Time = Annotated[
    str | None,
    typer.Option(help="Column that says when; found by its name or dates.", rich_help_panel=DATA),
]
Form = Annotated[
    Literal["auto", "iso8601", "s", "ms", "us", "ns"],
    typer.Option("--time-format", help="How it says when.", rich_help_panel=DATA),
]
Stream = Annotated[
    str | None,
    typer.Option(help="Column that names the stream of a row.", rich_help_panel=DATA),
]
Label = Annotated[
    str | None,
    typer.Option(help="Column with what is right: a class or a number.", rich_help_panel=DATA),
]
Group = Annotated[
    str | None,
    typer.Option(
        help="Column of groups (people, machines): judge by groups never seen.",
        rich_help_panel=DATA,
    ),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(help="Column to leave out; repeatable.", rich_help_panel=DATA),
]
Period = Annotated[
    str | None,
    typer.Option(
        help="Time between two rows, such as 1h; by default the median of the data.",
        rich_help_panel=DATA,
    ),
]
Window = Annotated[
    int | None,
    typer.Option(
        help="Rows in a window; by default 24 to forecast and for anomalies, else 1.",
        rich_help_panel=DATA,
    ),
]
MaxGap = Annotated[
    str | None,
    typer.Option(help="Silence that ends a window; by default 5 periods.", rich_help_panel=DATA),
]
Kind = Annotated[
    Literal["linear", "mlp", "resnet", "cnn", "gru", "autoencoder"] | None,
    typer.Option(
        help="Network; by default mlp, for anomalies autoencoder.", rich_help_panel=NETWORK
    ),
]
Validation = Annotated[
    float,
    typer.Option(min=0.01, max=0.5, help="Share that decides when to stop.", rich_help_panel=TIME),
]
Test = Annotated[
    float, typer.Option(min=0.01, max=0.5, help="Share that judges.", rich_help_panel=TIME)
]
Epochs = Annotated[
    int, typer.Option(min=1, help="Passes over the training part at most.", rich_help_panel=TIME)
]
Patience = Annotated[
    int,
    typer.Option(min=1, help="Passes without gain after which to stop.", rich_help_panel=TIME),
]
Seed = Annotated[int, typer.Option(min=0, help="Of all that is random.")]


@train_app.command()
def train(
    *,
    data: Files,
    out: Out,
    spec: Spec = None,
    name: Name = None,
    seed: Seed = 0,
    time: Time = None,
    time_format: Form = "auto",
    stream: Stream = None,
    label: Label = None,
    group: Group = None,
    ignore: Ignore = None,
    task: Task = None,
    target: Target = None,
    horizon: Horizon = None,
    channels: Channels = None,
    categories: Categories = None,
    log: Log = None,
    quantiles: Quantiles = None,
    period: Period = None,
    window: Window = None,
    max_gap: MaxGap = None,
    hold: Hold = None,
    clock: Clock = False,
    kind: Kind = None,
    hidden: Hidden = None,
    activation: Activation = None,
    normalise: Normalise = None,
    kernel: Kernel = None,
    embedding: Embedding = None,
    personal: Personal = None,
    learner: Learner = None,
    freeze: Freeze = None,
    loss: Loss = None,
    optimiser: Optimiser = None,
    learning_rate: LearningRate = None,
    batch: Batch = None,
    validation: Validation = 0.15,
    test: Test = 0.15,
    epochs: Epochs = 50,
    patience: Patience = 5,
    sign_key: SignKey = None,
    delegate: Delegates = None,
    as_json: AsJson = False,
) -> None:
    """Learn a first model from your own data, and say how good it is.

    With --target it forecasts a column, with --label it predicts one, else it learns what is
    usual. What nobody says is taken from the data and shown. The end of the data, or whole
    groups, judge the result; they are never learned from.
    """
    from headwater_models.offline import card, fit, screen, training  # noqa: PLC0415 - need onnx

    _refuse_existing(out)
    plan = training.Plan(
        wishes=Wishes(
            time=time,
            form=time_format,
            stream=stream,
            group=group,
            label=label,
            ignore=tuple(ignore or ()),
        ),
        fields={
            "kind": kind,
            "name": name or (None if spec else out.name.partition(".")[0]),
            "task": task,
            "target": target,
            "horizon": horizon,
            "channels": channels,
            "categories": categories,
            "log": log,
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
            "freeze": freeze,
            "loss": loss,
            "optimiser": {"name": optimiser, "learning_rate": learning_rate, "batch": batch},
        },
        spec=spec,
        validation=validation,
        test=test,
        course=fit.Course(epochs=epochs, patience=patience),
        seed=seed,
    )
    table, names = read_all(data)
    with screen.Screen(Console(stderr=as_json), epochs, quiet=as_json) as shown:
        trained = training.train(table, names, plan, shown)
    facts = card.facts_of(trained, table, plan, [path.name for path in data], now_ms())
    bundle = trained.bundle
    if sign_key is not None:
        bundle = sign_bundle(bundle, sign_key, delegate)
    bundle = dataclasses.replace(bundle, facts=facts, card=card.card(bundle, facts))
    bundle.save(out)
    if as_json:
        said = {"path": str(out), **names_of(bundle), **facts}
        typer.echo(msgspec.json.encode(said).decode())
    else:
        screen.show_metrics(trained.judged.metrics, Console())
        typer.echo(f"Wrote {out}; its card.md says more.")


@predict_app.command()
def predict(
    *,
    bundle: Annotated[Path, typer.Argument(help="A bundle: a folder or a .zip.")],
    data: Files,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The new .csv, .jsonl or .parquet file.")
    ],
    time: Time = None,
    time_format: Form = "auto",
    stream: Stream = None,
    label: Label = None,
    key: Annotated[
        str | None,
        typer.Option(help="The publisher's public key (or its file), whose signature must hold."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Predict every window of a table, as an agent with this bundle would.

    Columns mean what they meant in training, unless options say otherwise. Where the table also
    holds what is right, it is written beside, and the mean error is told.
    """
    from headwater_models.offline import predicting  # noqa: PLC0415 - loads ONNX Runtime

    _refuse_existing(out)
    predicting.check_ending(out)
    model = Bundle.load(bundle, publisher=read_public(key) if key else None)
    table, names = read_all(data)
    wishes = Wishes(time=time, form=time_format, stream=stream, label=label)
    roles = predicting.roles_for(table, wishes, model.facts)
    predicted = predicting.predict(model, table, names, roles)
    write_file(out, predicting.encode(predicted.columns(), out))
    error = predicted.error()
    summary: dict[str, Any] = {
        "path": str(out),
        **names_of(model),
        "rows": table.rows,
        "streams": len(predicted.examples.names),
        "predictions": len(predicted.examples),
        "error": error,
    }
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        kind = "share of wrong ones" if model.manifest.task == "classification" else "mean error"
        told = "" if error is None else f"; {kind} {error:.4g} where the label is known"
        typer.echo(f"Wrote {len(predicted.examples):,} predictions to {out}{told}.")


def _refuse_existing(out: Path) -> None:
    """Say at once, and not after the work, that something is in the way."""
    if out.exists():
        raise StorageError(f"{out} is there already; remove it or choose another name.")
