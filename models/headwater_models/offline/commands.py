"""``headwater train`` and ``headwater predict``: from a table to a model, and from both to answers.

Exit codes are those of the front door: 3 a table or wishes that do not fit, 4 a bundle that is
damaged, 5 what no model can do or is not installed, 8 the disk.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from headwater.clock import now_ms
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
)
from headwater_models.offline.options import (
    Epochs,
    Files,
    Form,
    Group,
    Ignore,
    Kind,
    Label,
    MaxGap,
    Patience,
    Period,
    Seed,
    Stream,
    Test,
    Time,
    Validation,
    Window,
)
from headwater_models.offline.recordings import Wishes
from headwater_models.publishing import Publisher, check_out
from headwater_models.report import names as names_of
from headwater_models.table import read_all

train_app = typer.Typer(add_completion=False)
predict_app = typer.Typer(add_completion=False)


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

    check_out(out)
    publisher = Publisher(sign_key, delegate)
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
            "name": name or (None if spec else _name_of(out)),
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
    training.check(plan)
    table, names = read_all(data)
    errors = Console(stderr=True)
    with screen.Screen(errors if as_json else Console(), epochs, errors, quiet=as_json) as shown:
        trained = training.train(table, names, plan, shown)
    facts = card.facts_of(trained, table, plan, [path.name for path in data], now_ms())
    bundle = publisher.sign(trained.bundle)
    bundle = dataclasses.replace(bundle, facts=facts, card=card.card(bundle, facts))
    bundle.save(out)
    if as_json:
        schema = card.schema_of(trained.schema)
        said = {"path": str(out), **names_of(bundle), **facts, "schema": schema}
        typer.echo(msgspec.json.encode(said).decode())
    else:
        shown.conclude(trained.judged.metrics, card.course(facts["training"]), trained.remarks)
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

    check_out(out)
    predicting.check_ending(out)
    model = Bundle.load(bundle, publisher=read_public(key) if key else None)
    table, names = read_all(data)
    wishes = Wishes(time=time, form=time_format, stream=stream, label=label)
    roles = predicting.roles_for(table, wishes, model.facts)
    predicted = predicting.predict(model, table, names, roles)
    write_file(out, predicting.encode(predicted.columns(), out))
    error, remark = predicted.error(), predicted.remark(table.rows)
    summary: dict[str, Any] = {
        "path": str(out),
        **names_of(model),
        "rows": table.rows,
        "rows_not_counted": predicted.examples.crowded,
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
        if remark:
            typer.echo(remark)


def _name_of(out: Path) -> str:
    """Return the name of a model that nobody named, from that of its folder."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", out.name.partition(".")[0]).strip("-_")[:128] or "model"
